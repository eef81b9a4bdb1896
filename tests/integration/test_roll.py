"""The roll in a real Redis and in the process: the same answers; and somebody who controls Redis makes none of them worse."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta

import pytest
import redis
from redis import asyncio as aredis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from broker.authn import roll_store
from broker.authn.roll import MOST, Kind, Note, Roll
from broker.authn.roll_store import LONGEST_ROW, MemoryStore, RedisStore, Store
from broker.core.principal import Principal
from broker.keys.hierarchy import KeyHierarchy, Use
from tests.fakes.cache import MovedClock
from tests.fakes.redis import RedisServer

ALICE, MALLORY = Principal.parse("alice@R"), Principal.parse("mallory@R")
HOUR = timedelta(hours=1)


@pytest.fixture
def clock() -> MovedClock:
    """Ahead of redis-server's, which counts down by its own."""
    made = MovedClock()
    made.moment = made.moment.replace(year=2090)
    return made


@pytest.fixture
async def client(redis_server: RedisServer) -> AsyncIterator[aredis.Redis]:
    made = aredis.Redis.from_url(
        redis_server.url_with_password, socket_timeout=1, retry=Retry(NoBackoff(), 0), socket_connect_timeout=1
    )
    yield made
    await made.aclose()


@pytest.fixture
def attacker(redis_server: RedisServer) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_server.url_with_password) as made:
        yield made


def roll_over(store: Store, clock: MovedClock, *, master: bytes = b"m" * 32) -> Roll:
    hierarchy = KeyHierarchy(master=master)
    envelope, name_key = hierarchy.envelope(Use.ROLL_SEAL), hierarchy.derive(Use.ROLL_NAME)
    return Roll(store=store, envelope=envelope, name_key=name_key, clock=clock)


@pytest.fixture(params=["memory", "redis"])
def roll(request: pytest.FixtureRequest, client: aredis.Redis, clock: MovedClock) -> Roll:
    if request.param == "memory":
        return roll_over(MemoryStore(clock=clock), clock)
    return roll_over(RedisStore(client=client, clock=clock), clock)


@pytest.fixture
def shared(client: aredis.Redis, clock: MovedClock) -> Roll:
    return roll_over(RedisStore(client=client, clock=clock), clock)


def noted(clock: MovedClock, name: str, *, lasts: timedelta = HOUR, **members: object) -> Note:
    return Note(name, clock.now().replace(microsecond=0), (clock.now() + lasts).replace(microsecond=0), members)


async def ids(roll: Roll, who: Principal = ALICE, kind: Kind = Kind.SESSION) -> list[str]:
    return [note.id for note in (await roll.of(who, kind)).notes]


# ---- the same in both ----


async def test_a_note_comes_back_as_it_was_to_its_person_and_kind_alone(roll: Roll, clock: MovedClock) -> None:
    note = noted(clock, "one", address="192.0.2.1", epoch=7)
    await roll.note(ALICE, Kind.SESSION, note)
    found = await roll.of(ALICE, Kind.SESSION)
    assert (found.notes, found.is_complete) == ((note,), True)
    assert await ids(roll, MALLORY) == []
    assert await ids(roll, ALICE, Kind.PASS) == []


async def test_the_latest_is_first_one_of_the_same_name_takes_its_place_and_what_is_over_is_gone(
    roll: Roll, clock: MovedClock
) -> None:
    for name, lasts in (("short", timedelta(minutes=5)), ("one", HOUR), ("two", HOUR)):
        await roll.note(ALICE, Kind.SESSION, noted(clock, name, lasts=lasts))
        clock.moment += timedelta(minutes=1)
    assert await ids(roll) == ["two", "one", "short"]
    await roll.note(ALICE, Kind.SESSION, noted(clock, "one", address="new"))
    assert await ids(roll) == ["one", "two", "short"]
    clock.moment += timedelta(minutes=3)
    assert await ids(roll) == ["one", "two"]


