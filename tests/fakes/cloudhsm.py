"""AWS CloudHSM's Client SDK 5 as it lies in /opt/cloudhsm, in a folder: a strict module over SoftHSM, and its configuration."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fakes.hsm import MODULE, PIN, SoftHsm

USER, CLUSTER, ADDRESS = "crypto-user", "cluster-1234567", "10.0.0.1"
_SOURCE = Path(__file__).with_name("cloudhsm.c")


@dataclass
class CloudHsm:
    """``soft`` is what stands behind it."""

    soft: SoftHsm
    folder: Path

    @classmethod
    def make(cls, folder: Path, *, password: str = PIN) -> CloudHsm:
        made = cls(SoftHsm.make(folder / "hsm", pin=password), folder / "opt" / "cloudhsm")
        made.module.parent.mkdir(parents=True)
        command = ["gcc", "-shared", "-fPIC", "-O1", "-w", "-o", str(made.module), str(_SOURCE), "-ldl"]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        # A copy: a process initialises a module once, and other tests of this one use the module itself.
        shutil.copy(MODULE, made._behind)
        made.configure(ADDRESS)
        return made

    @property
    def module(self) -> Path:
        return self.folder / "lib" / "libcloudhsm_pkcs11.so"

    @property
    def _behind(self) -> Path:
        return self.folder / "softhsm.so"

    def configure(self, *addresses: str, cluster: str | None = None) -> None:
        """As ``configure-pkcs11 -a`` leaves it; ``add-cluster`` writes the cluster's id as well."""
        servers = [{"hostname": address, "port": 2223, "enable": True} for address in addresses]
        body: dict[str, Any] = {"hsm_ca_file": "/opt/cloudhsm/etc/customerCA.crt", "servers": servers}
        if cluster is not None:
            body["cluster_id"] = cluster
        file = self.folder / "etc" / "cloudhsm-pkcs11.cfg"
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps({"clusters": [{"type": "hsm1", "cluster": body}], "logging": {"log_level": "info"}}))

    @property
    def environment(self) -> dict[str, str]:
        return {**self.soft.environment, "CLOUDHSM_BEHIND": str(self._behind), "CLOUDHSM_USER": USER}

    @property
    def section(self) -> dict[str, Any]:
        """``encryption.hsm`` as the guide prints it, its reference resolved, and where the module is."""
        config = {"cluster_id": CLUSTER, "hsm_ip": ADDRESS, "hsm_username": USER, "hsm_password": self.soft.user_pin}
        return {"enabled": True, "provider": "aws-cloudhsm", "config": {**config, "module": str(self.module)}}
