"""What somebody used lately, noted beside the way and not on it: nobody waits for a note, and none is worth a failure."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TypeVar

from broker.audit.event import Event
from broker.authn.roll import MOST, Kind, Note, Roll
from broker.core.clock import Clock
from broker.core.principal import Principal

# Programs ask for the same role again and again: one note of it in this time.
_ONE_IN = timedelta(minutes=5)
# How long somebody sees what they used: as long as the keys rest that seal notes.
REMEMBERED = timedelta(days=7)
# Uses that were noted a moment ago and those that wait to be; beyond, the oldest is forgotten.
_LATELY_MAX = 10_000
_WAITING_MAX = 1_000
_ID_CHARS = 32


@dataclass(frozen=True, slots=True)
class Use:
    """A role or scope that somebody had, and when last. ``how``: ``credentials`` or ``console``; ``via`` as in the record."""

    role: str
    scope: str | None
    how: str
    at: datetime
    address: str | None
    via: str


_HOW = {"get_credentials": "credentials", "open_console": "console"}

_Key = tuple[Principal, str]
_Value = TypeVar("_Value")


class Uses:
    """Takes notes of what was handed out, and reads them."""

    def __init__(self, *, roll: Roll, clock: Clock) -> None:
        self._roll = roll
        self._clock = clock
        self._lately: OrderedDict[_Key, float] = OrderedDict()
        self._waiting: OrderedDict[_Key, Note] = OrderedDict()
        self._is_some = asyncio.Event()
        self._writing = asyncio.Lock()
        # What is being noted just now.
        self._under_way: tuple[_Key, Note] | None = None

    def had(self, principal: Principal, event: Event) -> None:
        """Somebody was handed what this event is about. Costs a look into a table; nothing is written here."""
        members = {
            "role": event.role,
            "scope": event.details.get("scope"),
            "how": _HOW[event.action],
            "address": event.source_ip,
            "via": event.details["via"],
        }
        key, started = (principal, _named(event.role, members["scope"], members["how"])), self._clock.boottime()
        if started < self._lately.get(key, 0.0):
            return
        now = self._clock.now()
        _put(self._lately, key, started + _ONE_IN.total_seconds(), most=_LATELY_MAX)
        _put(self._waiting, key, Note(key[1], now, now + REMEMBERED, members), most=_WAITING_MAX)
        self._is_some.set()

    async def of(self, principal: Principal) -> tuple[list[Use], bool]:
        """What somebody used lately, the latest first, and whether that is all."""
        # Read beside the store: others' notes wait for it perhaps, and this person shall not wait for them.
        waiting = [*self._waiting.items(), *filter(None, (self._under_way,))]
        own = {key[1]: note for key, note in waiting if key[0] == principal}
        noted = await self._roll.of(principal, Kind.USE)
        found = {note.id: note for note in noted.notes} | own
        latest = sorted(found.values(), key=lambda note: note.at, reverse=True)[: MOST[Kind.USE]]
        return [Use(at=note.at, **note.members) for note in latest], noted.is_complete

    async def write(self) -> None:
        """Note what waits to be."""
        async with self._writing:
            self._is_some.clear()
            while self._waiting:
                key, note = self._under_way = self._waiting.popitem(last=False)
                if not await self._roll.note(key[0], Kind.USE, note):
                    # The next use is noted instead.
                    self._lately.pop(key, None)
            self._under_way = None

    async def keep_noting(self) -> None:
        """Runs until cancelled."""
        while True:
            await self._is_some.wait()
            await self.write()


@lru_cache(maxsize=_LATELY_MAX)
def _named(role: str | None, scope: str | None, how: str) -> str:
    """A use of the same role and scope in the same way takes the place of the one before, wherever it came from."""
    return hashlib.sha256(f"{role} {scope} {how}".encode()).hexdigest()[:_ID_CHARS]


def _put(table: OrderedDict[_Key, _Value], key: _Key, value: _Value, *, most: int) -> None:
    table[key] = value
    table.move_to_end(key)
    if len(table) > most:
        table.popitem(last=False)
