"""Where sealed entries lie: in Redis, shared by all instances, or in this process."""

from __future__ import annotations

import logging
from collections import OrderedDict
from datetime import timedelta
from typing import Protocol

from redis import asyncio as redis
from redis.exceptions import RedisError, ResponseError

from broker.core.clock import Clock

_log = logging.getLogger(__name__)

# One principal has a handful of roles; at 2 KiB an entry this is 40 MiB.
_MEMORY_ENTRIES = 20_000

# After a failure Redis is left alone for this long: a dead server costs one caller its timeout, not everybody.
_BREAKER = timedelta(seconds=2)
_PROBE = "zerotrust:probe"


class Store(Protocol):
    """Opaque names to opaque bytes, for a while. A store that fails has nothing: it never raises."""

    async def get(self, name: str) -> bytes | None:
        """What was put there, if it is still there."""

    async def put(self, name: str, blob: bytes, ttl: timedelta) -> None:
        """Keep for ``ttl``, or not at all."""

    async def ping(self) -> str | None:
        """None where the store works, else what is wrong with it."""


class MemoryStore:
    """In the process: the embedded default, for one instance. The least recently used entry makes room."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._entries: OrderedDict[str, tuple[float, bytes]] = OrderedDict()

    async def get(self, name: str) -> bytes | None:
        """See ``Store``."""
        entry = self._entries.get(name)
        if entry is None:
            return None
        if entry[0] <= self._clock.boottime():
            del self._entries[name]
            return None
        self._entries.move_to_end(name)
        return entry[1]

    async def put(self, name: str, blob: bytes, ttl: timedelta) -> None:
        """See ``Store``."""
        self._entries[name] = (self._clock.boottime() + ttl.total_seconds(), blob)
        self._entries.move_to_end(name)
        if len(self._entries) > _MEMORY_ENTRIES:
            self._entries.popitem(last=False)

    async def ping(self) -> str | None:
        """See ``Store``."""
        return None


class RedisStore:
    """In Redis. Losing it costs latency only: failures are misses, and a breaker keeps a dead server out of the way."""

    def __init__(self, *, client: redis.Redis, clock: Clock) -> None:
        """Take a client that has timeouts of its own; redis-py's defaults hang for seconds on a frozen server."""
        self._client = client
        self._clock = clock
        self._open_until = 0.0
        self.failure: str | None = None

    async def get(self, name: str) -> bytes | None:
        """See ``Store``."""
        if self._is_open():
            return None
        try:
            blob = await self._client.get(name)
        except (RedisError, OSError, TimeoutError) as error:
            self._trip(error)
            return None
        self._recover()
        return blob if isinstance(blob, bytes) else None

    async def put(self, name: str, blob: bytes, ttl: timedelta) -> None:
        """See ``Store``."""
        if self._is_open():
            return
        try:
            await self._client.set(name, blob, px=max(1, int(ttl.total_seconds() * 1000)))
        except (RedisError, OSError, TimeoutError) as error:
            self._trip(error)

    async def ping(self) -> str | None:
        """See ``Store``. Reads, because a server that answers PING may still refuse that (no permission, loading)."""
        try:
            await self._client.exists(_PROBE)
        except (RedisError, OSError, TimeoutError) as error:
            self._trip(error)
        else:
            self._recover()
        return self.failure

    def _is_open(self) -> bool:
        return self._clock.boottime() < self._open_until

    def _recover(self) -> None:
        self._open_until = 0.0
        self.failure = None

    def _trip(self, error: Exception) -> None:
        # A server that answers, if only with a refusal (read-only, full, an entry of another type), costs nobody any time.
        if not isinstance(error, ResponseError):
            self._open_until = self._clock.boottime() + _BREAKER.total_seconds()
        if self.failure is None:
            _log.warning("cache: Redis failed, going on without it: %s", type(error).__name__)
        self.failure = type(error).__name__
