"""Where rows of requests are kept: in this process, or in a Redis for all instances that share it.

Nothing here is believed: whoever reads rows opens them first. A Redis that does not answer is ApprovalsUnavailable, never "none".
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Protocol, TypeVar, cast

from redis import asyncio as redis
from redis.exceptions import RedisError

from broker.authz.elevation import Rows
from broker.core.clock import Clock
from broker.core.errors import ApprovalsUnavailable

Found = Mapping[bytes, bytes]

_ROWS = "zerotrust:{shared}:elevation:"
_LISTS = "zerotrust:{shared}:elevations:"
# The list of everybody's; no owner is called so.
EVERYBODY = "all"
# Rows outlive what they say a little, for instances whose clocks differ.
_LINGER = timedelta(minutes=5)
# A dead Redis costs one request its timeout; for this long the others are refused at once.
_BREAKER = timedelta(seconds=1)
# Requests that are looked at for one answer, those that end last: of a hundred people who ask for as much as they may
# (``issuing.elevate``). An approver is to see all of them, or a few could push somebody else's out of sight.
_LISTED_MAX = 5_000
# Requests, and keys, that Redis looks at for one answer of its own: nobody else waits for long.
_PAGE = 500

# KEYS: a request. ARGV: the row's name, what it was, what it shall be. Its end stays.
_EXCHANGE = """
if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then redis.call('HSET', KEYS[1], ARGV[1], ARGV[3]) end
return 1
"""

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

    def all(self) -> AsyncIterator[tuple[str, Found]]:
        """All rows of all requests, by id. Raises like ``add``."""

    async def exchange(self, identifier: str, name: bytes, *, before: bytes, after: bytes) -> None:
        """Put a row into the place of what it was, unless that was changed meanwhile. Raises like ``add``."""


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

    async def all(self) -> AsyncIterator[tuple[str, Found]]:
        """See ``Store``."""
        for identifier, (_, _, rows) in list(self._kept.items()):
            yield identifier, dict(rows)

    async def exchange(self, identifier: str, name: bytes, *, before: bytes, after: bytes) -> None:
        """See ``Store``."""
        rows = self._kept[identifier][2] if identifier in self._kept else {}
        if rows.get(name) == before:
            rows[name] = after


class RedisStore:
    """Of all instances: a hash for each request, and lists by owner and of all."""

    def __init__(self, *, client: redis.Redis, clock: Clock) -> None:
        """Take a client that has timeouts of its own."""
        self._client = client
        self._exchange = client.register_script(_EXCHANGE)
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
        found: dict[str, Found] = {}
        for start in range(0, _LISTED_MAX, _PAGE):

            async def read(client: redis.Redis, start: int = start) -> Mapping[str, Found]:
                listed = await client.zrevrange(_LISTS + owner, start, start + _PAGE - 1)
                identifiers = [name.decode("ascii", "replace") for name in listed if isinstance(name, bytes)]
                async with client.pipeline(transaction=False) as pipe:
                    for identifier in identifiers:
                        pipe.hgetall(_ROWS + identifier)
                    return dict(zip(identifiers, await pipe.execute(), strict=True))

            page = await self._asked(read)
            found |= page
            if len(page) < _PAGE:
                break
        return found

    async def all(self) -> AsyncIterator[tuple[str, Found]]:
        """See ``Store``."""
        cursor: int | str = 0
        while True:
            at = cursor

            async def page(client: redis.Redis, at: int | str = at) -> tuple[int, list[bytes]]:
                return cast(
                    "tuple[int, list[bytes]]", await client.scan(cast("int", at), match=f"{_ROWS}*", count=_PAGE)
                )

            cursor, keys = await self._asked(page)
            for key in keys:
                identifier = key.decode("ascii", "replace").removeprefix(_ROWS)
                yield identifier, await self.get(identifier)
            if int(cursor) == 0:
                return

    async def exchange(self, identifier: str, name: bytes, *, before: bytes, after: bytes) -> None:
        """See ``Store``."""
        await self._asked(lambda _: self._exchange([_ROWS + identifier], [name, before, after]))

    async def _asked(self, question: Callable[[redis.Redis], Awaitable[_T]]) -> _T:
        if self._clock.boottime() < self._shut_until:
            raise ApprovalsUnavailable(self._failure)
        try:
            return await question(self._client)
        except (RedisError, OSError, TimeoutError) as error:
            self._shut_until = self._clock.boottime() + _BREAKER.total_seconds()
            self._failure = type(error).__name__
            raise ApprovalsUnavailable(self._failure) from error


class Resealing:
    """Rows whose seals follow the keys (``broker.keys.sealed``)."""

    name = "elevation"

    def __init__(self, *, store: Store, rows: Rows) -> None:
        self._store = store
        self._rows = rows

    async def reseal(self) -> frozenset[str]:
        """Raises: ApprovalsUnavailable: Nobody knows what lies there."""
        needed = set()
        async for identifier, found in self._store.all():
            for name, blob in found.items():
                renewed = self._rows.renewed(identifier, name, blob)
                if renewed is None:
                    continue
                after, version = renewed
                needed.add(version)
                if after != blob:
                    await self._store.exchange(identifier, name, before=blob, after=after)
        return frozenset(needed)
