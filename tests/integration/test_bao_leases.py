"""Credentials that a real OpenBao makes in a real Redis when they are read, and takes away again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from redis import asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError

from broker.core.clock import SystemClock
from broker.remote.failure import Missing, Refused
from broker.remote.hashicorp.vault import Vault
from broker.secrets.cached import CachedProvider
from broker.secrets.provider import Version
from broker.secrets.providers.hashicorp import HashicorpProvider
from tests.fakes.bao import MOUNT, BaoServer
from tests.fakes.bao_client import approle, vault_of
from tests.fakes.docs import blocks, vaults_policy
from tests.fakes.redis import RedisServer

NAME = "test-leases"
PATH = "database/creds/app"


@dataclass
class Scene:
    server: BaoServer
    redis: RedisServer
    vault: Vault
    provider: CachedProvider

    async def opens(self, lease: Version) -> bool:
        """Whether Redis knows who is in the lease."""
        name, password = (lease.fields[member].reveal() for member in ("username", "password"))
        client = redis.Redis(port=self.redis.port, username=name, password=password, retry=Retry(NoBackoff(), 0))
        try:
            return bool(await client.ping())
        except AuthenticationError:
            return False
        finally:
            await client.aclose()


@pytest.fixture
async def scene(bao: BaoServer, redis_server: RedisServer) -> AsyncIterator[Scene]:
    if "database/" not in bao.api("GET", "sys/mounts")["data"]:
        bao.mount("database", "database")
    place = {
        "plugin_name": "redis-database-plugin",
        "host": "127.0.0.1",
        "port": redis_server.port,
        "allowed_roles": "*",
    }
    account = {"username": "default", "password": redis_server.password}
    bao.api("POST", f"database/config/{NAME}", {**place, **account})
    rights = {"db_name": NAME, "creation_statements": '["+@read", "+ping"]'}
    bao.api("POST", "database/roles/app", {**rights, "default_ttl": "1h", "max_ttl": "2h"})
    bao.policy(NAME, vaults_policy() + blocks("vaults.md", "hcl")[1])
    async with vault_of(bao, approle(bao, NAME, NAME)) as vault:
        provider = HashicorpProvider(vault=vault, mount=MOUNT, leased_mounts=("database",), clock=SystemClock())
        yield Scene(bao, redis_server, vault, CachedProvider(provider, ttl=timedelta(minutes=5), clock=SystemClock()))


async def test_each_reader_gets_credentials_of_their_own_that_say_when_they_end(scene: Scene) -> None:
    one, two = await scene.provider.read(PATH), await scene.provider.read(PATH)
    assert one.fields["username"] != two.fields["username"]
    assert one.number != two.number
    assert one.lease_ends is not None
    assert abs(one.lease_ends - datetime.now(UTC) - timedelta(hours=1)) < timedelta(minutes=5)
    assert await scene.opens(one)
    assert await scene.opens(two)


async def test_a_lease_revoked_in_the_vault_opens_nothing_any_more(scene: Scene) -> None:
    lease = await scene.provider.read(PATH)
    scene.server.api("POST", "sys/leases/revoke", {"lease_id": lease.number, "sync": True})
    assert not await scene.opens(lease)


async def test_what_was_leased_ends_when_the_broker_gives_its_token_back(scene: Scene) -> None:
    lease = await scene.provider.read(PATH)
    assert await scene.opens(lease)
    await scene.provider.close()
    with pytest.raises(Exception, match="invalid lease"):
        scene.server.api("POST", "sys/leases/lookup", {"lease_id": lease.number})
    assert not await scene.opens(lease)


async def test_a_leased_path_has_no_versions_and_cannot_be_written_or_deleted(scene: Scene) -> None:
    with pytest.raises(Missing):
        await scene.provider.read(PATH, version="1")
    for asked in (scene.provider.write(PATH, {}), scene.provider.delete(PATH)):
        with pytest.raises(Refused) as refusal:
            await asked
        assert refusal.value.reason == "leased"


async def test_what_an_engine_gives_without_a_lease_is_not_passed_on(scene: Scene) -> None:
    scene.server.policy(f"{NAME}-config", 'path "database/roles/*" { capabilities = ["read"] }')
    async with vault_of(scene.server, approle(scene.server, f"{NAME}-config", f"{NAME}-config")) as vault:
        provider = HashicorpProvider(vault=vault, mount=MOUNT, leased_mounts=("database",), clock=SystemClock())
        with pytest.raises(Refused) as refusal:
            await provider.read("database/roles/app")
        assert refusal.value.reason == "no_lease"


async def test_without_the_mount_in_the_list_the_same_path_is_one_of_the_kv_engine(scene: Scene) -> None:
    scene.server.api("POST", f"{MOUNT}/data/{PATH}", {"data": {"value": "kept"}})
    plain = HashicorpProvider(vault=scene.vault, mount=MOUNT, leased_mounts=("data", "aws"), clock=SystemClock())
    assert (await plain.read(PATH)).fields["value"].reveal() == "kept"
