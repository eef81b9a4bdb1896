"""Redis with sentinels, by TLS: the primary ends, or is frozen, and what is shared goes on at another, complete."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from redis.exceptions import RedisError

from broker.assembly.primary import PlainBeyondLoopback, Pool
from broker.assembly.shared import redis_client, vault_client
from broker.authn.register import Register
from broker.authn.replay import SharedGuard
from broker.core.clock import SystemClock
from broker.core.errors import AuthFailed, PassesUnavailable, ReplayGuardUnavailable
from broker.core.principal import NameType, Principal
from broker.core.replicated import Replicas
from broker.remote.failure import Unreachable
from broker.secrets.store import Swap
from broker.secrets.store_redis import RedisVaultStore
from tests.fakes.redis_life import life_beside
from tests.fakes.redis_sets import SentinelSet, Tls, section_of
from tests.fakes.sts.demo import demo_world
from tests.fakes.sts.process import StrictSts
from tests.fakes.until import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from redis import asyncio as redis

    from tests.fakes.realm import Realm

ONE = Replicas(1)
# Which of the two is told is a matter of who is slower on a busy machine: Redis with its WAIT, or the client.
UNSURE = "NotReplicated|TimeoutError"
ALICE = Principal(components=("alice",), realm="EXAMPLE.COM", name_type=NameType.PRINCIPAL)

BACK_SECONDS = 30.0  # Two are enough where nobody else needs the machine.


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SentinelSet]:
    folder = tmp_path_factory.mktemp("sentinels")
    with SentinelSet(folder, tls=Tls.made(folder / "tls")) as running:
        yield running


@pytest.fixture(autouse=True)
async def nothing_stays_open(fleet: SentinelSet) -> AsyncIterator[None]:
    """TLS is over when the other side has said so, too, which a frozen one does when it is thawed: that is waited for."""
    before = sockets()
    yield
    await until(lambda: sockets() <= before, seconds=BACK_SECONDS)


def sockets() -> set[str]:
    """Of this process, each by its inode."""
    found = set()
    for path in Path("/proc/self/fd").iterdir():
        # Listing them takes a descriptor, which is closed by then.
        with contextlib.suppress(FileNotFoundError):
            found.add(str(path.readlink()))
    return {name for name in found if name.startswith("socket:")}


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


@asynccontextmanager
async def alone(fleet: SentinelSet) -> AsyncIterator[None]:
    """The primary as it is where it was cut off: it answers, and no replica hears of it."""
    others = [server for server in fleet.redis if server is not fleet.primary and server.is_running]
    for server in others:
        server.freeze()
    try:
        yield
    finally:
        for server in others:
            server.thaw()


async def spent(guard: SharedGuard) -> bytes:
    """A ticket's use that counts; on a busy machine not at the first try."""
    deadline = time.monotonic() + BACK_SECONDS
    while True:
        authenticator = secrets.token_bytes(64)
        try:
            await guard.spend(authenticator)
        except ReplayGuardUnavailable:
            assert time.monotonic() < deadline, "the guard does not come back"
            await asyncio.sleep(0.1)
        else:
            return authenticator


async def test_a_client_follows_the_primary_and_a_ticket_that_was_used_stays_used(fleet: SentinelSet) -> None:
    client = redis_client(section_of(fleet.section))
    guard = SharedGuard(client=client, replicas=ONE, clock=SystemClock())
    before = await spent(guard)
    await written(client)
    first = fleet.primary
    first.freeze()
    await written(client)
    second = fleet.elected(instead_of=first)
    assert second.cli("GET", "zerotrust:{shared}:probe") == "x\n"
    await spent(guard)
    with pytest.raises(AuthFailed):
        await guard.spend(before)
    first.thaw()
    await client.aclose()


def test_a_broker_does_beside_sentinels_all_that_it_does_with_redis(
    fleet: SentinelSet, realm: Realm, tmp_path: Path
) -> None:
    with StrictSts(demo_world()) as sts, life_beside(fleet.section, tmp_path, realm, sts) as life:
        life.is_lived()
    for server in fleet.servers:
        server.require_nothing_refused()


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
        with pytest.raises(RedisError, match=r"none of 3 who know the primary answers"):
            await client.ping()
        await client.aclose()


async def test_a_pass_is_cancelled_when_replicas_know_and_asked_of_nobody_who_was_cut_off(fleet: SentinelSet) -> None:
    client, clock = redis_client(section_of(fleet.section)), SystemClock()
    await written(client)
    register = Register(client=client, replicas=ONE, key=b"k" * 32, clock=clock)
    await register.enter("a-pass", ALICE, until=clock.now() + timedelta(hours=1))
    async with alone(fleet):
        with pytest.raises(PassesUnavailable, match=UNSURE):
            await register.knows(["a-pass"], ALICE)
    await asyncio.sleep(1.1)  # its breaker
    deadline = time.monotonic() + BACK_SECONDS
    while True:
        try:
            assert await register.strike("a-pass", ALICE) in {True, False}
        except PassesUnavailable:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.5)
        else:
            break
    assert await register.knows(["a-pass"], ALICE) is False
    await client.aclose()


async def test_a_pass_that_was_known_a_moment_ago_is_not_cancelled_by_a_primary_alone(
    fleet: SentinelSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = redis_client(section_of(fleet.section))
    await written(client)
    register = Register(client=client, replicas=ONE, key=b"k" * 32, clock=SystemClock())

    async def yes(*_: object) -> bool:
        return True

    monkeypatch.setattr(register, "knows", yes)
    async with alone(fleet):
        with pytest.raises(PassesUnavailable, match=UNSURE):
            await register.strike("a-pass", ALICE)
    await client.aclose()


async def test_a_secret_is_kept_when_replicas_have_it(fleet: SentinelSet) -> None:
    store = RedisVaultStore(client=vault_client(section_of(fleet.section)), replicas=ONE)
    await store.begin(b"g" * 16 + b"header")
    change = Swap(name=b"n", before=None, after=b"head")
    async with alone(fleet):
        with pytest.raises(Unreachable, match="too few replicas"):
            await store.put_header(b"g" * 16 + b"header", b"g" * 16 + b"next")
        with pytest.raises(Unreachable, match="too few replicas") as caught:
            await store.swap([change])
    assert caught.value.reason == "store_not_replicated"
    await store.close()


async def test_no_ticket_counts_that_a_primary_alone_knows_of(fleet: SentinelSet) -> None:
    client = redis_client(section_of(fleet.section))
    guard = SharedGuard(client=client, replicas=ONE, clock=SystemClock())
    await spent(guard)
    async with alone(fleet):
        with pytest.raises(ReplayGuardUnavailable, match=UNSURE):
            await guard.spend(secrets.token_bytes(64))
        # At once, with the reason, until it is tried again.
        assert str(await guard.ping()) in UNSURE
    await spent(guard)
    await client.aclose()
