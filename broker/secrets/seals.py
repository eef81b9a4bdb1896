"""Names and seals of the vault's rows: who owns the store can neither read them nor put one in another's place.

A store has a header: a random id, and a random key that names are made with, sealed. Everything else is bound to that id, so
that nothing of another store, or of this one before it was begun anew, opens here. The key for names is of the store and not of
the hierarchy: names stay when keys change, and a store that is taken away tells no path, not even to who guesses it.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import struct

from broker.keys.envelope import CannotOpen, Envelope
from broker.remote.failure import Malformed
from broker.secrets.encoding import metadata_as_bytes, metadata_of, stamp_as_bytes, stamp_of
from broker.secrets.metadata import Metadata, Stamp
from broker.secrets.store import GENERATION_BYTES

_HEADER = b"vault/header/v1\0"
_HEAD = b"vault/head/v1\0"
_VERSION = b"vault/version/v1\0"
_USE = b"vault/use/v1\0"
_NAME_KEY_BYTES = 32
# 128 bits: no two paths of a vault meet.
NAME_BYTES = 16
_NUMBER = struct.Struct(">Q")
_SEALED_WITH_ANOTHER = (
    "was sealed with a key that is not here — fix: give the key back (encryption, previous_key_files)"
)
_ALTERED = "was altered or moved — fix: see who writes to the store; restore it from a backup"


def new_header(envelope: Envelope) -> bytes:
    """Of a store that is empty."""
    generation = os.urandom(GENERATION_BYTES)
    return generation + envelope.seal(os.urandom(_NAME_KEY_BYTES), context=_HEADER + generation)


class Seals:
    """Of one store. What does not open raises Malformed, with the reason ``altered`` or ``unknown_key``."""

    def __init__(self, *, envelope: Envelope, header: bytes) -> None:
        """Raises Malformed."""
        self._envelope = envelope
        self.header = header
        self.generation = header[:GENERATION_BYTES]
        self._name_key = self._open(header[GENERATION_BYTES:], _HEADER + self.generation, "the vault's header")

    def name(self, path: str) -> bytes:
        """Where a path lies."""
        return hmac.new(self._name_key, path.encode(), hashlib.sha256).digest()[:NAME_BYTES]

    def head(self, metadata: Metadata) -> bytes:
        """Sealed."""
        context = self._of_head(self.name(metadata.path))
        return self._envelope.seal(metadata_as_bytes(metadata), context=context)

    def metadata(self, name: bytes, blob: bytes) -> Metadata:
        """Of a head."""
        return metadata_of(self._open(blob, self._of_head(name), "a secret's head"))

    def version(self, metadata: Metadata, number: int, text: bytes) -> bytes:
        """Sealed."""
        return self._envelope.seal(text, context=self._of_version(metadata, number))

    def text(self, metadata: Metadata, number: int, blob: bytes) -> bytes:
        """The values of a version, as bytes."""
        return self._open(blob, self._of_version(metadata, number), f"version {number} of {metadata.path}")

    def use(self, name: bytes, stamp: Stamp) -> bytes:
        """Sealed."""
        return self._envelope.seal(stamp_as_bytes(stamp), context=_USE + self.generation + name)

    def used(self, name: bytes, blob: bytes) -> Stamp | None:
        """Of a note; a note that does not open is none, for nothing hangs on it."""
        try:
            return stamp_of(self._envelope.open(blob, context=_USE + self.generation + name))
        except CannotOpen:
            return None

    def renewed_header(self) -> bytes:
        """The same under the newest key."""
        return self.generation + self._envelope.seal(self._name_key, context=_HEADER + self.generation)

    def is_header_newest(self) -> bool:
        """Whether the newest key sealed it."""
        return self._envelope.is_newest(self.header[GENERATION_BYTES:])

    def is_newest(self, blob: bytes) -> bool:
        """Whether the newest key sealed it."""
        return self._envelope.is_newest(blob)

    def _open(self, blob: bytes, context: bytes, what: str) -> bytes:
        try:
            return self._envelope.open(blob, context=context)
        except CannotOpen as error:
            raise _malformed(what, error) from error

    def _of_head(self, name: bytes) -> bytes:
        return _HEAD + self.generation + name

    def _of_version(self, metadata: Metadata, number: int) -> bytes:
        """``born`` has a fixed length, so nothing runs into its neighbour."""
        return _VERSION + self.generation + bytes.fromhex(metadata.born) + _NUMBER.pack(number) + metadata.path.encode()


def _malformed(what: str, error: CannotOpen) -> Malformed:
    if error.reason == "unknown_key":
        return Malformed(f"{what} {_SEALED_WITH_ANOTHER}", reason="unknown_key")
    return Malformed(f"{what} {_ALTERED}", reason="altered")
