"""What the watch holds, among instances: told within a second, kept over a restart, and not Redis's to lift."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from redis import asyncio as redis

from broker.core.errors import ApprovalRequired, StepUpRequired
from broker.core.identity import Identity
from broker.core.principal import Principal
from broker.keys.hierarchy import KeyHierarchy
from broker.revocation.holds import Holds, Response
from tests.fakes.epochs import epochs_beside
from tests.fakes.redis import RedisServer

KEYS = KeyHierarchy(master=b"m" * 32)
ALICE = "alice@R"
PROMISED = 1.0
PATIENCE = 3.0

Join = Callable[[str], contextlib.AbstractAsyncContextManager[Holds]]


@pytest.fixture
def server(redis_server: RedisServer) -> RedisServer:
    return redis_server


@pytest.fixture
def join(server: RedisServer, tmp_path: Path) -> Join:
    @asynccontextmanager
    async def instance(name: str) -> AsyncIterator[Holds]:
        client = redis.Redis.from_url(server.url_with_password, socket_timeout=0.2, socket_connect_timeout=0.2)
        epochs = epochs_beside(client, tmp_path / name, KEYS)
        await epochs.open()
        task = asyncio.ensure_future(epochs.keep_in_step())
        try:
            yield Holds(epochs=epochs)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await epochs.close()
            await client.aclose()

    return instance


def somebody(*, authenticated: datetime | None = None) -> Identity:
    now = datetime.now(UTC)
    return Identity(
        principal=Principal.parse(ALICE),
        ticket_end=now + timedelta(hours=8),
        authenticated_at=authenticated or now - timedelta(hours=1),
        channel_bound=False,
        indicators=frozenset(),
        groups=frozenset(),
        mutual_token=None,
    )


def is_held(holds: Holds, who: Identity | None = None) -> bool:
    try:
        holds.require_none(who or somebody())
    except (ApprovalRequired, StepUpRequired):
        return True
    return False


async def until(condition: Callable[[], bool]) -> float:
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < PATIENCE, "it does not come"
        await asyncio.sleep(0.01)
    return time.monotonic() - begun


async def test_a_hold_and_its_clearing_reach_the_others_within_a_second(join: Join) -> None:
    async with join("one") as one, join("two") as two:
        await one.put(ALICE, Response.HOLD, by="watch: new_role")
        assert await until(lambda: is_held(two)) < PROMISED
        assert await two.clear(ALICE, by="root/admin@R") == [Response.HOLD]
        assert await until(lambda: not is_held(one)) < PROMISED


async def test_a_newer_ticket_is_enough_for_a_step_up_at_every_instance(join: Join) -> None:
    async with join("one") as one, join("two") as two:
        await one.put(ALICE, Response.STEP_UP, by="watch: new_role")
        await until(lambda: is_held(two))
        newer = somebody(authenticated=datetime.now(UTC) + timedelta(seconds=1))
        assert not is_held(one, newer)
        assert not is_held(two, newer)
        # The next alert makes that one old as well.
        await asyncio.sleep(2.1)
        await two.put(ALICE, Response.STEP_UP, by="watch: new_role")
        assert is_held(two, newer)


async def test_without_redis_what_was_heard_last_goes_on_and_a_restart_forgets_nothing(
    join: Join, server: RedisServer
) -> None:
    async with join("one") as one, join("two") as two:
        await one.put(ALICE, Response.HOLD, by="watch: new_role")
        await until(lambda: is_held(two))
        server.stop()
        await asyncio.sleep(1)
        assert is_held(two)
        assert is_held(one)
        # An alert while nobody can be told counts here.
        await two.put("bob@R", Response.HOLD, by="watch: new_role")
    async with join("two") as again:
        assert {(held.user, held.in_force) for held in again.listing()} == {(ALICE, True), ("bob@R", True)}
        server.renew()
        async with join("three") as third:
            await until(lambda: len(third.listing()) == 2)


async def test_redis_cannot_lift_a_hold(join: Join, server: RedisServer) -> None:
    async with join("one") as one, join("two") as two:
        await one.put(ALICE, Response.HOLD, by="watch: new_role")
        await until(lambda: is_held(two))
        server.cli("FLUSHALL")
        await asyncio.sleep(1)
        assert is_held(one)
        assert is_held(two)
        async with join("three") as third:
            await until(lambda: is_held(third))
