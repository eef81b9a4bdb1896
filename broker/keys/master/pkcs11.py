"""A master key in an HSM: an AES-256 key that wraps there and that the token gives to nobody.

All versions of it have one label; CKA_ID is the version's number, and the highest wraps. Versions that nobody needs any more may
be deleted in the HSM, and a new one may be made there by hand as well. Two hosts that rotate at once make two keys of one
number: either wraps, and a blob opens with the one that wrapped it.

A wrapped key is ``format (1 byte) | version (4 bytes) | nonce (12 bytes) | ciphertext and tag``, by AES-GCM; format and version
are part of the associated data, the rest of which is the caller's context.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from broker.core.clock import Clock
from broker.keys.envelope import KEY_BYTES, CannotOpen
from broker.keys.master.distant import DistantMaster
from broker.keys.master.port import MasterRefused, MasterUnavailable
from broker.keys.pkcs11 import HsmRefused, HsmUnavailable, Token, library

if TYPE_CHECKING:
    import pkcs11

# Two round trips in SoftHSM take 50 us. A cluster's first session takes its TLS handshakes and a login, which is seconds.
PATIENCE = timedelta(seconds=10)

_FORMAT = b"\x01"
_VERSION_BYTES = 4
_HEADER_BYTES = 1 + _VERSION_BYTES
_NONCE_BYTES = 12
_TAG_BYTES = 16
_SHORTEST = _HEADER_BYTES + _NONCE_BYTES + _TAG_BYTES
_PROBE = b"zerotrust/is-it-the-blob/v1"

_T = TypeVar("_T")
# The keys of each version.
_Versions = dict[int, list["pkcs11.Key"]]


class Pkcs11Master(DistantMaster):
    """The versions of one wrapping key in one token."""

    def __init__(self, *, token: Token, label: str, clock: Clock) -> None:
        """Take the token, whose session is shared with whoever signs there, and the label of the key."""
        super().__init__(id=f"pkcs11:{token.label or ''}/{label}", clock=clock)
        self._token = token
        self._label = label
        self._known: _Versions = {}
        self._known_of = 0

    async def rotate(self) -> None:
        """As ``Rotatable`` has it: makes the next version in the token."""
        await self._noted(self._asked(self._made))

    async def close(self) -> None:
        """Let the token go."""
        self._token.close()

    async def _wrap(self, key: bytes, context: bytes) -> bytes:
        return await self._asked(lambda session: self._wrapped(session, key, context))

    async def _unwrap(self, blob: bytes, context: bytes) -> bytes:
        if len(blob) < _SHORTEST or blob[:1] != _FORMAT:
            raise CannotOpen("malformed")
        return await self._asked(lambda session: self._opened(session, blob, context))

    async def _is_newest(self, blob: bytes) -> bool:
        newest = await self._asked(lambda session: max(self._search(session)))
        return blob[:_HEADER_BYTES] == _header(newest)

    async def _asked(self, job: Callable[[pkcs11.Session], _T]) -> _T:
        try:
            return await self._token.do(job, patience=PATIENCE)
        except HsmRefused as error:
            raise MasterRefused(str(error)) from error
        except HsmUnavailable as error:
            raise MasterUnavailable(str(error)) from error

    # --- on the token's thread ---

    def _wrapped(self, session: pkcs11.Session, key: bytes, context: bytes) -> bytes:
        # Looked for every time: another host may have made a new version.
        versions = self._search(session)
        header = _header(max(versions))
        handle = versions[max(versions)][0]
        # The module of an HSM that makes its own nonces writes them here.
        nonce = bytearray(_NONCE_BYTES if self._token.makes_nonces else os.urandom(_NONCE_BYTES))
        sealed = _encrypted(handle, key, nonce=nonce, data=header + context)
        if not any(nonce):
            raise HsmUnavailable("the module made no nonce of its own; this HSM is not of the configured provider")
        # What cannot be opened again would be lost: it is tried before anybody relies on it.
        if _decrypted(handle, sealed, nonce=bytes(nonce), data=header + context) != key:
            raise HsmUnavailable(f"what the key {self._label!r} wraps, it does not unwrap")
        return header + bytes(nonce) + sealed

    def _opened(self, session: pkcs11.Session, blob: bytes, context: bytes) -> bytes:
        header, nonce = blob[:_HEADER_BYTES], blob[_HEADER_BYTES : _HEADER_BYTES + _NONCE_BYTES]
        sealed, version = blob[_HEADER_BYTES + _NONCE_BYTES :], int.from_bytes(header[1:])
        if self._known_of != self._token.generation or version not in self._known:
            self._search(session)
        for handle in self._known.get(version, []):
            try:
                return _decrypted(handle, sealed, nonce=nonce, data=header + context)
            except library().PKCS11Error:
                # Modules have several words for a tag that does not match, some of which mean anything else as well.
                _prove(handle, makes_nonces=self._token.makes_nonces)
        raise CannotOpen("altered" if version in self._known else "unknown_key")

    def _made(self, session: pkcs11.Session) -> None:
        lib = library()
        number = max(self._search(session)) + 1
        session.generate_key(
            lib.KeyType.AES,
            KEY_BYTES * 8,
            id=number.to_bytes(_VERSION_BYTES),
            label=self._label,
            store=True,
            capabilities=lib.MechanismFlag.ENCRYPT | lib.MechanismFlag.DECRYPT,
            template={
                lib.Attribute.PRIVATE: True,
                lib.Attribute.SENSITIVE: True,
                lib.Attribute.EXTRACTABLE: False,
            },
        )

    def _search(self, session: pkcs11.Session) -> _Versions:
        lib = library()
        wanted = {lib.Attribute.CLASS: lib.ObjectClass.SECRET_KEY, lib.Attribute.LABEL: self._label}
        found: _Versions = {}
        for handle in list(session.get_objects(wanted)):
            self._require_fit(handle)
            found.setdefault(_version_of(handle), []).append(handle)  # type: ignore[arg-type]  # of this class it is a key
        if not found:
            raise HsmUnavailable(
                f"the token has no secret key {self._label!r}; make one (docs/hsm.md), or correct the label"
            )
        self._known, self._known_of = found, self._token.generation
        return found

    def _require_fit(self, handle: pkcs11.Object) -> None:
        attribute = library().Attribute
        if handle[attribute.KEY_TYPE] != library().KeyType.AES or handle[attribute.VALUE_LEN] != KEY_BYTES:
            raise HsmUnavailable(f"a key {self._label!r} is not AES of 256 bits")
        if handle[attribute.EXTRACTABLE] or not handle[attribute.SENSITIVE]:
            raise HsmUnavailable(f"a key {self._label!r} can be taken out of the token; make one that cannot")
        if not handle[attribute.PRIVATE]:
            raise HsmUnavailable(f"a key {self._label!r} is used without a PIN (CKA_PRIVATE); make one that is not")


def _version_of(handle: pkcs11.Object) -> int:
    """Keys that were made with no number, or by tools that write something longer there, are the first."""
    identity = handle[library().Attribute.ID]
    return int.from_bytes(identity) if len(identity) <= _VERSION_BYTES else 0


def _header(version: int) -> bytes:
    return _FORMAT + version.to_bytes(_VERSION_BYTES)


def _prove(handle: pkcs11.Key, *, makes_nonces: bool) -> None:
    """Raise what PKCS #11 raises, unless the key works: then it is the blob that was wrong."""
    nonce = bytearray(_NONCE_BYTES if makes_nonces else os.urandom(_NONCE_BYTES))
    sealed = _encrypted(handle, _PROBE, nonce=nonce, data=_PROBE)
    _decrypted(handle, sealed, nonce=bytes(nonce), data=_PROBE)


def _encrypted(handle: pkcs11.Key, plaintext: bytes, *, nonce: bytearray, data: bytes) -> bytes:
    lib = library()
    sealed: bytes = handle.encrypt(  # type: ignore[attr-defined]  # what a key can do is mixed in when it is found
        plaintext, mechanism=lib.Mechanism.AES_GCM, mechanism_param=lib.GCMParams(nonce, data)
    )
    return sealed


def _decrypted(handle: pkcs11.Key, sealed: bytes, *, nonce: bytes, data: bytes) -> bytes:
    lib = library()
    plaintext: bytes = handle.decrypt(  # type: ignore[attr-defined]  # as above
        sealed, mechanism=lib.Mechanism.AES_GCM, mechanism_param=lib.GCMParams(nonce, data)
    )
    return plaintext
