"""Instances of a broker's cache that share a real Redis, each with connections and a memory of its own, in one process."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Self

from redis import asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from broker.cache.store import CONNECTIONS, MemoryStore, RedisStore
from broker.cache.turns import Turns
from tests.fakes.cache import GRANT, MovedClock, Records, cache_of, credentials

if TYPE_CHECKING:
    from types import TracebackType

    from broker.core.credentials import Credentials
    from broker.core.errors import BrokerError
    from broker.core.grant import Grant
    from tests.fakes.redis import RedisServer


class Sts:
    """Counts its calls; each takes its time, and gives another key id."""

    def __init__(self) -> None:
        self.calls = 0
        self.seconds = 0.05
        self.error: BrokerError | None = None

    async def assume(self, clock: MovedClock) -> Credentials:
        self.calls += 1
        number = self.calls
        await asyncio.sleep(self.seconds)
        if self.error is not None:
            raise self.error
        return credentials(clock, key_id=f"ASIA{number:016}")


class Instance:
    """One broker's cache, and the fetch around it as the issuer does it."""

    def __init__(
        self, server: RedisServer, clock: MovedClock, sts: Sts, *keys: bytes, boot: str = "this-boot", url: str = ""
    ) -> None:
        # Nobody may have to wait in the pool: the store has a queue of its own before it.
        pool = redis.BlockingConnectionPool.from_url(
            url or server.url_with_password,
            retry=Retry(NoBackoff(), 1),
            socket_timeout=1,
            max_connections=CONNECTIONS + 1,
            timeout=0.001,
        )
        self.clock = clock
        self.sts = sts
        self.store = RedisStore(client=redis.Redis.from_pool(pool))
        self.turns = Turns(store=self.store)
        self.near = MemoryStore(clock=clock)
        self.records = Records()
        self.cache = cache_of(clock, *keys, turns=self.turns, near=self.near, boot=boot, records=self.records)

    async def fetch(self, grant: Grant = GRANT) -> Credentials:
        """A new set, here or from another instance; what is here already is not looked at."""
        async with self.cache.turn(grant) as turn:
            if turn.found is not None:
                return turn.found
            made = await self.sts.assume(self.clock)
            await turn.keep(made)
        return made

    async def ask(self, grant: Grant = GRANT) -> Credentials:
        """What is here, or a new set."""
        held = self.cache.find(grant)
        return held.credentials if held else await self.fetch(grant)

    def forget(self) -> None:
        """As after a restart: nothing is left but what Redis has."""
        self.near._entries.clear()


class Fleet:
    """So many instances; use as an asynchronous context manager."""

    def __init__(self, server: RedisServer, number: int, *, url: str = "") -> None:
        self.clock = MovedClock()
        self.sts = Sts()
        self.instances = [Instance(server, self.clock, self.sts, url=url) for _ in range(number)]
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        for instance in self.instances:
            self._stack.push_async_callback(instance.cache.aclose)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()
