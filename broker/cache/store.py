"""Where sealed entries lie: in this process, and in Redis for all instances.

Redis is trusted with nothing, not even with being there. Losing it costs latency, once; after that a breaker keeps it out of the
way until a probe finds it well, so that no request ever waits to see whether it is back.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, TypeVar

from redis import asyncio as redis
from redis.exceptions import RedisError, ResponseError

from broker.cache import scripts
from broker.core.clock import Clock
from broker.core.happening import Happening

_log = logging.getLogger(__name__)

# One principal has a handful of roles; at 2 KiB an entry this is 40 MiB.
_MEMORY_ENTRIES = 20_000

# Of an entry no more is read: a session token has one to four thousand characters. What is longer is not ours, and does not open.
LONGEST_ENTRY = 16 * 1024

# Redis answers in a millisecond. The patience with it ends after so many slices of time. An answer that took most of that is the
# last one for now, and so is the second of two slow ones: what a request pays stays below a quarter of a second. One slow answer
# may be a new connection with its handshakes.
_SLICE = timedelta(milliseconds=20)
_SLICES = 10
_TOO_SLOW = 6
_SLOW = 4
# A slice counts only if we were on time ourselves: in a herd it is this process that is late, and the answer lies in its socket.
_LATE = timedelta(milliseconds=10)
# How often a Redis that failed is looked at; it is used again within 5 s.
PROBE_EVERY = timedelta(seconds=1)
# Commands under way at a time, a connection each.
CONNECTIONS = 32

_PROBE = "zerotrust:{cache}:probe"
_CLOSED = "closed"

_T = TypeVar("_T")


class MemoryStore:
    """In the process. The least recently used entry makes room."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._entries: OrderedDict[str, tuple[float, bytes]] = OrderedDict()

    @property
    def number(self) -> int:
        """How many there are, those included whose time is over and that nobody has asked for since."""
        return len(self._entries)

    def get(self, name: str) -> bytes | None:
        """What was put there, if its time is not over."""
        entry = self._entries.get(name)
        if entry is None:
            return None
        if entry[0] <= self._clock.boottime():
            del self._entries[name]
            return None
        self._entries.move_to_end(name)
        return entry[1]

    def put(self, name: str, blob: bytes, ttl: timedelta) -> None:
        """Keep for ``ttl``."""
        self._entries[name] = (self._clock.boottime() + ttl.total_seconds(), blob)
        self._entries.move_to_end(name)
        if len(self._entries) > _MEMORY_ENTRIES:
            self._entries.popitem(last=False)


class Answer(StrEnum):
    """What Redis says to somebody who would like to fetch."""

    ENTRY = "entry"  # there is one that the asker has not seen
    TURN = "turn"  # it is the asker's turn
    HELD = "held"  # it is somebody else's
    FAILED = "failed"  # it was somebody else's, a moment ago, and they failed
    NONE = "none"  # Redis does not say


@dataclass(frozen=True, slots=True)
class Taken:
    """An answer, with the entry or with the number of the turn."""

    answer: Answer
    entry: bytes = b""
    number: int | None = None


class Unanswered(Exception):
    """Redis did not do what it was asked for."""


