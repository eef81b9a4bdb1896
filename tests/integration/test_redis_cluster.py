"""A real cluster of three: each client's keys lie at one primary, and scripts, batches and scans work as they do anywhere."""

from __future__ import annotations

import secrets
import subprocess
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from broker.assembly.shared import redis_client, redis_store, vault_client
from broker.authn.replay import SharedGuard
from broker.cache.store import Answer
from broker.core.clock import SystemClock
from broker.core.errors import AuthFailed
from broker.core.replicated import Replicas
from broker.secrets.store import Swap
from broker.secrets.store_redis import RedisVaultStore
from tests.fakes.redis import ACCOUNT, RedisServer
from tests.fakes.redis import _free_port as free_port
from tests.fakes.redis_sets import section_of, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def settings() -> dict[str, str]:
    # Its bus listens 10,000 ports higher otherwise, where there may be no port any more.
    return {"cluster-enabled": "yes", "cluster-node-timeout": "2000", "cluster-port": str(free_port())}


def servers_in(folder: Path) -> Iterator[RedisServer]:
    first = RedisServer.start(folder / "0", settings=settings())
    yield first
    for number in (1, 2):
        yield RedisServer.start(folder / str(number), settings=settings(), password=first.password)


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    servers = list(servers_in(tmp_path_factory.mktemp("cluster")))
    try:
        for server in servers:
            server.cli("ACL", "SETUSER", ACCOUNT, "+cluster|slots")
        hosts = [f"127.0.0.1:{server.port}" for server in servers]
        command = ["redis-cli", "-a", servers[0].password, "--cluster", "create", *hosts, "--cluster-yes"]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        until(lambda: all("cluster_state:ok" in server.cli("CLUSTER", "INFO") for server in servers))
        where = {"hosts": [f"redis://{host}" for host in hosts]}
        yield {"cluster": where, "username": ACCOUNT, "password": servers[0].password, "replicas": 0}
    finally:
        for server in servers:
            server.close()


async def test_in_a_cluster_tickets_count_once_entries_are_kept_and_secrets_are_changed(
    members: dict[str, Any],
) -> None:
    section = section_of(members)
    client = redis_client(section)
    guard = SharedGuard(client=client, replicas=Replicas(0), clock=SystemClock())
    uses = [secrets.token_bytes(64) for _ in range(3)]
    for use in uses:
        await guard.spend(use)
    with pytest.raises(AuthFailed):
        await guard.spend(uses[0])
    cache = redis_store(section)
    turn = await cache.take("zerotrust:{cache}:credentials:x", token="t", seen=b"", ttl=timedelta(seconds=5))
    assert turn.answer is Answer.TURN
    vault = RedisVaultStore(client=vault_client(section), replicas=Replicas(0))
    await vault.begin(b"g" * 16 + b"header")
    assert await vault.swap([Swap(name=b"n", before=None, after=b"head")]) == [True]
    await vault.close()
    await cache.aclose()
    await client.aclose()
