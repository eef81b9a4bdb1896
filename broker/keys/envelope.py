"""The only AES-GCM in the house.

A sealed blob is ``version (1 byte) | key id (8 bytes) | nonce (12 bytes) | ciphertext and tag``. Version and key id are part of
the associated data, so a blob cannot be relabelled; the rest of the associated data is the caller's and says what
the blob *is*, so that it opens in no other place. Nonces are random: a key seals fewer than 2^32 blobs in its life
(NIST SP 800-38D, section 8.3), which at a thousand a second is seven weeks; rotation comes sooner.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from broker.core.errors import KeysUnavailable

# AES-256. AES-GCM would take 16 bytes as well, and be AES-128 without a word.
KEY_BYTES = 32
_VERSION = b"\x01"
_KEY_ID_BYTES = 8
_NONCE_BYTES = 12
# Version and key id: how a blob begins.
HEADER_BYTES = 1 + _KEY_ID_BYTES
_TAG_BYTES = 16
_SHORTEST = HEADER_BYTES + _NONCE_BYTES + _TAG_BYTES

# The id of the key that seals; ciphers and versions by the id of the key.
_Held = tuple[bytes, Mapping[bytes, AESGCM], Mapping[bytes, str]]


class CannotOpen(Exception):
    """Altered, cut, moved, or sealed with a key this keyring does not hold. ``reason`` says which, as far as it shows."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Envelope:
    """Seals with the newest key, opens with any of them. Which these are may change while it is in use, by any thread."""

    def __init__(self, *, keys: Sequence[bytes]) -> None:
        """Take the keys, newest first, each of 32 bytes and a version of its own.

        Raises:
            ValueError: No key, or one of another length.
        """
        self.hold([(_key_id(key).hex(), key) for key in keys])

    @classmethod
    def of(cls, keys: Sequence[tuple[str, bytes]]) -> Envelope:
        """One of keys by the id of their version, several of which may be of one.

        Raises:
            ValueError: As above.
        """
        made = cls.__new__(cls)
        made.hold(keys)
        return made

    def hold(self, keys: Sequence[tuple[str, bytes]]) -> None:
        """From here on these are the keys; nothing changes where they are refused.

        Raises:
            ValueError: As above.
        """
        if not keys:
            raise ValueError("an envelope needs a key")
        if any(len(key) != KEY_BYTES for _, key in keys):
            raise ValueError(f"a key has {KEY_BYTES} bytes")
        ids = [_key_id(key) for _, key in keys]
        versions = dict(zip(ids, (version for version, _ in keys), strict=True))
        ciphers = {key_id: AESGCM(key) for key_id, (_, key) in zip(ids, keys, strict=True)}
        # One assignment: whoever seals or opens at this moment has the old ones or the new ones.
        self._held: _Held | None = (ids[0], ciphers, versions)

    def withhold(self) -> None:
        """From here on nothing is sealed or opened, until keys are held again."""
        self._held = None

    def seal(self, plaintext: bytes, *, context: bytes) -> bytes:
        """Encrypt, bound to ``context``: only the same context opens it again.

        Raises:
            KeysUnavailable: The keys are withheld.
        """
        newest, ciphers, _ = self._held or _withheld()
        header = _VERSION + newest
        nonce = os.urandom(_NONCE_BYTES)
        return header + nonce + ciphers[newest].encrypt(nonce, plaintext, header + context)

    def open(self, sealed: bytes, *, context: bytes) -> bytes:
        """Decrypt what ``seal`` made with the same context.

        Raises:
            CannotOpen: For every blob that is not exactly such a one.
            KeysUnavailable: The keys are withheld.
        """
        _, ciphers, _ = self._held or _withheld()
        if len(sealed) < _SHORTEST or sealed[:1] != _VERSION:
            raise CannotOpen("malformed")
        header = sealed[:HEADER_BYTES]
        cipher = ciphers.get(header[1:])
        if cipher is None:
            raise CannotOpen("unknown_key")
        nonce = sealed[HEADER_BYTES : HEADER_BYTES + _NONCE_BYTES]
        try:
            return cipher.decrypt(nonce, sealed[HEADER_BYTES + _NONCE_BYTES :], header + context)
        except InvalidTag as error:
            raise CannotOpen("altered") from error

    def version_of(self, sealed: bytes) -> str | None:
        """The id of the version that sealed a blob, as it says itself; None where it is none of ours.

        Raises:
            KeysUnavailable: The keys are withheld.
        """
        _, _, versions = self._held or _withheld()
        return versions.get(sealed[1:HEADER_BYTES]) if sealed[:1] == _VERSION else None

    def is_newest(self, sealed: bytes) -> bool:
        """Whether the version that seals now sealed this blob, as it says itself; else it is to be sealed anew.

        Raises:
            KeysUnavailable: The keys are withheld.
        """
        newest, _, versions = self._held or _withheld()
        return self.version_of(sealed) == versions[newest]


def _withheld() -> NoReturn:
    raise KeysUnavailable(reason="keys_withheld")


def armoured(blob: bytes) -> bytes:
    """A sealed blob as a line of base64, for a folder whose readers expect text."""
    return base64.b64encode(blob) + b"\n"


def unarmoured(text: bytes) -> bytes:
    """The blob of a line that ``armoured`` made: the one spelling that it writes, and no other of the same bytes.

    Raises:
        CannotOpen: It is no such line.
    """
    try:
        blob = base64.b64decode(text)
    except ValueError as error:
        raise CannotOpen("malformed") from error
    if armoured(blob) != text:
        raise CannotOpen("malformed")
    return blob


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(b"zerotrust/key-id/v1" + key).digest()[:_KEY_ID_BYTES]
