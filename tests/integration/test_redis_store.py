"""What the cache takes for a fault of Redis, and what not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from broker.cache import store
from broker.cache.store import Answer
from tests.fakes.cache import GRANT
from tests.fakes.fleet import Fleet, Instance
from tests.fakes.redis import RedisServer

TURN = timedelta(seconds=1)


@pytest.fixture
async def one(redis_server: RedisServer) -> AsyncIterator[Instance]:
    async with Fleet(redis_server, 1) as fleet:
        fleet.sts.seconds = 0
        yield fleet.instances[0]


async def well_again(one: Instance) -> None:
    async with asyncio.timeout(5):
        while one.store.failure is not None:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_a_connection_that_redis_closed_while_nobody_used_it_is_no_fault(
    one: Instance, redis_server: RedisServer
) -> None:
    made = await one.fetch()
    redis_server.cli("CLIENT", "KILL", "TYPE", "normal")
    one.forget()
    assert await one.fetch() == made
    assert one.store.failure is None


async def test_who_asks_twice_because_the_answer_was_lost_has_the_turn_still(one: Instance) -> None:
    for _ in range(2):
        taken = await one.store.take("name", token="mine", seen=b"", ttl=TURN)
        assert (taken.answer, taken.number) == (Answer.TURN, 1)
    other = await one.store.take("name", token="another", seen=b"", ttl=TURN)
    assert other.answer is Answer.HELD


async def test_that_we_are_late_ourselves_is_not_redis_s_fault(one: Instance) -> None:
    asking = asyncio.ensure_future(one.store.take("name", token="mine", seen=b"", ttl=TURN))
    while not asking.done():
        await asyncio.sleep(0)
        time.sleep(0.04)  # noqa: ASYNC251  # a herd, or a neighbour, has the processor
    assert (await asking).answer is Answer.TURN
    assert one.store.failure is None


async def test_a_frozen_redis_is_waited_for_once_and_looked_at_without_anybody_waiting(
    one: Instance, redis_server: RedisServer
) -> None:
    await one.fetch()
    redis_server.freeze()
    one.forget()
    await one.fetch()
    assert one.store.failure == "TimeoutError"
    assert await one.cache.ping() == "TimeoutError"
    for _ in range(20):
        one.forget()
        # It would raise if anything but a sleeping probe asked Redis: nothing else is left to do in no time.
        async with asyncio.timeout(0.1):
            await one.fetch()
    redis_server.thaw()
    await well_again(one)
    assert await one.cache.ping() is None


async def test_while_redis_loads_its_data_it_is_left_alone(tmp_path: Path) -> None:
    # 100 keys at 20 ms each, and a look at the clients after every one of them.
    slow = {"rdbcompression": "no", "key-load-delay": "20000", "loading-process-events-interval-bytes": "1024"}
    with RedisServer.start(tmp_path / "redis", settings=slow) as server:
        async with Fleet(server, 1) as fleet:
            (one,) = fleet.instances
            server.cli("EVAL", "for n = 1, 100 do redis.call('SET', n, string.rep('x', 1000)) end", "0")
            server.cli("SAVE")
            server.stop()
            server._launch()
            with suppress(TimeoutError):
                async with asyncio.timeout(5):
                    while one.store.failure != "BusyLoadingError":
                        await one.fetch(GRANT)
                        one.forget()
            assert one.store.failure == "BusyLoadingError"
            server._wait_until_it_answers()
            await well_again(one)
            one.forget()
            made = await one.fetch()
            one.forget()
            assert await one.fetch() == made


async def test_more_who_ask_at_once_than_there_are_connections_are_all_answered(one: Instance) -> None:
    many = store.CONNECTIONS * 10
    asked = (one.store.take(f"name {number}", token="mine", seen=b"", ttl=TURN) for number in range(many))
    assert {taken.answer for taken in await asyncio.gather(*asked)} == {Answer.TURN}
    assert one.store.failure is None
