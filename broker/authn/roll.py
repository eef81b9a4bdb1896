"""The roll: what somebody has made and used lately, noted so that they can see it. For showing only, never an authority.

A session is valid because it opens, a job pass because the register knows it, whether they are noted here or not. What the roll
has lost is not shown; what it shows of a session or pass is asked of the ledger or the register before it is shown.

A note is sealed as what it is: one of this kind, about this person, of this name. So whoever keeps the notes for us can lose them
or put back an older one of the same thing, and can neither make one nor show anybody another's; nor do they learn whose they are,
nor of what.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import orjson

from broker.authn.roll_store import LONGEST_ROW, NAME_CHARS, Store, Unanswered
from broker.core.clock import Clock
from broker.core.errors import KeysUnavailable
from broker.core.principal import Principal
from broker.keys.envelope import CannotOpen, Envelope

_CONTEXT = b"roll/v1/"

_log = logging.getLogger(__name__)


class Kind(StrEnum):
    """What a note is about."""

    SESSION = "session"
    PASS = "pass"  # noqa: S105  a job pass, and no secret of one
    USE = "use"


# Notes of one person that are kept. Sessions and passes beyond these are valid, and end with all of theirs.
MOST = {Kind.SESSION: 100, Kind.PASS: 100, Kind.USE: 20}


@dataclass(frozen=True, slots=True)
class Note:
    """``id`` tells it from others of its kind and person. ``members`` are plain values; times in whole seconds."""

    id: str
    at: datetime
    until: datetime
    members: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Noted:
    """What is noted, the latest first. ``is_complete``: False where nobody could say what else there is."""

    notes: tuple[Note, ...]
    is_complete: bool


class Roll:
    """Writes and reads the notes. Nothing here raises for the store's sake."""

    def __init__(self, *, store: Store, envelope: Envelope, name_key: bytes, clock: Clock) -> None:
        self._store = store
        self._envelope = envelope
        self._name_key = name_key
        self._clock = clock

    async def note(self, principal: Principal, kind: Kind, note: Note) -> bool:
        """From here on it is shown; False where the store could not be asked."""
        owner = self._owner(principal, kind)
        name = self._name(f"note {owner} {note.id}")
        members = [note.id, int(note.at.timestamp()), int(note.until.timestamp()), dict(note.members)]
        try:
            row = self._envelope.seal(orjson.dumps(members), context=_context(owner, name))
            if len(row) <= LONGEST_ROW:
                await self._store.note(owner, name, row, until=note.until, most=MOST[kind])
        except (Unanswered, KeysUnavailable) as error:
            _log.info("a %s is not noted: %s", kind, type(error).__name__)
            return False
        return True

    async def of(self, principal: Principal, kind: Kind) -> Noted:
        """What is noted about somebody and not over yet."""
        owner, now = self._owner(principal, kind), self._clock.now()
        try:
            rows = await self._store.of(owner, most=MOST[kind])
        except Unanswered:
            return Noted((), is_complete=False)
        opened = [note for name, row in rows.items() if (note := self._opened(owner, name, row)) is not None]
        current = [note for note in opened if now < note.until]
        return Noted(tuple(sorted(current, key=lambda note: note.at, reverse=True)), is_complete=True)

    def _opened(self, owner: str, name: str, row: bytes) -> Note | None:
        try:
            members: list[Any] = orjson.loads(self._envelope.open(row, context=_context(owner, name)))
        except (CannotOpen, KeysUnavailable):
            return None
        identifier, at, until, said = members
        return Note(identifier, datetime.fromtimestamp(at, UTC), datetime.fromtimestamp(until, UTC), said)

    def _owner(self, principal: Principal, kind: Kind) -> str:
        return self._name(f"owner {kind} {int(principal.name_type)} {principal}")

    def _name(self, what: str) -> str:
        return hmac.new(self._name_key, what.encode(), hashlib.sha256).hexdigest()[:NAME_CHARS]


def _context(owner: str, name: str) -> bytes:
    return _CONTEXT + f"{owner}/{name}".encode()
