"""A witness: remembers how far each log has come, and signs for nothing that does not go on from there (c2sp.org/tlog-witness).

Somebody else runs it, on another host. Whoever has everything of a broker's, its key too, can write its log anew; to the
witness they have to show that the new log begins with the one it saw before, and that they cannot. What it remembers of a log
is the latest note that it signed, whole: the file is the receipt that ``audit verify --checkpoint`` takes.

Nothing is signed before it is remembered on stable storage, so a kill at any moment forgets nothing that anybody holds a
signature of.
"""

from __future__ import annotations

import base64
import binascii
import fcntl
import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from broker.audit.cosignature import Cosigner
from broker.audit.note import BadNote, open_note, split_note
from broker.audit.statement import Statement, open_statement
from broker.audit.tree import HASH_BYTES, BadProof, check_consistency
from broker.core.clock import Clock
from broker.core.stable_file import replace_file
from broker.keys.signing import KeySet

# The specification's own limit, enough for 2^63 records.
PROOF_MAX = 63
# A request: a proof of 63 hashes, and a note with room for the signatures of many.
REQUEST_MAX_BYTES = 64 * 1024
# Logs that one witness follows. Every instance of a broker is one; whoever has a log's key can invent more.
_LOGS_MAX = 4096
_OLD = re.compile(rb"old (0|[1-9][0-9]{0,18})")
_FILE_MODE = 0o600
_DIRECTORY_MODE = 0o700

_BAD, _FORBIDDEN, _NOT_FOUND, _CONFLICT, _UNPROCESSABLE = 400, 403, 404, 409, 422


class Refused(Exception):
    """Not signed; ``status`` is the specification's HTTP status. ``size`` is there where the asker should know it."""

    def __init__(self, status: int, why: str, *, size: int | None = None) -> None:
        super().__init__(why)
        self.status = status
        self.size = size


class DamagedState(Exception):
    """What was remembered cannot be read. Nothing is signed for that log until somebody looks."""


@dataclass(frozen=True, slots=True)
class _Request:
    old: int
    proof: list[bytes]
    note: str


class Witness:
    """For one thread at a time, of one process: the directory is locked."""

    def __init__(self, *, directory: Path, cosigner: Cosigner, jwks: Callable[[], Any], clock: Clock) -> None:
        """Remember in ``directory``; ``jwks`` gives the public keys of the logs, and is asked for them with each request.

        Raises:
            OSError: The directory cannot be used; ``BlockingIOError`` where another witness uses it.
            UnusableKeySet: The JWKS is none.
        """
        KeySet(jwks=jwks())
        directory.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
        self._lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, _FILE_MODE)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise
        self._directory = directory
        self._cosigner = cosigner
        self._jwks = jwks
        self._clock = clock

    def add(self, body: bytes) -> str:
        """Judge one ``add-checkpoint`` request; returns the signature line.

        Raises:
            Refused: With the status that the specification has for it.
            DamagedState: What is remembered of this log cannot be read.
            OSError: It cannot be remembered.
            UnusableKeySet: The logs' keys cannot be read.
        """
        request = _parsed(body)
        try:
            statement = open_statement(request.note, keys=KeySet(jwks=self._jwks()))
        except BadNote as error:
            raise Refused(_FORBIDDEN, str(error)) from error
        self._judge(request, statement)
        text, signatures = split_note(request.note)
        line = self._cosigner.cosign(text, moment=int(self._clock.now().timestamp()))
        # A line in our own name that came along can be anybody's: kept, it would spoil the memory.
        own = (self._cosigner.key.name, self._cosigner.key.key_id)
        others = (str(each) for each in signatures if (each.name, each.key_id) != own)
        replace_file(self.path_of(statement.origin), f"{text}\n{''.join(others)}{line}".encode())
        return line

    def close(self) -> None:
        """Let another have the directory."""
        os.close(self._lock)

    def path_of(self, origin: str) -> Path:
        """Where the latest note of a log is."""
        return self._directory / f"{hashlib.sha256(origin.encode()).hexdigest()[:32]}.note"

    def _judge(self, request: _Request, new: Statement) -> None:
        if request.old > new.size:
            raise Refused(_BAD, "the old size is larger than the checkpoint's")
        known = self._known(new.origin)
        if known is None and len(list(self._directory.glob("*.note"))) >= _LOGS_MAX:
            raise Refused(_NOT_FOUND, "this witness follows no more logs")
        size = known.size if known else 0
        if request.old != size:
            raise Refused(_CONFLICT, f"the latest that was seen has {size} records", size=size)
        if known is None or size == 0:
            if request.proof:
                raise Refused(_UNPROCESSABLE, "from nothing on there is nothing to prove")
            return
        if new.size == size and new.root != known.root:
            raise Refused(_CONFLICT, "another log of the same size was seen", size=size)
        try:
            check_consistency(request.proof, old_size=size, old_root=known.root, new_size=new.size, new_root=new.root)
        except BadProof as error:
            raise Refused(_UNPROCESSABLE, str(error)) from error

    def _known(self, origin: str) -> Statement | None:
        path = self.path_of(origin)
        try:
            note = path.read_text("utf-8")
        except FileNotFoundError:
            return None
        except UnicodeDecodeError as error:
            raise DamagedState(f"{path}: not text") from error
        try:
            statement = Statement.of(open_note(note, verifiers=[self._cosigner.key]))
        except BadNote as error:
            raise DamagedState(f"{path}: {error}") from error
        if statement.origin != origin:
            raise DamagedState(f"{path}: of another log, {statement.origin!r}")
        return statement


def request_of(*, old: int, proof: list[bytes], note: str) -> bytes:
    """The body of an ``add-checkpoint`` request."""
    lines = [f"old {old}", *(base64.b64encode(node).decode() for node in proof)]
    return ("\n".join(lines) + "\n\n" + note).encode()


def _parsed(body: bytes) -> _Request:
    head, blank, note = body.partition(b"\n\n")
    first, *nodes = head.split(b"\n")
    old = _OLD.fullmatch(first)
    if not blank or old is None or len(nodes) > PROOF_MAX:
        raise Refused(_BAD, "not an old size, a proof, an empty line and a checkpoint")
    try:
        proof = [base64.b64decode(node, validate=True) for node in nodes]
        text = note.decode()
    except (binascii.Error, ValueError) as error:
        raise Refused(_BAD, "the proof is not base64, or the checkpoint not text") from error
    if any(len(node) != HASH_BYTES for node in proof):
        raise Refused(_BAD, f"a hash has {HASH_BYTES} bytes")
    return _Request(old=int(old[1]), proof=proof, note=text)
