"""A real token in software: SoftHSM2 with a directory of its own, which can be taken away and put back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
TOKEN, KEY, PIN = "broker", "zerotrust-audit", "123456"
WRAPPING_KEY = "zerotrust-master"

# In a process of its own: a test's own process initialises the module only as the code under test does.
_MAKE_KEY = """
import sys, pkcs11
from pkcs11.util.ec import encode_named_curve_parameters
module, token, pin, label, curve, extractable = sys.argv[1:]
with pkcs11.lib(module).get_token(token_label=token).open(rw=True, user_pin=pin) as session:
    template = {pkcs11.Attribute.EC_PARAMS: encode_named_curve_parameters(curve)}
    domain = session.create_domain_parameters(pkcs11.KeyType.EC, template, local=True)
    private = {pkcs11.Attribute.EXTRACTABLE: extractable == "yes", pkcs11.Attribute.SENSITIVE: True}
    domain.generate_keypair(store=True, label=label, private_template=private)
"""

_MAKE_WRAPPING_KEY = """
import json, sys, pkcs11
module, token, pin, label, bits, attributes = sys.argv[1:]
attributes = json.loads(attributes)
if "ID" in attributes:
    attributes["ID"] = bytes.fromhex(attributes["ID"])
attributes = {pkcs11.Attribute[name]: value for name, value in attributes.items()}
with pkcs11.lib(module).get_token(token_label=token).open(rw=True, user_pin=pin) as session:
    session.generate_key(pkcs11.KeyType.AES, int(bits), store=True, label=label, template=attributes)
"""


@dataclass
class SoftHsm:
    """``environment`` is what a process needs to find the token."""

    folder: Path
    user_pin: str = PIN

    @classmethod
    def make(cls, folder: Path, *, pin: str = PIN) -> SoftHsm:
        found = cls(folder, pin)
        found.tokens.mkdir(parents=True)
        text = f"directories.tokendir = {found.tokens}\nobjectstore.backend = file\nlog.level = ERROR\n"
        found.configuration.write_text(text)
        command = ["softhsm2-util", "--init-token", "--free", "--label", TOKEN, "--pin", pin, "--so-pin", "654321"]
        found._run(*command)
        pin_file = folder / "pin"
        pin_file.touch(mode=0o600)
        pin_file.write_text(pin + "\n")
        return found

    @property
    def tokens(self) -> Path:
        return self.folder / "tokens"

    @property
    def configuration(self) -> Path:
        return self.folder / "softhsm2.conf"

    @property
    def environment(self) -> dict[str, str]:
        return {"SOFTHSM2_CONF": str(self.configuration)}

    @property
    def section(self) -> dict[str, object]:
        """``encryption.hsm`` of a broker's configuration."""
        place = {"module": str(MODULE), "token_label": TOKEN, "pin_file": str(self.folder / "pin")}
        return {"enabled": True, "provider": "pkcs11", "config": place}

    def make_key(self, label: str = KEY, *, curve: str = "secp256r1", extractable: bool = False) -> SoftHsm:
        arguments = (str(MODULE), TOKEN, self.user_pin, label, curve, "yes" if extractable else "no")
        self._run(sys.executable, "-c", _MAKE_KEY, *arguments)
        return self

    def make_wrapping_key(self, label: str = WRAPPING_KEY, *, bits: int = 256, **attributes: bool | str) -> SoftHsm:
        """As ``pkcs11-tool --keygen`` does, which gives no CKA_ID; ``attributes`` are those in which it is another."""
        made = {"SENSITIVE": True, "EXTRACTABLE": False, "PRIVATE": True} | attributes
        arguments = (str(MODULE), TOKEN, self.user_pin, label, str(bits), json.dumps(made))
        self._run(sys.executable, "-c", _MAKE_WRAPPING_KEY, *arguments)
        return self

    def take_away(self) -> None:
        self.tokens.rename(self.folder / "away")

    def put_back(self) -> None:
        (self.folder / "away").rename(self.tokens)

    def _run(self, *command: str) -> None:
        environment = {"PATH": os.environ["PATH"], **self.environment}
        subprocess.run(command, env=environment, check=True, capture_output=True, timeout=30)
