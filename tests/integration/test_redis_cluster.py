"""A real cluster: each client's keys lie at one primary, which has a replica, moves, and is replaced."""

from __future__ import annotations

import asyncio
import secrets
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from broker.assembly.doctor.shared import findings_of
from broker.assembly.redis_user import CLUSTER_COMMANDS
from broker.assembly.shared import SHARED, redis_client, redis_store, vault_client
from broker.authn.replay import SharedGuard
from broker.cache.store import Answer
from broker.core.clock import SystemClock
from broker.core.errors import AuthFailed, ReplayGuardUnavailable
from broker.core.replicated import Replicas
from broker.secrets.store import Swap
from broker.secrets.store_redis import RedisVaultStore
from tests.fakes.redis import ACCOUNT
from tests.fakes.redis_life import life_beside
from tests.fakes.redis_sets import ClusterSet, section_of
from tests.fakes.sts.demo import demo_world
from tests.fakes.sts.process import StrictSts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.fakes.realm import Realm

ONE = Replicas(1)
BACK_SECONDS = 60.0  # Three are enough where nobody else needs the machine.


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterSet]:
    with ClusterSet(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture
async def guard(cluster: ClusterSet) -> AsyncIterator[SharedGuard]:
    client = redis_client(section_of(cluster.section))
    yield SharedGuard(client=client, replicas=ONE, clock=SystemClock())
    await client.aclose()


async def spent(guard: SharedGuard) -> bytes:
    """A ticket's use that counts, as soon as one does."""
    deadline = time.monotonic() + BACK_SECONDS
    while True:
        use = secrets.token_bytes(64)
        try:
            await guard.spend(use)
        except ReplayGuardUnavailable:
            assert time.monotonic() < deadline, "the guard does not come back"
            await asyncio.sleep(0.1)
        else:
            return use


def test_a_broker_does_in_a_cluster_all_that_it_does_with_redis(
    cluster: ClusterSet, realm: Realm, tmp_path: Path
) -> None:
    with StrictSts(demo_world()) as sts, life_beside(cluster.section, tmp_path, realm, sts) as life:
        life.is_lived()
    for server in cluster.servers:
        server.require_nothing_refused()


async def test_entries_are_kept_and_secrets_are_changed(cluster: ClusterSet) -> None:
    section = section_of(cluster.section)
    cache = redis_store(section)
    turn = await cache.take("zerotrust:{cache}:credentials:x", token="t", seen=b"", ttl=timedelta(seconds=5))
    assert turn.answer is Answer.TURN
    vault = RedisVaultStore(client=vault_client(section), replicas=ONE)
    await vault.begin(b"g" * 16 + b"header")
    assert await vault.swap([Swap(name=b"n", before=None, after=b"head")]) == [True]
    await vault.close()
    await cache.aclose()


async def test_the_doctor_is_content_with_the_account_and_says_what_is_missing_to_find_the_keys(
    cluster: ClusterSet,
) -> None:
    section = section_of(cluster.section)
    assert {found.verdict for found in (await findings_of(section))[:3]} == {"ok"}
    for server in cluster.servers:
        server.cli("ACL", "SETUSER", ACCOUNT, *(f"-{name}" for name in CLUSTER_COMMANDS))
    try:
        (found,) = await findings_of(section)
        assert (found.code, "NoPermissionError" in found.evidence) == ("redis_unreachable", True)
    finally:
        for server in cluster.servers:
            server.cli("ACL", "SETUSER", ACCOUNT, *(f"+{name}" for name in CLUSTER_COMMANDS))
            server.cli("ACL", "LOG", "RESET")


async def test_an_account_that_may_do_everything_in_a_cluster_is_told_the_commands_of_a_cluster_too(
    cluster: ClusterSet,
) -> None:
    section = {name: value for name, value in cluster.section.items() if name != "username"}
    (wide,) = [found for found in await findings_of(section_of(section)) if found.code == "redis_account_too_wide"]
    assert wide.fix.endswith("+cluster|slots")


async def test_no_ticket_counts_while_the_primary_s_replica_does_not_have_it(
    cluster: ClusterSet, guard: SharedGuard
) -> None:
    await spent(guard)
    others = [server for server in cluster.servers if server is not cluster.primary_of(SHARED)]
    for server in others:
        server.freeze()
    try:
        with pytest.raises(ReplayGuardUnavailable, match=r"NotReplicated|TimeoutError"):
            await guard.spend(secrets.token_bytes(64))
    finally:
        for server in others:
            server.thaw()


async def test_what_moves_to_another_primary_is_away_meanwhile_and_there_again_afterwards(
    cluster: ClusterSet, guard: SharedGuard
) -> None:
    before = await spent(guard)
    pool = guard._client.connection_pool
    with cluster.moving(SHARED):
        # What it is told by the server that it speaks to counts, whatever it asks the others now and then.
        pool._look_at = float("inf")
        with pytest.raises(ReplayGuardUnavailable, match="NotPrimary"):
            await guard.spend(secrets.token_bytes(64))
    await spent(guard)
    with pytest.raises(AuthFailed):
        await guard.spend(before)


async def test_when_the_primary_of_our_keys_is_gone_its_replica_has_what_counts(
    cluster: ClusterSet, guard: SharedGuard
) -> None:
    before = await spent(guard)
    first = cluster.primary_of(SHARED)
    first.freeze()
    try:
        with pytest.raises(ReplayGuardUnavailable):
            await guard.spend(secrets.token_bytes(64))
        second = cluster.elected(SHARED, instead_of=first)
    finally:
        first.thaw()
    # It has a replica when the first has found out, and not before.
    await spent(guard)
    assert second is cluster.primary_of(SHARED)
    with pytest.raises(AuthFailed):
        await guard.spend(before)
