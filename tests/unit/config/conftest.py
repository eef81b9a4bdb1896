"""A host with all the files that a configuration names, each as private as it must be."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from broker.config.load import load
from broker.config.model import Settings
from broker.core.errors import ConfigurationError

KEY = bytes(range(32))
POLICY = """{
  "Version": "2012-10-17",
  "Statement": {"Effect": "Deny", "NotAction": "s3:*", "Resource": "*", "Condition": {"Bool": {"aws:SecureTransport": "false"}}}
}
"""

# What a broker cannot do without; tests add sections behind it.
MINIMAL = """\
server: {listen: ["http://127.0.0.1:0"]}
kerberos: {keytabs: "${KEYTAB}", realms: {EXAMPLE.COM: {}}}
aws: {region: eu-central-1}
encryption: {key_file: "${KEY_FILE}"}
audit: {directory: /var/log/zerotrust/audit}
"""


@dataclass
class Host:
    """Files below ``folder``, and the environment that refers to them."""

    folder: Path
    environ: dict[str, str] = field(default_factory=dict)

    def file(self, name: str, text: str = "", *, mode: int = 0o600) -> Path:
        path = self.folder / name
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    def load(self, text: str, **environ: str) -> Settings:
        return load(self.file("config.yaml", text), environ={**self.environ, **environ})

    def outcome(self, text: str, **environ: str) -> list[str]:
        """The problems, with the file called FILE and this folder HOST; empty if there are none."""
        try:
            self.load(text, **environ)
        except ConfigurationError as refused:
            config = str(self.folder / "config.yaml")
            return [line.replace(config, "FILE").replace(str(self.folder), "HOST") for line in refused.problems]
        return []

    def problems(self, text: str, **environ: str) -> list[str]:
        """The problems of a configuration that must be refused."""
        found = self.outcome(text, **environ)
        assert found, "accepted"
        return found


@pytest.fixture
def host(tmp_path: Path) -> Host:
    found = Host(tmp_path)
    found.environ = {
        "KEYTAB": str(found.file("http.keytab")),
        "KEYTAB_FOLDER": str(found.file("keytabs/other.keytab").parent),
        "KEY_FILE": str(found.file("encryption_key", base64.b64encode(KEY).decode() + "\n")),
        "CERTIFICATE": str(found.file("server.crt", mode=0o644)),
        "PRIVATE_KEY": str(found.file("server.key")),
        "POLICY_FILE": str(found.file("policy.json", POLICY)),
        "EXTERNAL_ID_FILE": str(found.file("external_id", "dev-canary\n")),
        "REDIS_PASSWORD": "canary",
        "AWS_ACCESS_KEY_ID": "AKIATESTTESTTESTTEST",
        "ZEROTRUST_AWS_SECRET_KEY": "canary",
    }
    return found


@pytest.fixture
def minimal() -> str:
    return MINIMAL
