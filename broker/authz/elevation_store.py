"""Where rows of requests are kept: in this process, or in a Redis for all instances that share it.

Nothing here is believed: whoever reads rows opens them first. A Redis that does not answer is ApprovalsUnavailable, never "none".
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Protocol, TypeVar, cast

from redis import asyncio as redis
from redis.exceptions import RedisError

from broker.core.clock import Clock
from broker.core.errors import ApprovalsUnavailable

Found = Mapping[bytes, bytes]

_ROWS = "zerotrust:elevation:"
_LISTS = "zerotrust:elevations:"
# The list of everybody's; no owner is called so.
EVERYBODY = "all"
# Rows outlive what they say a little, for instances whose clocks differ.
_LINGER = timedelta(minutes=5)
# A dead Redis costs one request its timeout; for this long the others are refused at once.
_BREAKER = timedelta(seconds=1)
# Requests that are looked at for one answer, the latest.
_LISTED_MAX = 200

_T = TypeVar("_T")


class Store(Protocol):
    """Keeps rows until a time."""

    async def add(self, identifier: str, rows: Found, *, owner: str, until: datetime) -> None:
        """Keep these beside what is there, or in its place.

        Raises:
            ApprovalsUnavailable: They are not kept.
        """

    async def get(self, identifier: str) -> Found:
        """All rows of one request. Raises like ``add``."""

    async def of(self, owner: str) -> Mapping[str, Found]:
        """All rows of somebody's requests, or of EVERYBODY's, by id, the latest first. Raises like ``add``."""


class MemoryStore:
    """Of this process: what is asked for here is approved here, and a restart forgets it."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._kept: dict[str, tuple[str, datetime, dict[bytes, bytes]]] = {}

    async def add(self, identifier: str, rows: Found, *, owner: str, until: datetime) -> None:
        """See ``Store``."""
        now = self._clock.now()
        for old in [old for old, (_, end, _) in self._kept.items() if end <= now]:
            del self._kept[old]
        _, _, kept = self._kept.setdefault(identifier, (owner, until, {}))
        kept.update(rows)

    async def get(self, identifier: str) -> Found:
        """See ``Store``."""
        return dict(self._kept[identifier][2]) if identifier in self._kept else {}

    async def of(self, owner: str) -> Mapping[str, Found]:
        """See ``Store``."""
        found = {one: dict(rows) for one, (whose, _, rows) in self._kept.items() if owner in (EVERYBODY, whose)}
        return dict(list(reversed(found.items()))[:_LISTED_MAX])


class RedisStore:
    """Of all instances: a hash for each request, and lists by owner and of all."""

    def __init__(self, *, client: redis.Redis, clock: Clock) -> None:
        """Take a client that has timeouts of its own."""
        self._client = client
        self._clock = clock
        self._shut_until = 0.0
        self._failure = ""

    async def add(self, identifier: str, rows: Found, *, owner: str, until: datetime) -> None:
        """See ``Store``."""
        end = until + _LINGER
        now = self._clock.now().timestamp()

        async def write(client: redis.Redis) -> None:
            async with client.pipeline(transaction=True) as pipe:
                for name, row in rows.items():
                    pipe.hset(_ROWS + identifier, name, row)
                pipe.pexpireat(_ROWS + identifier, int(end.timestamp() * 1000))
                for listed in (_LISTS + owner, _LISTS + EVERYBODY):
                    pipe.zremrangebyscore(listed, "-inf", now)
                    pipe.zadd(listed, {identifier: end.timestamp()}, nx=True)
                    pipe.pexpireat(listed, int(end.timestamp() * 1000), gt=True)
                    pipe.pexpireat(listed, int(end.timestamp() * 1000), nx=True)
                await pipe.execute()

        await self._asked(write)

    async def get(self, identifier: str) -> Found:
        """See ``Store``."""

        async def read(client: redis.Redis) -> Found:
            return cast("Found", await client.hgetall(_ROWS + identifier))

        return await self._asked(read)

    async def of(self, owner: str) -> Mapping[str, Found]:
        """See ``Store``."""

        async def read(client: redis.Redis) -> Mapping[str, Found]:
            listed = await client.zrevrange(_LISTS + owner, 0, _LISTED_MAX - 1)
            identifiers = [name.decode("ascii", "replace") for name in listed if isinstance(name, bytes)]
            if not identifiers:
                return {}
            async with client.pipeline(transaction=False) as pipe:
                for identifier in identifiers:
                    pipe.hgetall(_ROWS + identifier)
                return dict(zip(identifiers, await pipe.execute(), strict=True))

        return await self._asked(read)

    async def _asked(self, question: Callable[[redis.Redis], Awaitable[_T]]) -> _T:
        if self._clock.boottime() < self._shut_until:
            raise ApprovalsUnavailable(self._failure)
        try:
            return await question(self._client)
        except (RedisError, OSError, TimeoutError) as error:
            self._shut_until = self._clock.boottime() + _BREAKER.total_seconds()
            self._failure = type(error).__name__
            raise ApprovalsUnavailable(self._failure) from error
