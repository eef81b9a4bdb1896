"""Whoever may write to the Redis of the keyring: they stop no broker, hold none up, and change nothing that seals."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest
from redis import asyncio as redis

from broker.keys.envelope import CannotOpen
from broker.keys.hierarchy import Kind
from broker.keys.keyring import Kek, Wrapped, encoded
from broker.keys.master.port import MasterRefused
from broker.keys.replica import Pace
from tests.fakes.audit import SetClock
from tests.fakes.keys import MASTER, Instance, Moody
from tests.fakes.redis import RedisServer

RING, BEATS = "zerotrust:{shared}:keyring", "zerotrust:{shared}:keyring:instances"

Host = Callable[..., Awaitable[Instance]]


@pytest.fixture
async def client(redis_server: RedisServer) -> AsyncIterator[redis.Redis]:
    made = redis.Redis.from_url(redis_server.url_with_password, socket_timeout=5)
    yield made
    await made.aclose()


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def host(tmp_path: Path, client: redis.Redis, clock: SetClock) -> Host:
    async def made(name: str, **options: object) -> Instance:
        return await Instance.of(tmp_path / name, client=client, clock=clock, **options).open()  # type: ignore[arg-type]

    return made


class Choosy(Moody):
    """Like a key service that turns some requests away, with no word whether it was the blob."""

    async def unwrap(self, blob: bytes, *, context: bytes) -> bytes:
        try:
            return await super().unwrap(blob, context=context)
        except CannotOpen as error:
            raise MasterRefused("ValidationException") from error


async def test_a_name_that_is_no_text_ends_no_broker(host: Host, client: redis.Redis) -> None:
    one = await host("a")
    bad = json.loads(encoded(Kek(id="0a", master="m", made=1, wrapped=b"x")))
    bad |= {"id": "\ud800", "name": "kek/\ud800/m"}
    await client.hset(RING, "kek", json.dumps(bad))
    await one.look(2)
    assert await one.replica.ping() is None
    await host("b")


async def test_what_a_master_turns_away_because_of_somebodys_entry_stops_neither_a_start_nor_a_rotation(
    host: Host, client: redis.Redis
) -> None:
    one = await host("a", master=Choosy(MASTER))
    await one.look(3)
    await client.hset(RING, "kek/0a/m", encoded(Kek(id="0a", master="m", made=1, wrapped=b"x")))
    again = await host("a", master=Choosy(MASTER))
    version = await again.duties.rotate(Kind.DATA)
    await again.look(2)
    assert again.replica.hierarchy.sealing(Kind.DATA) == version
    assert again.replica.is_in_step
    assert await again.replica.ping() is None


async def test_a_redis_that_forgets_brings_no_older_key_back_to_sealing(
    host: Host, client: redis.Redis, clock: SetClock
) -> None:
    pace = Pace(ripe=timedelta(seconds=3), grace=timedelta(seconds=6))
    one = await host("a", pace=pace)
    await one.look()
    version = await one.duties.rotate(Kind.DATA)
    await one.look()
    await one.replica.close()
    clock.time += timedelta(minutes=1)
    again = await host("a", pace=pace)
    await again.look()
    assert again.replica.hierarchy.sealing(Kind.DATA) == version
    await client.flushall()
    await again.look()
    assert again.replica.hierarchy.sealing(Kind.DATA) == version


async def test_megabytes_that_somebody_put_there_are_not_read_and_named(host: Host, client: redis.Redis) -> None:
    one = await host("a")
    await one.look()
    await client.hset(RING, "x", bytes(9 << 20))
    await one.look()
    assert await one.replica.ping() == "redis: somebody put megabytes there"
    await client.delete(RING)
    await client.hset(BEATS, mapping={str(number): b"x" for number in range(2_000)})
    await one.look()
    assert await one.replica.ping() == "redis: somebody put thousands of entries there"
    await client.delete(BEATS)
    await one.look(2)
    assert await one.replica.ping() is None


async def test_thousands_of_entries_that_do_not_open_let_others_have_their_turn(
    host: Host, client: redis.Redis
) -> None:
    one = await host("a")
    await one.look()
    kek = one.replica.opened.sealing_kek
    assert kek is not None
    bad = [Wrapped("data", f"{number:016x}", kek.id, 1, 1, b"x" * 60) for number in range(5_000)]
    await client.hset(RING, mapping={entry.name: encoded(entry) for entry in bad})
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.ensure_future(other())
    await one.look()
    beside.cancel()
    # A turn every 64 entries, decoding and opening; what waits for Redis is a turn or two more.
    assert turns > len(bad) // 64 * 2
    assert one.replica.opened.strangers == len(bad)
