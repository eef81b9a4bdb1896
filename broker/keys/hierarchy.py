"""One master key, and a key of its own for every use, told apart by label.

A derived key is HKDF-SHA256 (RFC 5869) of the master key with the label as ``info``. No key is used for two things, and a
label carries a version, so that a use can change its key without touching the others.
"""

from __future__ import annotations

import enum

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from broker.keys.envelope import KEY_BYTES


class Use(enum.Enum):
    """Every use of a key in the house."""

    CACHE_SEAL = b"zerotrust/cache-seal/v1"
    CACHE_NAME = b"zerotrust/cache-name/v1"
    AUDIT_SIGNATURE = b"zerotrust/audit-signature/v1"


class KeyHierarchy:
    """Derives; holds nothing but the master key."""

    def __init__(self, *, master: bytes) -> None:
        """Take the master key.

        Raises:
            ValueError: Not 32 bytes.
        """
        if len(master) != KEY_BYTES:
            raise ValueError(f"a master key has {KEY_BYTES} bytes, not {len(master)}")
        self._master = master

    def derive(self, use: Use) -> bytes:
        """The 32-byte key for one use."""
        return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=use.value).derive(self._master)