class RedisStore:
    """What the cache asks of Redis. Nothing here raises for Redis's sake, and nothing hangs."""

    def __init__(self, *, client: redis.Redis) -> None:
        """Take a client of our own, whose timeouts are longer than our patience."""
        self._client = client
        self._take = client.register_script(scripts.TAKE)
        self._put = client.register_script(scripts.PUT)
        self._hold = client.register_script(scripts.HOLD)
        self._slots = asyncio.Semaphore(CONNECTIONS)
        self._probe: asyncio.Future[None] | None = None
        self._was_slow = False
        # Why it is left alone at the moment.
        self.failure: str | None = None
        self.failed_writes = 0

    async def take(self, name: str, *, token: str, seen: bytes, ttl: timedelta) -> Taken:
        """Ask for the entry and, where there is none but the one already ``seen``, for the turn to fetch a new one."""
        known = hashlib.sha1(seen, usedforsecurity=False).hexdigest()
        args: list[Any] = [LONGEST_ENTRY, known, token, _ms(ttl), _ms(scripts.FENCE_LIFE)]
        try:
            found = await self._ask(lambda: self._take(keys=scripts.keys(name), args=args))
        except Unanswered:
            return Taken(Answer.NONE)
        return _taken(found)

    async def put(self, name: str, blob: bytes, ttl: timedelta, *, token: str, number: int) -> None:
        """Keep for ``ttl``, unless a later turn has begun since; give the turn back."""
        args: list[Any] = [number, token, blob, max(1, _ms(ttl))]
        try:
            await self._ask(lambda: self._put(keys=scripts.keys(name), args=args))
        except Unanswered:
            self.failed_writes += 1

    async def put_anyway(self, name: str, blob: bytes, ttl: timedelta) -> None:
        """Keep for ``ttl`` what was fetched out of turn."""
        try:
            await self._ask(lambda: self._client.set(name, blob, px=max(1, _ms(ttl))))
        except Unanswered:
            self.failed_writes += 1

    async def hold(self, name: str, *, token: str, value: str, ttl: timedelta) -> None:
        """Set what the turn says, and for how long, while it is still the holder's of ``token``."""
        args: list[Any] = [token, value, _ms(ttl)]
        try:
            await self._ask(lambda: self._hold(keys=[scripts.turn(name)], args=args))
        except Unanswered:
            # Nobody is worse off: the turn ends by itself.
            _log.debug("cache: a turn could not be prolonged or given back")

    async def ping(self) -> str | None:
        """None where Redis works, else what is wrong. Reads: a server that answers PING may still refuse that."""
        try:
            await self._ask(lambda: self._client.exists(_PROBE))
        except Unanswered as error:
            return self.failure or str(error)
        return self.failure

    async def aclose(self) -> None:
        """Let go of the connections. Whoever asks from here on is not answered."""
        self.failure, probe = _CLOSED, self._probe
        if probe is not None:
            probe.cancel()
            await asyncio.wait({probe}, timeout=_SLICE.total_seconds())
        await self._client.aclose()

    async def _ask(self, question: Callable[[], Awaitable[Any]]) -> Any:
        async with self._slots:
            # Looked at behind the queue: those who waited while Redis died do not each find out for themselves.
            if self.failure is not None:
                raise Unanswered(self.failure)
            try:
                answer, slices = await _in_time(question())
            except ResponseError as error:
                # It answers, if only with a refusal (read-only, full, no permission): that costs nobody any time.
                raise Unanswered(type(error).__name__) from error
            except (RedisError, OSError, TimeoutError) as error:
                self._trip(type(error).__name__)
                raise Unanswered(type(error).__name__) from error
        if slices >= _TOO_SLOW or (self._was_slow and slices >= _SLOW):
            self._trip("slow")
        self._was_slow = slices >= _SLOW
        return answer

    def _trip(self, failure: str) -> None:
        if self.failure == _CLOSED:
            return
        if self.failure is None:
            _log.warning("cache: Redis failed, going on without it: %s", failure, extra=Happening.REDIS_DOWN.said())
        self.failure = failure
        if self._probe is None:
            self._probe = asyncio.ensure_future(self._until_well())

    async def _until_well(self) -> None:
        """Nobody waits for this: as long as it goes on, requests do not ask."""
        while self.failure is not None:
            await asyncio.sleep(PROBE_EVERY.total_seconds())
            try:
                _, slices = await _in_time(self._client.exists(_PROBE))
            except (RedisError, OSError, TimeoutError) as error:
                self.failure = type(error).__name__
            else:
                self.failure = "slow" if slices >= _SLOW else None
        self._probe = None
        _log.info("cache: Redis is used again", extra=Happening.REDIS_BACK.said())


async def _in_time(answer: Awaitable[_T]) -> tuple[_T, int]:
    """The answer, and after how many slices of time it came.

    Raises:
        TimeoutError: There is none.
    """
    loop = asyncio.get_running_loop()
    asking, slice_ = asyncio.ensure_future(answer), _SLICE.total_seconds()
    waited = 0
    try:
        while not asking.done():
            due = loop.time() + slice_
            await asyncio.wait({asking}, timeout=slice_)
            if not asking.done() and loop.time() - due < _LATE.total_seconds():
                waited += 1
            if waited >= _SLICES:
                raise TimeoutError
        return asking.result(), waited
    finally:
        if not asking.done():
            asking.cancel()
            await asyncio.wait({asking})


def _taken(found: object) -> Taken:
    """Redis's answer, which may be anything."""
    match found:
        case [b"entry", bytes(entry)]:
            return Taken(Answer.ENTRY, entry=entry)
        case [b"turn", int(number)]:
            return Taken(Answer.TURN, number=number)
        case [b"held"]:
            return Taken(Answer.HELD)
        case [b"failed"]:
            return Taken(Answer.FAILED)
        case _:
            return Taken(Answer.NONE)


def _ms(time: timedelta) -> int:
    return int(time.total_seconds() * 1000)
