"""What a checkpoint of any log says (c2sp.org/tlog-checkpoint), and who must have said it for it to count.

The software key of a broker lies where the broker runs; the key of an HSM does not. Where the keys of a log hold one
of an HSM's, a checkpoint counts only with its line: otherwise whoever took the software key could leave the other line out.
Pure; no file, no clock.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass

from broker.audit.note import BadNote, Ed25519NoteVerifier, NoteVerifier, Signature, open_note
from broker.keys.es256 import Es256PublicKey, es256_keys
from broker.keys.pkcs11 import HsmKey
from broker.keys.signing import KeySet

_KEY_ID_BYTES = 4
_STATEMENT = re.compile(r"([^\n]+)\n(0|[1-9][0-9]{0,18})\n([A-Za-z0-9+/]{43}=)\n(?:[^\n]+\n)*")


@dataclass(frozen=True, slots=True)
class Statement:
    """A log by its origin, how many records it has, and the root of the tree over them."""

    origin: str
    size: int
    root: bytes

    @classmethod
    def of(cls, text: str) -> Statement:
        """Of a note's text.

        Raises:
            BadNote: It is no checkpoint's.
        """
        found = _STATEMENT.fullmatch(text)
        if found is None:
            raise BadNote("not a checkpoint")
        return cls(origin=found[1], size=int(found[2]), root=base64.b64decode(found[3]))


class EcdsaNoteVerifier:
    """A P-256 key under a name: signature type 2 of the specification, whose key id is a hash of the key alone."""

    def __init__(self, *, name: str, key: Es256PublicKey) -> None:
        self.name = name
        self.key_id = _ecdsa_key_id(key)
        self._key = key

    def verify(self, text: bytes, signature: bytes) -> None:
        """Raise ``BadSignature`` where it is not the key's: ECDSA with SHA-256, in DER."""
        self._key.verify(signature, text)


def open_statement(note: str, *, keys: KeySet) -> Statement:
    """What a note states, signed by a key of the set in the log's own name; and by an HSM's, where the set has one.

    Raises:
        BadNote: It does not count.
    """
    statement = Statement.of(note.rpartition("\n\n")[0] + "\n")
    software: list[NoteVerifier] = [
        Ed25519NoteVerifier(name=statement.origin, public=public) for public in keys.ed25519()
    ]
    open_note(note, verifiers=software)
    hardware = hsm_verifiers(statement.origin, keys=keys)
    if hardware:
        try:
            open_note(note, verifiers=hardware)
        except BadNote as error:
            raise BadNote(f"not signed by the HSM: {error}") from error
    return statement


def hsm_verifiers(origin: str, *, keys: KeySet) -> list[EcdsaNoteVerifier]:
    """The keys of HSMs in a set, as signers of a log's notes."""
    return [EcdsaNoteVerifier(name=origin, key=key) for key in es256_keys(keys)]


async def hsm_line(note: str, *, key: HsmKey) -> str:
    """The line that an HSM's key puts under a note that is the log's own already.

    Raises:
        HsmUnavailable: There is none.
    """
    text = note.rpartition("\n\n")[0] + "\n"
    value = await key.sign(text.encode())
    public = await key.find() if key.public is None else key.public
    return str(Signature(Statement.of(text).origin, _ecdsa_key_id(public), value))


def _ecdsa_key_id(key: Es256PublicKey) -> bytes:
    return hashlib.sha256(key.spki()).digest()[:_KEY_ID_BYTES]
