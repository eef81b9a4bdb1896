"""Cosignatures of witnesses (c2sp.org/tlog-cosignature, v1): "as of this time, the largest tree I saw of this log is this one".

A witness is known by its *verifier key*, one word that holds its name and its public key: ``NAME+KEYID+BASE64``. Pure; no file,
no clock.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re

from broker.audit.note import Signature
from broker.keys.request_key import UnusableKey, ed25519_signer
from broker.keys.signing import BadSignature, Ed25519Signer, verify_ed25519

# c2sp.org/signed-note, signature types.
_COSIGNATURE = b"\x04"
_KEY_ID_BYTES = 4
_PUBLIC_BYTES = 32
_TIME_BYTES = 8
_SIGNATURE_BYTES = 64
_NAME = re.compile(r"[^\s+\x00-\x1f]{1,255}")


class BadWitnessKey(ValueError):
    """Not a witness's verifier key, or not a private key for one."""


class WitnessKey:
    """A witness's name and public key. Knows its signature lines in notes (``note.NoteVerifier``)."""

    def __init__(self, *, name: str, public: bytes) -> None:
        """Take a name without white space or plus, and the 32 bytes of RFC 8032.

        Raises:
            BadWitnessKey: It is none.
        """
        if not _NAME.fullmatch(name) or len(public) != _PUBLIC_BYTES:
            raise BadWitnessKey("a witness has a name without white space or +, and an Ed25519 key")
        self.name = name
        self.public = public
        self.key_id = hashlib.sha256(name.encode() + b"\n" + _COSIGNATURE + public).digest()[:_KEY_ID_BYTES]

    @classmethod
    def parse(cls, text: str) -> WitnessKey:
        """Of its one word.

        Raises:
            BadWitnessKey: It is none.
        """
        name, _, rest = text.partition("+")
        try:
            key = base64.b64decode(rest.partition("+")[2], validate=True)
        except (binascii.Error, ValueError) as error:
            raise BadWitnessKey("not NAME+KEYID+BASE64") from error
        if key[:1] != _COSIGNATURE:
            raise BadWitnessKey("not the key of a witness, whose base64 begins with BA or BB")
        found = cls(name=name, public=key[1:])
        if str(found) != text:
            raise BadWitnessKey("the key id is not the one of this name and key")
        return found

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(_COSIGNATURE + self.public).decode()}"

    def verify(self, text: bytes, signature: bytes) -> None:
        """Raise ``BadSignature`` where it is not this witness's cosignature of a note's text."""
        if len(signature) != _TIME_BYTES + _SIGNATURE_BYTES:
            raise BadSignature("a cosignature has 72 bytes")
        moment = int.from_bytes(signature[:_TIME_BYTES])
        verify_ed25519(signature[_TIME_BYTES:], public=self.public, data=_signed(text, moment))


class Cosigner:
    """The witness's own side of it."""

    def __init__(self, *, name: str, signer: Ed25519Signer) -> None:
        self.key = WitnessKey(name=name, public=signer.public)
        self._signer = signer

    @classmethod
    def of_pem(cls, pem: bytes, *, name: str) -> Cosigner:
        """Of an Ed25519 private key: ``openssl genpkey -algorithm ed25519``.

        Raises:
            BadWitnessKey: It is none.
        """
        try:
            return cls(name=name, signer=ed25519_signer(pem))
        except UnusableKey as error:
            raise BadWitnessKey(str(error)) from error

    def cosign(self, text: str, *, moment: int) -> str:
        """The signature line, line feed included, for a note's text at a time (Unix seconds)."""
        value = moment.to_bytes(_TIME_BYTES) + self._signer.sign(_signed(text.encode(), moment))
        return str(Signature(self.key.name, self.key.key_id, value))


def _signed(text: bytes, moment: int) -> bytes:
    return b"cosignature/v1\ntime %d\n%b" % (moment, text)
