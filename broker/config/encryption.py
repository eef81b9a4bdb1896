"""The section `encryption`: the key that everything is derived from, those it followed, and the HSM that signs checkpoints."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo

from broker.config.fault import fault
from broker.config.rotation import Rotation
from broker.config.section import Section
from broker.config.values import (
    AbsolutePath,
    AsText,
    Duration,
    SecretText,
    Switch,
    key_bytes,
    matching,
    parse_key,
    parse_path,
)
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


# CKA_LABEL of a token: 32 bytes, padded with blanks (PKCS #11, CK_TOKEN_INFO); of a key: any text.
Label = Annotated[str, matching(r"[!-~]([ -~]{0,62}[!-~])?", "is not a label", "write 1 to 64 printable characters")]


class Pkcs11(Section):
    """A token behind a PKCS#11 module."""

    module: AbsolutePath = Field(description="The module's shared library: `/usr/lib/softhsm/libsofthsm2.so`.")
    token_label: Label = Field(description="The label of the token.")
    pin: SecretText = Field(description="Secret. The PIN of the token's user.")
    key_label: Label = Field(
        default="zerotrust-audit",
        description="The label of the key pair that signs checkpoints: P-256, its private half sensitive and not extractable.",
    )


def _configured(config: Pkcs11 | None, info: ValidationInfo) -> Pkcs11 | None:
    if config is None and info.data.get("enabled"):
        raise fault("is missing", "name module, token_label and pin_file")
    return config


class Hsm(Section):
    """A hardware security module that signs the audit log's checkpoints beside the broker's own key."""

    enabled: Switch = Field(default=False, description="`false`: nothing below is used.")
    provider: Literal["pkcs11"] = Field(default="pkcs11", description="How it is spoken to: `pkcs11`.")
    config: Annotated[Pkcs11 | None, AfterValidator(_configured)] = Field(
        default=None, validate_default=True, description="Where it is, and which key signs."
    )


class Encryption(Section):
    """The key that seals whatever the broker keeps outside its own memory."""

    key: Annotated[Secret, AsText(parse_key)] = Field(
        description="Secret. 32 random bytes in base64: `head -c 32 /dev/urandom | base64`."
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
    hsm: Hsm = Field(default=Hsm(), description="What signs checkpoints beside the broker's own key.")

    def key_bytes(self) -> bytes:
        """The 32 bytes of the key in force."""
        return key_bytes(self.key)

    def all_key_bytes(self) -> tuple[bytes, ...]:
        """The key in force, then those it followed."""
        return tuple(key_bytes(key) for key in (self.key, *self.previous_key_files))
