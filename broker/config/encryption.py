"""The section `encryption`: the key that everything hangs on, wherever it lies, those it followed, and the HSM."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationInfo

from broker.config.fault import fault
from broker.config.hsm import Hsm
from broker.config.master import Master
from broker.config.rotation import Rotation
from broker.config.section import Section
from broker.config.values import AsText, Duration, key_bytes, parse_key, parse_path
from broker.core.private_file import PermissionProblem, read_private
from broker.core.secret import Secret

# A key has 44 characters; whoever names a wrong file gets a fault, not a full memory.
_KEY_FILE_MAX_BYTES = 64 * 1024


def key_of_file(text: str) -> Secret:
    """What `KEY_file` does for a single key, for one of a list. A fault shows no path: a key may stand in its place."""
    path: Path = parse_path(text)
    try:
        content = read_private(path, limit=_KEY_FILE_MAX_BYTES).decode()
    except PermissionProblem as problem:
        raise fault(f"the file {problem.what}", problem.fix) from None
    except UnicodeDecodeError:
        raise fault("the file is not UTF-8 text", "write the key in base64") from None
    return parse_key(content.removesuffix("\n").removesuffix("\r"))


def _former(keys: tuple[Secret, ...], info: ValidationInfo) -> tuple[Secret, ...]:
    current = info.data.get("key")
    if current is not None and key_bytes(current) in [key_bytes(key) for key in keys]:
        raise fault("holds the key that is in force", "keep only keys that it followed; was the old file overwritten?")
    return keys


def _in_the_hsm(master: Master, info: ValidationInfo) -> Master:
    hsm = info.data.get("hsm")
    if master.provider == "pkcs11" and hsm is not None and not hsm.enabled:
        raise fault("is pkcs11, and encryption.hsm is not enabled", "describe the HSM there")
    return master


def _needed(key: Secret | None, info: ValidationInfo) -> Secret | None:
    master = info.data.get("master")
    if key is None and master is not None and master.is_local:
        raise fault("is missing", "add it, name a file as key_file, or set ZEROTRUST_ENCRYPTION_KEY")
    return key


class Encryption(Section):
    """The key that seals whatever the broker keeps outside its own memory."""

    hsm: Hsm = Field(default=Hsm(), description="What signs checkpoints beside the broker's own key.")
    master: Annotated[Master, AfterValidator(_in_the_hsm)] = Field(
        default=Master(), description="Where the master key lies."
    )
    key: Annotated[Annotated[Secret, AsText(parse_key)] | None, AfterValidator(_needed)] = Field(
        default=None,
        validate_default=True,
        description="Secret. 32 random bytes in base64: `head -c 32 /dev/urandom | base64`. Needed unless the master key lies "
        "elsewhere (`master`); then it is one of before.",
    )
    previous_key_files: Annotated[tuple[Annotated[Secret, AsText(key_of_file)], ...], AfterValidator(_former)] = Field(
        default=(),
        description="Private files with the keys that `key` followed, the latest first. What they sealed still opens, and the "
        "audit log's change to the new key is certified by the old one. Keep a key here for as long as sessions, job passes "
        "and records of its time count.",
    )
    rotation: Rotation = Field(
        default=Rotation(), description="How old keys may become before others follow them: docs/keys.md."
    )
    master_patience: Duration = Field(
        default=timedelta(hours=24),
        description="For how long keys in memory go on while a master key that lies elsewhere does not answer; then requests "
        "are refused until it does.",
    )

    def key_bytes(self) -> bytes:
        """The latest of the keys that the configuration holds."""
        return self.all_key_bytes()[0]

    def all_key_bytes(self) -> tuple[bytes, ...]:
        """The keys that the configuration holds, the latest first: that in force, unless it lies elsewhere, and those before."""
        return tuple(key_bytes(key) for key in (self.key, *self.previous_key_files) if key is not None)
