"""A primary that was replaced and still takes itself for one: nobody closes the connections to it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest
from redis import asyncio as redis
from redis.exceptions import ConnectionError as RedisConnectionError

from broker.assembly.primary import Address, Pool
from tests.fakes.redis import RedisServer
from tests.fakes.until import until

if TYPE_CHECKING:
    from collections.abc import Iterator

LOOKED_SECONDS = 10.0  # One is enough where nobody else needs the machine.


class Told:
    """A ``Finder`` that says what it was told; None: nobody can say."""

    def __init__(self, server: RedisServer) -> None:
        self.server: RedisServer | None = server
        self.asked = 0

    async def primary(self) -> Address:
        self.asked += 1
        if self.server is None:
            raise RedisConnectionError("no sentinel answers")
        return "127.0.0.1", self.server.port

    async def aclose(self) -> None:
        """Nothing to let go of."""


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RedisServer, RedisServer]]:
    with (
        RedisServer.start(tmp_path_factory.mktemp("former")) as former,
        RedisServer.start(tmp_path_factory.mktemp("following")) as following,
    ):
        for server in (former, following):
            server.cli("ACL", "SETUSER", "broker", "on", ">one-for-both", "~*", "&*", "+@all")
        yield former, following


async def port_of(client: redis.Redis) -> int:
    found = await client.config_get("port")
    return int(found["port"])


def client_of(finder: Told) -> redis.Redis:
    account = {"username": "broker", "password": "one-for-both", "decode_responses": True}
    return redis.Redis.from_pool(Pool(finder=finder, tls=False, max_connections=4, timeout=1, **account))


async def test_connections_that_stand_are_given_up_soon_after_another_is_the_primary(
    servers: tuple[RedisServer, RedisServer],
) -> None:
    former, following = servers
    finder = Told(former)
    client = client_of(finder)
    # Two connections, of which one is in use when the news come.
    async with client.pubsub() as subscription:
        await subscription.subscribe("anything")
        assert await asyncio.gather(port_of(client), port_of(client)) == [former.port] * 2
        finder.server = following
        deadline = time.monotonic() + LOOKED_SECONDS
        while await port_of(client) != following.port:
            assert time.monotonic() < deadline, "it stays with the former"
            await asyncio.sleep(0.05)
        # What is in use stays until it is given back; what was idle is gone, used again or not.
        await until(lambda: former.cli("CLIENT", "LIST").count("user=broker") == 1)
        assert await asyncio.gather(*(port_of(client) for _ in range(4))) == [following.port] * 4
    await client.aclose()


async def test_where_nobody_can_say_who_the_primary_is_connections_stay(
    servers: tuple[RedisServer, RedisServer],
) -> None:
    former, _ = servers
    finder = Told(former)
    client = client_of(finder)
    assert await port_of(client) == former.port
    finder.server = None
    asked, deadline = finder.asked, time.monotonic() + LOOKED_SECONDS
    while finder.asked == asked:
        assert await port_of(client) == former.port
        assert time.monotonic() < deadline, "nobody was asked"
        await asyncio.sleep(0.05)
    assert await port_of(client) == former.port
    await client.aclose()