async def test_of_ever_so_many_those_that_end_last_are_kept(roll: Roll, clock: MovedClock) -> None:
    most = MOST[Kind.USE]
    for number in range(most + 5):
        await roll.note(ALICE, Kind.USE, noted(clock, f"{number}", lasts=HOUR * (number + 1)))
    assert sorted(await ids(roll, ALICE, Kind.USE), key=int) == [str(number) for number in range(5, most + 5)]


async def test_a_note_that_is_too_long_is_none(roll: Roll, clock: MovedClock) -> None:
    await roll.note(ALICE, Kind.SESSION, noted(clock, "one", address="x" * LONGEST_ROW))
    assert await ids(roll) == []


async def test_this_process_keeps_notes_of_so_many_people(clock: MovedClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roll_store, "_OWNERS_MAX", 3)
    store = MemoryStore(clock=clock)
    roll = roll_over(store, clock)
    people = [Principal.parse(f"user{number}@R") for number in range(5)]
    for person in people:
        await roll.note(person, Kind.SESSION, noted(clock, "one"))
    assert [len(await ids(roll, person)) for person in people] == [0, 0, 1, 1, 1]
    for number in range(2 * MOST[Kind.SESSION]):
        await roll.note(ALICE, Kind.SESSION, noted(clock, f"{number}"))
    assert sum(map(len, store._kept.values())) == 2 + MOST[Kind.SESSION]


# ---- Redis ----


async def test_another_instance_sees_it_and_one_with_another_master_key_does_not(
    shared: Roll, client: aredis.Redis, clock: MovedClock
) -> None:
    await shared.note(ALICE, Kind.SESSION, noted(clock, "one"))
    assert await ids(roll_over(RedisStore(client=client, clock=clock), clock)) == ["one"]
    assert await ids(roll_over(RedisStore(client=client, clock=clock), clock, master=b"x" * 32)) == []


async def test_whoever_reads_redis_learns_neither_who_nor_what_and_it_forgets_by_itself(
    shared: Roll, attacker: redis.Redis, clock: MovedClock
) -> None:
    await shared.note(ALICE, Kind.USE, noted(clock, "one", role="developer", address="192.0.2.1"))
    keys = sorted(attacker.keys("*"))
    assert len(keys) == 2
    stored = b" ".join([*keys, *attacker.hgetall(keys[1]), *attacker.hgetall(keys[1]).values()])
    assert not any(word in stored for word in (b"alice", b"developer", b"192.0.2.1", b"use", b"one"))
    ends = int((clock.moment + HOUR).replace(microsecond=0).timestamp() * 1000)
    assert [attacker.execute_command("PEXPIRETIME", key) for key in keys] == [ends, ends]


async def test_a_redis_that_does_not_answer_is_an_answer_that_is_not_complete_and_is_asked_once_a_second(
    shared: Roll, redis_server: RedisServer, clock: MovedClock
) -> None:
    await shared.note(ALICE, Kind.SESSION, noted(clock, "one"))
    redis_server.stop()
    assert (await shared.of(ALICE, Kind.SESSION)).is_complete is False
    await shared.note(ALICE, Kind.SESSION, noted(clock, "two"))
    redis_server.restart()
    assert (await shared.of(ALICE, Kind.SESSION)).is_complete is False, "left alone for a second"
    clock.booted += 1
    found = await shared.of(ALICE, Kind.SESSION)
    assert (found.notes, found.is_complete) == ((), True), "what was lost is not shown"


# ---- somebody who controls Redis ----

Attack = Callable[[redis.Redis, list[bytes], list[bytes]], None]


def swapped(attacker: redis.Redis, alice: list[bytes], mallory: list[bytes]) -> None:
    for mine, theirs in zip(alice, mallory, strict=True):
        attacker.rename(mine, b"x")
        attacker.rename(theirs, mine)
        attacker.rename(b"x", theirs)


def copied(attacker: redis.Redis, alice: list[bytes], mallory: list[bytes]) -> None:
    (name,) = attacker.hkeys(mallory[1])
    attacker.zadd(alice[0], {name: 9e12})
    attacker.hset(alice[1], name, attacker.hget(mallory[1], name))


