"""Redis with sentinels, by TLS: the primary ends, or is frozen, and what is shared goes on at another."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest
from redis.exceptions import RedisError

from broker.assembly.primary import PlainBeyondLoopback, Pool
from broker.assembly.shared import redis_client
from tests.fakes.redis_sets import SentinelSet, Tls, section_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import asyncio as redis

BACK_SECONDS = 30.0  # Two are enough where nobody else needs the machine.


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SentinelSet]:
    folder = tmp_path_factory.mktemp("sentinels")
    with SentinelSet(folder, tls=Tls.made(folder / "tls")) as running:
        yield running


async def written(client: redis.Redis) -> None:
    """Writes as soon as somebody takes it."""
    deadline = time.monotonic() + BACK_SECONDS
    while True:
        try:
            await client.set("zerotrust:{shared}:probe", "x")
        except RedisError:
            assert time.monotonic() < deadline, "nobody takes writes"
            await asyncio.sleep(0.05)
        else:
            return


async def test_a_client_follows_the_primary_when_it_is_frozen_and_when_it_has_ended(fleet: SentinelSet) -> None:
    client = redis_client(section_of(fleet.section))
    await written(client)
    first = fleet.primary
    first.freeze()
    await written(client)
    second = fleet.elected(instead_of=first)
    assert second.cli("GET", "zerotrust:{shared}:probe") == "x\n"
    first.thaw()
    second.stop()
    fleet.elected(instead_of=second)
    await written(client)
    second.restart()
    await client.aclose()


async def test_no_sentinel_leads_anybody_beyond_loopback_in_the_clear() -> None:
    class Liar:
        async def primary(self) -> tuple[str, int]:
            return "192.0.2.1", 6379

        async def aclose(self) -> None:
            pass

    pool = Pool(finder=Liar(), tls=False, max_connections=1, timeout=1)
    with pytest.raises(PlainBeyondLoopback, match=r"192\.0\.2\.1"):
        await pool.get_master_address()


async def test_a_certificate_of_another_authority_or_for_another_host_is_refused(
    fleet: SentinelSet, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = Tls.made(tmp_path_factory.mktemp("other"))
    named = [each.replace("127.0.0.1", "localhost") for each in fleet.section["sentinel"]["hosts"]]
    for wrong in (
        fleet.section | {"tls": fleet.section["tls"] | {"ca": str(other.ca)}},
        fleet.section | {"sentinel": fleet.section["sentinel"] | {"hosts": named}},
    ):
        client = redis_client(section_of(wrong))
        with pytest.raises(RedisError, match=r"no host|0 of 3 sentinels answer"):
            await client.ping()
        await client.aclose()
