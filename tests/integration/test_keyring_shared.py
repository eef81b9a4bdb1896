"""Hosts that share a Redis, which is trusted with nothing: each has every key that any has, and nobody else's."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest
from redis import asyncio as redis

from broker.keys.envelope import CannotOpen
from broker.keys.hierarchy import KeyVersion, Kind, Use
from broker.keys.keyring import Kek, Ring, decoded, encoded, wrapped_version
from broker.keys.replica import Pace
from tests.fakes.audit import SetClock
from tests.fakes.keys import MASTER, Instance, Moody
from tests.fakes.redis import RedisServer

OWN = KeyVersion(MASTER).id
NEXT_MASTER = b"n" * 32
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


def ids(instance: Instance, kind: Kind = Kind.DATA) -> set[str]:
    return {version.id for version in instance.replica.opened.ring.versions(kind)}


async def in_step(*instances: Instance) -> None:
    for _ in range(3):
        for instance in instances:
            await instance.look()


async def test_hosts_that_rotate_at_the_same_moment_all_have_both_and_seal_with_the_same(host: Host) -> None:
    hosts = [await host(name) for name in ("a", "b", "c")]
    await in_step(*hosts)
    made = set(await asyncio.gather(*(one.duties.rotate(Kind.DATA) for one in hosts[:2])))
    await in_step(*hosts)
    assert [ids(one) for one in hosts] == [made | {OWN}] * 3
    assert len({one.replica.hierarchy.sealing(Kind.DATA) for one in hosts}) == 1


async def test_what_is_due_is_made_once_by_all_hosts(host: Host, clock: SetClock) -> None:
    hosts = [await host(name) for name in ("a", "b")]
    await in_step(*hosts)
    clock.time += timedelta(days=30)
    await in_step(*hosts)
    assert len(ids(hosts[0])) == 2
    assert sum(what == "key_rotated" for one in hosts for what, _ in one.told) == 2  # data and sessions


async def test_whoever_holds_the_turn_for_ever_delays_what_is_due_and_does_not_prevent_it(
    host: Host, client: redis.Redis, clock: SetClock
) -> None:
    one = await host("a")
    await in_step(one)
    clock.time += timedelta(hours=24)
    await client.set("zerotrust:{shared}:keyring:turn", "somebody else")
    await in_step(one)
    assert len(ids(one, Kind.SESSION)) == 1
    clock.time += timedelta(minutes=11)
    await in_step(one)
    assert len(ids(one, Kind.SESSION)) == 2


async def test_a_new_host_gets_everything_from_redis_and_a_flushed_redis_gets_everything_from_a_host(
    host: Host, client: redis.Redis
) -> None:
    one = await host("a")
    await in_step(one)
    version = await one.duties.rotate(Kind.DATA)
    two = await host("b")
    assert two.replica.hierarchy.sealing(Kind.DATA) == version
    await client.flushall()
    await in_step(two)
    three = await host("c")
    assert three.replica.hierarchy.sealing(Kind.DATA) == version


async def test_forged_and_altered_entries_are_not_believed_and_are_put_right(host: Host, client: redis.Redis) -> None:
    one = await host("a")
    await in_step(one)
    version = await one.duties.rotate(Kind.DATA)
    await in_step(one)
    before = await client.hgetall(RING)
    # The attacker's own KEK and a version that would seal from now on, and every entry of ours altered.
    kek, evil = b"e" * 32, KeyVersion(b"E" * 32)
    forged = wrapped_version(evil, kind=Kind.DATA, kek=kek, made=10**13, seals_from=1)
    stolen = Kek(id=forged.kek, master=one.replica.master.id, made=10**13, wrapped=kek)
    for entry in (forged, stolen):
        await client.hset(RING, entry.name, encoded(entry))
    for name, text in before.items():
        members = json.loads(text)
        for time in ("made", "at", "seals_from"):
            members |= {time: members[time] + 1} if time in members else {}
        await client.hset(RING, name, json.dumps(members).encode())
    await client.hset(RING, "junk", b"\xff" * 100)
    two = await host("b")
    await in_step(one, two)
    for instance in (one, two):
        assert evil.id not in ids(instance)
        assert instance.replica.hierarchy.sealing(Kind.DATA) == version
    assert two.replica.opened.strangers
    after = await client.hgetall(RING)
    assert {name: after[name] for name in before} == before


async def test_deleted_and_replayed_entries_change_nothing_for_who_knows_better(
    host: Host, client: redis.Redis, tmp_path: Path
) -> None:
    one = await host("a")
    await in_step(one)
    old = await client.hgetall(RING)
    version = await one.duties.rotate(Kind.DATA)
    await in_step(one)
    new = await client.hgetall(RING)
    await client.delete(RING)
    await client.hset(RING, mapping=old)
    await one.replica.close()
    again = await host("a")
    assert again.replica.hierarchy.sealing(Kind.DATA) == version
    await in_step(again)
    assert (await client.hgetall(RING)).keys() >= new.keys()


async def test_while_redis_is_away_nothing_is_rotated_and_everything_goes_on(
    host: Host, redis_server: RedisServer, clock: SetClock
) -> None:
    one = await host("a")
    await in_step(one)
    sealed = one.replica.hierarchy.envelope(Use.CACHE_SEAL).seal(b"x", context=b"c")
    redis_server.stop()
    clock.time += timedelta(days=31)
    await in_step(one)
    assert one.replica.hierarchy.sealing(Kind.DATA) == OWN
    assert "redis" in (await one.replica.ping() or "")
    assert one.replica.hierarchy.envelope(Use.CACHE_SEAL).open(sealed, context=b"c") == b"x"
    redis_server.restart()
    await in_step(one)
    assert one.replica.hierarchy.sealing(Kind.DATA) != OWN
    assert await one.replica.ping() is None


async def test_a_version_that_redis_did_not_take_seals_only_after_the_others_could_look(
    host: Host, redis_server: RedisServer, client: redis.Redis, clock: SetClock
) -> None:
    pace = Pace(ripe=timedelta(seconds=3), grace=timedelta(seconds=6))
    one = await host("a", pace=pace)
    await in_step(one)
    # As after a kill between the disk and Redis, some time ago.
    version = await one.duties.rotate(Kind.DATA)
    await client.flushall()
    await one.replica.close()
    clock.time += timedelta(hours=1)
    again = await host("a", pace=pace)
    assert again.replica.hierarchy.sealing(Kind.DATA) == OWN
    clock.time += timedelta(seconds=4)
    await in_step(again)
    assert again.replica.hierarchy.sealing(Kind.DATA) == version


async def test_a_version_is_kept_while_any_host_needs_it_and_destroyed_everywhere_afterwards(
    host: Host, client: redis.Redis, clock: SetClock
) -> None:
    one, two = await host("a"), await host("b")
    two.replica.store_needs["store"] = frozenset({OWN})
    await in_step(one, two)
    await one.duties.rotate(Kind.DATA)
    clock.time += timedelta(hours=3)
    await in_step(one, two)
    assert OWN in ids(one)
    two.replica.store_needs["store"] = None
    await in_step(one, two)
    assert OWN in ids(one)
    two.replica.store_needs["store"] = frozenset()
    await in_step(one, two)
    assert OWN not in ids(one) | ids(two)
    names = [name for name in await client.hkeys(RING) if name.startswith(b"key/data/" + OWN.encode())]
    assert names == []


async def test_a_tombstone_takes_no_key_from_a_host_that_was_away_and_still_needs_it(
    host: Host, clock: SetClock, tmp_path: Path
) -> None:
    one, two = await host("a"), await host("b")
    await in_step(one, two)
    first = await one.duties.rotate(Kind.DATA)
    await in_step(one, two)
    sealed = two.replica.hierarchy.envelope(Use.CACHE_SEAL).seal(b"kept", context=b"c")
    await two.replica.close()
    clock.time += timedelta(seconds=1)
    await one.duties.rotate(Kind.DATA)
    clock.time += timedelta(hours=3)
    await in_step(one)
    assert first not in ids(one)
    back = await host("b")
    back.replica.store_needs["store"] = None
    await in_step(one, back)
    # It seals nothing more with it, and tells nobody.
    assert back.replica.hierarchy.sealing(Kind.DATA) == one.replica.hierarchy.sealing(Kind.DATA) != first
    assert back.replica.hierarchy.envelope(Use.CACHE_SEAL).open(sealed, context=b"c") == b"kept"
    back.replica.store_needs["store"] = frozenset()
    await in_step(one, back)
    assert first is not None
    assert first.encode() not in b"".join(
        encoded(entry) for entry in Ring.of(back.replica.opened.ring) if entry.name.startswith("key/")
    )
    with pytest.raises(CannotOpen):
        back.replica.hierarchy.envelope(Use.CACHE_SEAL).open(sealed, context=b"c")


async def test_a_silent_instance_is_waited_for_before_anything_is_destroyed(
    host: Host, client: redis.Redis, clock: SetClock
) -> None:
    one, two = await host("a"), await host("b")
    two.replica.store_needs["store"] = frozenset({OWN})
    await in_step(one, two)
    await one.duties.rotate(Kind.DATA)
    clock.time += timedelta(hours=3)
    await in_step(one, two)
    await client.delete(BEATS)
    await in_step(one)
    clock.time += timedelta(minutes=16)
    await in_step(two, one)
    assert OWN in ids(one)
    # Whoever slept has missed nobody's beat yet.
    clock.time += timedelta(minutes=16)
    await in_step(one)
    assert OWN in ids(one)
    clock.time += timedelta(minutes=16)
    await in_step(one)
    assert OWN not in ids(one)


async def test_a_new_master_key_is_at_work_once_the_last_host_has_it(
    host: Host, client: redis.Redis, clock: SetClock
) -> None:
    one, two = await host("a"), await host("b")
    await in_step(one, two)
    version = await one.duties.rotate(Kind.DATA)
    await in_step(one, two)
    await one.replica.close()
    new = await host("a", masters=(NEXT_MASTER, MASTER))
    clock.time += timedelta(minutes=2)
    await in_step(new, two)
    assert new.duties.hosts_behind() == [two.replica.host]
    # Both open what either makes.
    later = await new.duties.rotate(Kind.DATA)
    await in_step(new, two)
    assert ids(two) >= {version, later}
    await two.replica.close()
    other = await host("b", masters=(NEXT_MASTER, MASTER))
    clock.time += timedelta(minutes=2)
    await in_step(new, other)
    assert new.duties.hosts_behind() == []
    alone = await host("c", masters=(NEXT_MASTER,))
    assert ids(alone) >= {version, later}
    keks = [entry for text in (await client.hgetall(RING)).values() if isinstance(entry := decoded(text), Kek)]
    assert {kek.master for kek in keks} == {new.replica.master.id}


def test_killed_at_twenty_moments_it_goes_on_where_it_was_and_nothing_is_lost(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    command = [sys.executable, "-m", "tests.fakes.rotate_and_die", str(tmp_path), redis_server.url_with_password, "20"]
    found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert found.returncode == 0, found.stderr + found.stdout
    assert sum(map(int, found.stdout.split())) > 20


async def test_two_hosts_that_start_at_the_same_moment_with_a_master_elsewhere_know_all_keys_of_both(
    tmp_path: Path, redis_server: RedisServer, clock: SetClock
) -> None:
    clients = [redis.Redis.from_url(redis_server.url_with_password) for _ in range(2)]
    hosts = [
        Instance.of(tmp_path / str(number), clock=clock, client=one, master=Moody(MASTER))
        for number, one in enumerate(clients)
    ]
    await asyncio.gather(*(one.open() for one in hosts))
    await in_step(*hosts)
    for kind in Kind:
        assert ids(hosts[0], kind) == ids(hosts[1], kind) != set()
        assert len({one.replica.hierarchy.sealing(kind) for one in hosts}) == 1
    for one in clients:
        await one.aclose()
