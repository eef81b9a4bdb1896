"""A master key that this process holds: 32 bytes from a file, the environment or a systemd credential.

It wraps with a key derived from it (HKDF-SHA256, RFC 5869), for it has other uses besides. The keys that it followed unwrap.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from broker.keys.envelope import KEY_BYTES, Envelope

_LABEL = b"zerotrust/master-wrap/v1"
# Enough to tell keys apart; nothing is proved by it.
_ID_BYTES = 8


class LocalMaster:
    """Always there; it changes when another key is configured."""

    def __init__(self, *, keys: Sequence[bytes]) -> None:
        """Take the key in force, and those that it followed, the latest first, each of 32 bytes.

        Raises:
            ValueError: No key, or one of another length.
        """
        if any(len(key) != KEY_BYTES for key in keys):
            raise ValueError(f"a master key has {KEY_BYTES} bytes")
        wrapping = [_wrapping_key(key) for key in keys]
        self._envelope = Envelope(keys=wrapping)
        self.id = f"local:{hashlib.sha256(b'zerotrust/master-id/v1' + wrapping[0]).hexdigest()[: 2 * _ID_BYTES]}"

    async def wrap(self, key: bytes, *, context: bytes) -> bytes:
        """As the port has it."""
        return self._envelope.seal(key, context=context)

    async def unwrap(self, blob: bytes, *, context: bytes) -> bytes:
        """As the port has it."""
        return self._envelope.open(blob, context=context)

    async def is_newest(self, blob: bytes) -> bool:
        """As the port has it."""
        return self._envelope.is_newest(blob)

    async def ping(self) -> None:
        """As the port has it."""
        return

    async def close(self) -> None:
        """Nothing is open."""


def _wrapping_key(master: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=_LABEL).derive(master)
