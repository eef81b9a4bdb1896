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
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

# AES-256. AES-GCM would take 16 bytes as well, and be AES-128 without a word.
KEY_BYTES = 32
_VERSION = b"\x01"
_KEY_ID_BYTES = 8
_NONCE_BYTES = 12
_HEADER_BYTES = 1 + _KEY_ID_BYTES
_TAG_BYTES = 16
_SHORTEST = _HEADER_BYTES + _NONCE_BYTES + _TAG_BYTES


class CannotOpen(Exception):
    """Altered, cut, moved, or sealed with a key this keyring does not hold. ``reason`` says which, as far as it shows."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Envelope:
    """Seals with the newest key, opens with any of them."""

    def __init__(self, *, keys: Sequence[bytes]) -> None:
        """Take the keys, newest first, each of 32 bytes.

        Raises:
            ValueError: No key, or one of another length.
        """
        if not keys:
            raise ValueError("an envelope needs a key")
        if any(len(key) != KEY_BYTES for key in keys):
            raise ValueError(f"a key has {KEY_BYTES} bytes")
        self._ciphers = {_key_id(key): AESGCM(key) for key in keys}
        self._newest = _key_id(keys[0])

    def seal(self, plaintext: bytes, *, context: bytes) -> bytes:
        """Encrypt, bound to ``context``: only the same context opens it again."""
        header = _VERSION + self._newest
        nonce = os.urandom(_NONCE_BYTES)
        return header + nonce + self._ciphers[self._newest].encrypt(nonce, plaintext, header + context)

    def is_newest(self, sealed: bytes) -> bool:
        """Whether the newest key sealed it, by what the blob says of itself: nothing is opened."""
        return sealed[:_HEADER_BYTES] == _VERSION + self._newest

    def open(self, sealed: bytes, *, context: bytes) -> bytes:
        """Decrypt what ``seal`` made with the same context.

        Raises:
            CannotOpen: For every blob that is not exactly such a one.
        """
        if len(sealed) < _SHORTEST or sealed[:1] != _VERSION:
            raise CannotOpen("malformed")
        header = sealed[:_HEADER_BYTES]
        cipher = self._ciphers.get(header[1:])
        if cipher is None:
            raise CannotOpen("unknown_key")
        nonce = sealed[_HEADER_BYTES : _HEADER_BYTES + _NONCE_BYTES]
        try:
            return cipher.decrypt(nonce, sealed[_HEADER_BYTES + _NONCE_BYTES :], header + context)
        except InvalidTag as error:
            raise CannotOpen("altered") from error


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
