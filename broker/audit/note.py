"""Signed notes (c2sp.org/signed-note): a text that people read, an empty line, and a line for each signature.

Whoever knows none of the keys that signed believes nothing; a signature line of a key that is not known is passed over, so that
witnesses can add theirs; a wrong signature of a known key spoils the note. Pure; no file, no clock.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from broker.keys.signing import BadSignature, Ed25519Signer, verify_ed25519

_DASH = "— "
_KEY_ID_BYTES = 4
# The signature type of the specification: it is part of what a key id is made of.
_ED25519 = b"\x01"
# Neither white space nor a plus, as the specification has it; control characters are no text at all.
_NAME = re.compile(r"[^\s+\x00-\x1f]+")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")


class BadNote(ValueError):
    """Not a signed note, or not signed by any key that is known."""


@dataclass(frozen=True, slots=True)
class Signature:
    """One line: who says to have signed, by the first four bytes of the hash of which key, and the signature."""

    name: str
    key_id: bytes
    value: bytes

    def __str__(self) -> str:
        return f"{_DASH}{self.name} {base64.b64encode(self.key_id + self.value).decode()}\n"


class NoteSigner(Protocol):
    """What puts a line under a note."""

    name: str
    key_id: bytes

    def sign(self, text: bytes) -> bytes:
        """The signature over a note's text, its last line feed included."""


class NoteVerifier(Protocol):
    """What knows one key."""

    name: str
    key_id: bytes

    def verify(self, text: bytes, signature: bytes) -> None:
        """Raise ``BadSignature`` where the signature is not this key's over this text."""


class Ed25519NoteSigner:
    """A signer of the audit log as a signer of notes."""

    def __init__(self, *, name: str, signer: Ed25519Signer) -> None:
        """Sign under a name, which is part of the key's id."""
        self.name = name
        self.key_id = _ed25519_key_id(name, signer.public)
        self._signer = signer

    def sign(self, text: bytes) -> bytes:
        """The signature over a note's text."""
        return self._signer.sign(text)


class Ed25519NoteVerifier:
    """A public key under a name."""

    def __init__(self, *, name: str, public: bytes) -> None:
        """Take the 32 bytes of RFC 8032."""
        self.name = name
        self.key_id = _ed25519_key_id(name, public)
        self._public = public

    def verify(self, text: bytes, signature: bytes) -> None:
        """Raise ``BadSignature`` where it does not match."""
        verify_ed25519(signature, public=self._public, data=text)


def seal_note(text: str, *, signers: Sequence[NoteSigner]) -> str:
    """The text, which ends in a line feed and has no empty line, with a signature line of each signer.

    Raises:
        ValueError: No such text.
    """
    if not text.endswith("\n") or text.startswith("\n") or "\n\n" in text or _CONTROL.search(text):
        raise ValueError("a note is lines of text, none of them empty")
    data = text.encode()
    return f"{text}\n" + "".join(str(Signature(each.name, each.key_id, each.sign(data))) for each in signers)


def split_note(note: str) -> tuple[str, list[Signature]]:
    """A note's text and its signatures, which nobody has checked.

    Raises:
        BadNote: Not a signed note.
    """
    text, blank, lines = note.rpartition("\n\n")
    if not blank or not lines.endswith("\n") or _CONTROL.search(note):
        raise BadNote("not a signed note")
    return text + "\n", [_signature(line) for line in lines.removesuffix("\n").split("\n")]


def open_note(note: str, *, verifiers: Sequence[NoteVerifier]) -> str:
    """The text of a note that at least one of the verifiers vouches for.

    Raises:
        BadNote: None does, or one of them says that its signature is wrong.
    """
    text, signatures = split_note(note)
    known = {(each.name, each.key_id): each for each in verifiers}
    vouched = False
    for signature in signatures:
        verifier = known.get((signature.name, signature.key_id))
        if verifier is not None:
            try:
                verifier.verify(text.encode(), signature.value)
            except BadSignature as error:
                raise BadNote(f"{signature.name}: {error}") from error
            vouched = True
    if not vouched:
        raise BadNote("no key that is known signed it")
    return text


def is_signature_line(line: str) -> bool:
    """Whether a line, less its line feed, is one."""
    try:
        _signature(line)
    except BadNote:
        return False
    return True


def _signature(line: str) -> Signature:
    """Only the one spelling that we would write: base64 has spare bits in its last character."""
    name, _, encoded = line.removeprefix(_DASH).partition(" ")
    try:
        value = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadNote("a signature line is not base64") from error
    signature = Signature(name, value[:_KEY_ID_BYTES], value[_KEY_ID_BYTES:])
    if not _NAME.fullmatch(name) or not signature.value or str(signature) != f"{line}\n":
        raise BadNote("not a signature line")
    return signature


def _ed25519_key_id(name: str, public: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + _ED25519 + public).digest()[:_KEY_ID_BYTES]
