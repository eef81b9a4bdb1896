"""Whoever may approve sees every request, however many others ask: in Redis as in the process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from redis import asyncio as redis

from broker.authz.elevation_store import EVERYBODY, MemoryStore, RedisStore, Store
from tests.fakes.cache import MovedClock
from tests.fakes.redis import RedisServer

OTHERS = 1_200


@pytest.fixture(params=["memory", "redis"])
async def store(request: pytest.FixtureRequest, redis_server: RedisServer) -> AsyncIterator[Store]:
    clock = MovedClock()
    # Ahead of redis-server's, which counts down by its own.
    clock.moment = clock.moment.replace(year=2090)
    if request.param == "memory":
        yield MemoryStore(clock=clock)
        return
    client = redis.Redis.from_url(redis_server.url_with_password)
    yield RedisStore(client=client, clock=clock)
    await client.aclose()


async def test_of_many_requests_the_one_that_ends_first_is_seen_too(store: Store) -> None:
    ends = MovedClock().moment.replace(year=2091)
    await store.add("0" * 32, {b"request": b"alice's"}, owner="alice", until=ends)
    for number in range(1, OTHERS):
        later = ends + timedelta(seconds=number)
        await store.add(f"{number:032x}", {b"request": b"others'"}, owner="others", until=later)
    found = await store.of(EVERYBODY)
    assert len(found) == OTHERS
    assert next(iter(found)) == f"{OTHERS - 1:032x}", "the latest is first"
    assert found["0" * 32] == {b"request": b"alice's"}
    assert list(await store.of("alice")) == ["0" * 32]