def under_its_name(attacker: redis.Redis, alice: list[bytes], mallory: list[bytes]) -> None:
    ((name, _),) = attacker.hgetall(alice[1]).items()
    attacker.hset(alice[1], name, *attacker.hvals(mallory[1]))


def flipped(attacker: redis.Redis, alice: list[bytes], _: list[bytes]) -> None:
    ((name, row),) = attacker.hgetall(alice[1]).items()
    attacker.hset(alice[1], name, row[:-1] + bytes([row[-1] ^ 1]))


def garbage(attacker: redis.Redis, alice: list[bytes], _: list[bytes]) -> None:
    ((name, _),) = attacker.hgetall(alice[1]).items()
    attacker.hset(alice[1], name, b"{}")


def of_another_type(attacker: redis.Redis, alice: list[bytes], _: list[bytes]) -> None:
    for key in alice:
        attacker.delete(key)
        attacker.rpush(key, b"x")


def huge(attacker: redis.Redis, alice: list[bytes], _: list[bytes]) -> None:
    ((name, _),) = attacker.hgetall(alice[1]).items()
    attacker.hset(alice[1], name, bytes(32 << 20))
    attacker.zadd(alice[0], {bytes(1 << 20): 9e12})


@pytest.mark.parametrize("attack", [swapped, copied, under_its_name, flipped, garbage, of_another_type, huge])
async def test_nobody_is_shown_another_s_note_or_one_that_is_none_and_the_next_note_is_kept_again(
    shared: Roll, attacker: redis.Redis, clock: MovedClock, attack: Attack
) -> None:
    await shared.note(MALLORY, Kind.SESSION, noted(clock, "mallory's"))
    mallory = sorted(attacker.keys("*"))
    await shared.note(ALICE, Kind.SESSION, noted(clock, "alice's"))
    alice = sorted(set(attacker.keys("*")) - set(mallory))
    attack(attacker, alice, mallory)
    assert set(await ids(shared)) <= {"alice's"}
    assert set(await ids(shared, MALLORY)) <= {"mallory's"}
    await shared.note(ALICE, Kind.SESSION, noted(clock, "new"))
    assert set(await ids(shared)) <= {"alice's", "new"}
    assert "new" in await ids(shared)


async def test_a_list_that_somebody_made_endless_is_neither_read_nor_mended_at_once(
    shared: Roll, attacker: redis.Redis, clock: MovedClock
) -> None:
    await shared.note(ALICE, Kind.SESSION, noted(clock, "one"))
    order = min(attacker.keys("*"))
    names = [f"{number:032x}" for number in range(50_000)]
    attacker.zadd(order, dict.fromkeys(names, 9e12))
    attacker.hset(max(attacker.keys("*")), mapping=dict.fromkeys(names[:5_000], b"x"))
    attacker.hset(max(attacker.keys("*")), mapping=dict.fromkeys(names[-5_000:], b"x"))
    read = []
    opened = shared._opened
    shared._opened = lambda *row: read.append(row) or opened(*row)  # type: ignore[method-assign,func-returns-value]
    await ids(shared)
    assert len(read) <= MOST[Kind.SESSION]
    before = attacker.zcard(order)
    await shared.note(ALICE, Kind.SESSION, noted(clock, "two"))
    assert before - 100 <= attacker.zcard(order) < before


async def test_an_older_note_put_back_is_what_was_true_of_the_same_thing_and_is_over_when_it_was(
    shared: Roll, attacker: redis.Redis, clock: MovedClock
) -> None:
    await shared.note(ALICE, Kind.PASS, noted(clock, "one", lasts=HOUR))
    rows = sorted(attacker.keys("*"))[1]
    old = attacker.hgetall(rows)
    clock.moment += timedelta(minutes=30)
    await shared.note(ALICE, Kind.PASS, noted(clock, "one", lasts=2 * HOUR))
    attacker.hset(rows, mapping=old)
    assert await ids(shared, ALICE, Kind.PASS) == ["one"]
    clock.moment += timedelta(minutes=30)
    assert await ids(shared, ALICE, Kind.PASS) == []
