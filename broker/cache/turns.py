"""One fetch at a time for each name, across all instances that share a Redis.

Whoever gets the turn fetches; the others look for its entry, at first every few milliseconds and then ever less often, and take
it. A turn is a lock in Redis that lives for a second and a half and is prolonged while its holder works: a holder that dies is
followed by the next one in that time. A holder that fails says so, and those who wait go on alone, at once.

Nothing is decided by it. A lock that is held for ever, forged, or lost costs ``PATIENCE`` or a second fetch, and no more.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from broker.cache import scripts
from broker.cache.entry import Held
from broker.cache.store import Answer, RedisStore

# Without a sign of life of its holder.
TURN = timedelta(seconds=1.5)
_BEAT = TURN / 3
# Somebody who waited so long still has time for a short chain of their own before their client is promised an answer (5 s).
PATIENCE = timedelta(seconds=3)
# Whoever comes in this time after a failure does not queue up behind those who may fail as well.
_FAILED = timedelta(seconds=1)

# A wait is a quarter longer than it had to be, at the worst, and asks Redis some ten times for a chain of a tenth of a second.
_FIRST_PAUSE = timedelta(milliseconds=15)
_LONGEST_PAUSE = timedelta(milliseconds=250)
_PART = 4

# What an entry is worth to whoever waits: None where it is of no use to them.
Judge = Callable[[bytes], Awaitable[Held | None]]


@dataclass(slots=True)
class Turn:
    """Somebody's turn to fetch; or what another instance has ``found`` meanwhile, and then there is nothing to fetch.

    ``number`` is the fence of a turn that Redis gave; None where somebody goes on alone. ``waited``: how long for it.
    """

    name: str
    token: str
    found: Held | None = None
    number: int | None = None
    waited: timedelta = timedelta(0)
    kept: bool = False


class Turns:
    """Whose turn it is."""

    def __init__(self, *, store: RedisStore) -> None:
        self._store = store
        self.waited_in_vain = 0

    @asynccontextmanager
    async def turn(self, name: str, *, seen: bytes, judge: Judge) -> AsyncIterator[Turn]:
        """A turn to fetch what will lie under ``name``; ``seen`` is the entry that the caller has already."""
        turn = await self._wait(Turn(name=name, token=secrets.token_hex(16)), seen, judge)
        if turn.number is None:
            yield turn
            return
        beat = asyncio.ensure_future(self._stay_alive(turn))
        try:
            yield turn
        finally:
            beat.cancel()
            if not turn.kept:
                await self._store.hold(name, token=turn.token, value=scripts.FAILED, ttl=_FAILED)

    async def keep(self, turn: Turn, entry: bytes, ttl: timedelta) -> None:
        """Let the others have what was fetched."""
        turn.kept = True
        if turn.number is not None:
            await self._store.put(turn.name, entry, ttl, token=turn.token, number=turn.number)
        else:
            await self._store.put_anyway(turn.name, entry, ttl)

    async def ping(self) -> str | None:
        """None where Redis works, else what is wrong with it."""
        return await self._store.ping()

    async def aclose(self) -> None:
        """Let go of Redis."""
        await self._store.aclose()

    async def _wait(self, turn: Turn, seen: bytes, judge: Judge) -> Turn:
        loop = asyncio.get_running_loop()
        started = loop.time()
        while True:
            taken = await self._store.take(turn.name, token=turn.token, seen=seen, ttl=TURN)
            turn.number = taken.number
            if taken.answer is Answer.ENTRY:
                seen, turn.found = taken.entry, await judge(taken.entry)
            turn.waited = timedelta(seconds=loop.time() - started)
            if turn.found is not None or taken.answer not in {Answer.HELD, Answer.ENTRY}:
                return turn
            if turn.waited >= PATIENCE:
                self.waited_in_vain += 1
                return turn
            pause = min(_LONGEST_PAUSE, max(_FIRST_PAUSE, turn.waited / _PART))
            await asyncio.sleep(pause.total_seconds())

    async def _stay_alive(self, turn: Turn) -> None:
        while True:
            await asyncio.sleep(_BEAT.total_seconds())
            await self._store.hold(turn.name, token=turn.token, value=turn.token, ttl=TURN)
