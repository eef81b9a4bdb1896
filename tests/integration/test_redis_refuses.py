"""A Redis that answers and does not do it, or not in time: what that is for tickets, job passes, limits and time boxes."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import aclosing, asynccontextmanager, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from broker.assembly.shared import redis_client
from broker.authn.register import Register
from broker.authn.replay import SharedGuard
from broker.authz.elevation_store import RedisStore
from broker.authz.limits import Limits, Of
from broker.core.clock import SystemClock
from broker.core.errors import ApprovalsUnavailable, PassesUnavailable, RateLimited, ReplayGuardUnavailable
from broker.core.principal import NameType, Principal
from broker.core.rate import Rate
from broker.core.replicated import Replicas
from tests.fakes.redis import RedisServer
from tests.fakes.redis_sets import section_of
from tests.fakes.relay import Relay

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from redis import asyncio as redis

ALICE = Principal(components=("alice",), realm="EXAMPLE.COM", name_type=NameType.PRINCIPAL)
NONE = Replicas(0)
PER_HOUR = Rate(40, 3600)
# Fault: how it comes, how it goes, and what the guard gives as the reason.
FAULTS = {
    "full": ("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0", "OutOfMemoryError"),
    "without replicas": (
        "CONFIG SET min-replicas-to-write 1",
        "CONFIG SET min-replicas-to-write 0",
        "ResponseError",
    ),
    "read-only": ("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE", "ReadOnlyError"),
}


def client_of(server: RedisServer) -> redis.Redis:
    return redis_client(section_of({"url": server.url, "password": server.password}))


@asynccontextmanager
async def rooms(server: RedisServer, port: int) -> AsyncIterator[tuple[SharedGuard, Register]]:
    """With the client of the product, and its patience."""
    url = server.url.replace(str(server.port), str(port))
    async with aclosing(redis_client(section_of({"url": url, "password": server.password}))) as client:
        guard = SharedGuard(client=client, replicas=NONE, clock=SystemClock())
        yield guard, Register(client=client, replicas=NONE, key=b"k" * 32, clock=SystemClock())


@contextmanager
def spoilt(server: RedisServer, fault: str) -> Iterator[None]:
    spoil, mend, _ = FAULTS[fault]
    server.cli(*spoil.split())
    try:
        yield
    finally:
        server.cli(*mend.split())


async def enter(register: Register, identifier: str) -> None:
    await register.enter(identifier, ALICE, until=SystemClock().now() + timedelta(hours=1))


@pytest.mark.parametrize("fault", FAULTS)
async def test_where_nothing_can_be_written_no_ticket_counts_and_no_pass_is_made_and_those_there_are_count(
    redis_server: RedisServer, fault: str
) -> None:
    async with rooms(redis_server, redis_server.port) as (guard, register):
        await enter(register, "a-pass")
        await guard.spend(secrets.token_bytes(64))
        with spoilt(redis_server, fault):
            with pytest.raises(ReplayGuardUnavailable, match=FAULTS[fault][2]):
                await guard.spend(secrets.token_bytes(64))
            assert await register.knows(["a-pass"], ALICE)
            with pytest.raises(PassesUnavailable, match=FAULTS[fault][2]):
                await enter(register, "another")
        await asyncio.sleep(1.1)  # the breakers
        await guard.spend(secrets.token_bytes(64))
        assert not await register.knows(["another"], ALICE)


@pytest.mark.parametrize("fault", FAULTS)
async def test_where_nothing_can_be_written_each_instance_counts_alone_and_nobody_comes_more_often_than_that(
    redis_server: RedisServer, fault: str
) -> None:
    async with aclosing(client_of(redis_server)) as client:
        first, second = (
            Limits(rates=lambda: {Of.PRINCIPAL: PER_HOUR}, client=client, name_key=bytes(32), clock=SystemClock())
            for _ in range(2)
        )
        with spoilt(redis_server, fault):
            assert [await let_in(limits) for limits in (first, second)] == [PER_HOUR.number] * 2
            assert first.failure == second.failure == FAULTS[fault][2]
        assert await let_in(first) == 0, "what was counted alone counts on"


@pytest.mark.parametrize("fault", FAULTS)
async def test_where_nothing_can_be_written_no_time_box_is_asked_for_and_those_there_are_are_seen(
    redis_server: RedisServer, fault: str
) -> None:
    ends = SystemClock().now() + timedelta(hours=1)
    async with aclosing(client_of(redis_server)) as client:
        store = RedisStore(client=client, clock=SystemClock())
        await store.add("0" * 32, {b"request": b"there"}, owner="alice", until=ends)
        with spoilt(redis_server, fault):
            with pytest.raises(ApprovalsUnavailable, match=FAULTS[fault][2]):
                await store.add("1" * 32, {b"request": b"new"}, owner="alice", until=ends)
            store = RedisStore(client=client, clock=SystemClock())
            assert await store.of("alice") == {"0" * 32: {b"request": b"there"}}
            with pytest.raises(ApprovalsUnavailable, match=FAULTS[fault][2]):
                await store.exchange("0" * 32, b"request", before=b"there", after=b"approved")
        store = RedisStore(client=client, clock=SystemClock())
        assert await store.of("alice") == {"0" * 32: {b"request": b"there"}}, "nothing came in by halves"


async def test_a_time_box_that_is_written_in_part_is_not_there(tmp_path: Path) -> None:
    ends = SystemClock().now() + timedelta(hours=1)
    with RedisServer.start(tmp_path / "redis") as server:
        # The row itself may be written, what lists it may not.
        server.cli("ACL", "SETUSER", "broker", "-zadd")
        async with aclosing(client_of(server)) as client:
            store = RedisStore(client=client, clock=SystemClock())
            with pytest.raises(ApprovalsUnavailable):
                await store.add("2" * 32, {b"request": b"half"}, owner="alice", until=ends)
            store = RedisStore(client=client, clock=SystemClock())
            assert await store.get("2" * 32) == {}


async def let_in(limits: Limits) -> int:
    """How often somebody passes before they are told to wait."""
    for passed in range(2 * PER_HOUR.number):
        try:
            await limits.principal(ALICE)
        except RateLimited:
            return passed
    return 2 * PER_HOUR.number


async def test_an_answer_that_comes_too_late_lets_nobody_in(redis_server: RedisServer) -> None:
    with Relay(redis_server.port) as relay:
        async with rooms(redis_server, relay.port) as (guard, register):
            await enter(register, "a-pass")
            await guard.spend(secrets.token_bytes(64))
            relay.delay = 0.5
            with pytest.raises(ReplayGuardUnavailable, match="TimeoutError"):
                await guard.spend(secrets.token_bytes(64))
            with pytest.raises(PassesUnavailable, match="TimeoutError"):
                await register.knows(["a-pass"], ALICE)


async def test_while_redis_loads_its_data_nobody_is_let_in_and_then_passes_count_again(tmp_path: Path) -> None:
    # 200 keys at 10 ms each, and a look at the clients after every one of them.
    slow = {"rdbcompression": "no", "key-load-delay": "10000", "loading-process-events-interval-bytes": "1024"}
    with RedisServer.start(tmp_path / "redis", settings=slow) as server:
        async with rooms(server, server.port) as (_, register):
            await enter(register, "a-pass")
        server.cli("EVAL", "for n = 1, 200 do redis.call('SET', n, string.rep('x', 1000)) end", "0")
        server.cli("SAVE")
        server.stop()
        server._launch()
        # The breaker of a guard of their own holds nobody up.
        reasons: set[str] = set()
        while not reasons & {"BusyLoadingError", ""}:
            async with rooms(server, server.port) as (guard, _):
                reasons.add(await guard.ping() or "")
        async with rooms(server, server.port) as (guard, register):
            with pytest.raises(ReplayGuardUnavailable, match="BusyLoadingError"):
                await guard.spend(secrets.token_bytes(64))
            with pytest.raises(PassesUnavailable, match="BusyLoadingError"):
                await register.knows(["a-pass"], ALICE)
            server._wait_until_it_answers()
            await asyncio.sleep(1.1)
            assert await register.knows(["a-pass"], ALICE)
