"""Somebody who controls Redis completely, with a client of their own: right answers or a new fetch, and an alarm."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta

import pytest
import redis

from broker.cache import turns
from broker.cache.entry import SHORTEST_LEFT
from broker.cache.sealed import REFRESH_AT
from broker.cache.store import LONGEST_ENTRY
from tests.fakes.cache import GRANT, HOUR, KEY, OLD_KEY, OTHERS
from tests.fakes.fleet import Fleet, Instance
from tests.fakes.redis import RedisServer

MALLORY = OTHERS["principal"]


@pytest.fixture
async def fleet(redis_server: RedisServer) -> AsyncIterator[Fleet]:
    async with Fleet(redis_server, 1) as made:
        made.sts.seconds = 0
        yield made


@pytest.fixture
def one(fleet: Fleet) -> Instance:
    return fleet.instances[0]


@pytest.fixture
def attacker(redis_server: RedisServer) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_server.url_with_password) as client:
        yield client


class Victim:
    """alice's entry and mallory's, as the attacker finds them."""

    def __init__(self, one: Instance) -> None:
        self.alice = one.cache.name(GRANT)
        self.mallory = one.cache.name(MALLORY)


def swap(attacker: redis.Redis, victim: Victim) -> None:
    alice, mallory = attacker.get(victim.alice), attacker.get(victim.mallory)
    attacker.mset({victim.alice: mallory, victim.mallory: alice})


def restore_elsewhere(attacker: redis.Redis, victim: Victim) -> None:
    attacker.restore(victim.alice, 0, attacker.dump(victim.mallory), replace=True)


def rename(attacker: redis.Redis, victim: Victim) -> None:
    attacker.rename(victim.mallory, victim.alice)


def cut(attacker: redis.Redis, victim: Victim) -> None:
    attacker.set(victim.alice, attacker.get(victim.alice)[:-1])


def flip(attacker: redis.Redis, victim: Victim) -> None:
    attacker.setrange(victim.alice, 60, "AAAA")


def garbage(attacker: redis.Redis, victim: Victim) -> None:
    attacker.set(victim.alice, "garbage")


def prolong(attacker: redis.Redis, victim: Victim) -> None:
    attacker.setrange(victim.alice, 0, b"\x00\x00\x00\x00\xff\xff\xff\xff")


def huge(attacker: redis.Redis, victim: Victim) -> None:
    attacker.setrange(victim.alice, 64 << 20, "x")


def a_list(attacker: redis.Redis, victim: Victim) -> None:
    attacker.delete(victim.alice)
    attacker.rpush(victim.alice, "of another type")


TAMPERING = [swap, restore_elsewhere, rename, cut, flip, garbage, prolong, huge, a_list]


@pytest.mark.parametrize("attack", TAMPERING, ids=lambda attack: attack.__name__)
async def test_what_was_tampered_with_is_fetched_anew_recorded_and_mended(
    one: Instance, attacker: redis.Redis, attack: Callable[[redis.Redis, Victim], None]
) -> None:
    await one.fetch()
    await one.fetch(MALLORY)
    attack(attacker, Victim(one))
    one.forget()
    assert (await one.fetch()).access_key_id.endswith("3"), "neither mallory's nor an old one"
    (event,) = one.records.events
    assert (event.kind, event.resource) == ("cache_tamper", one.cache.name(GRANT))
    assert event.reason in {"entry_altered", "entry_malformed"}
    one.forget()
    assert (await one.fetch()).access_key_id.endswith("3"), "the good entry is back"
    assert len(one.records.events) == 1
    assert one.store.failure is None


async def test_of_a_huge_value_no_more_is_read_than_an_entry_can_have(
    one: Instance, attacker: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    huge(attacker, Victim(one))
    read = []
    judged = one.cache._judged
    monkeypatch.setattr(
        one.cache, "_judged", lambda place, entry, mine: read.append(entry) or judged(place, entry, mine)
    )
    await one.fetch()
    assert [len(entry) for entry in read] == [LONGEST_ENTRY + 1]


async def test_no_byte_flipped_and_no_cut_gives_anything_but_a_fetch_and_most_of_them_raise_the_alarm(
    one: Instance, attacker: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "_FIRST_PAUSE", timedelta(milliseconds=1))
    await one.fetch()
    name = one.cache.name(GRANT)
    good = attacker.get(name)
    spoiled = [good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :] for place in range(0, len(good), 3)]
    spoiled += [good[:end] for end in range(1, len(good), 5)]
    for number, entry in enumerate(spoiled, start=2):
        attacker.set(name, entry)
        one.forget()
        assert (await one.fetch()).access_key_id == f"ASIA{number:016}"
    # All but those that look like an entry of another key: 8 bytes name the key.
    assert len(spoiled) - 3 <= one.cache._alarm.seen < len(spoiled)
    assert len(one.records.events) == 1, "one record, and the count has the others"


@pytest.mark.parametrize("keep", ["persist", "restore"])
async def test_an_entry_that_redis_was_told_to_keep_is_dead_in_time_and_no_alarm(
    one: Instance, fleet: Fleet, attacker: redis.Redis, keep: str
) -> None:
    await one.fetch()
    name = one.cache.name(GRANT)
    if keep == "persist":
        attacker.persist(name)
    else:
        attacker.restore(name, 0, attacker.dump(name), replace=True)
    fleet.clock.move(HOUR - SHORTEST_LEFT)
    one.forget()
    assert (await one.fetch()).access_key_id.endswith("2")
    assert one.records.events == [], "Redis may be late by itself"


async def test_an_old_entry_put_back_is_that_persons_and_alive_or_not_used(
    one: Instance, fleet: Fleet, attacker: redis.Redis
) -> None:
    old = await one.fetch()
    name = one.cache.name(GRANT)
    stolen = attacker.get(name)
    fleet.clock.move(HOUR - REFRESH_AT)
    new = await one.fetch()
    assert new != old
    attacker.set(name, stolen)
    held = one.cache.find(GRANT)
    assert held is not None
    assert held.credentials == new, "what is here is the newer one"
    assert (await one.fetch()).access_key_id.endswith("3"), "and no renewal goes back behind it"
    attacker.set(name, stolen)
    one.forget()
    assert await one.fetch() == old, (
        "to an instance that knows nothing newer it is what it was: good for 20 minutes more"
    )
    fleet.clock.move(REFRESH_AT - SHORTEST_LEFT)
    one.forget()
    assert (await one.fetch()).access_key_id.endswith("4")


async def test_what_was_revoked_comes_back_under_no_name(
    one: Instance, attacker: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    await one.fetch()
    before = one.cache.name(GRANT)
    monkeypatch.setattr(one.cache, "_epoch", lambda _: 1)
    attacker.copy(before, one.cache.name(GRANT))
    assert one.cache.find(GRANT) is None
    assert (await one.fetch()).access_key_id.endswith("2")
    assert one.records.events[0].reason == "entry_altered"


async def test_an_entry_of_a_key_that_was_rotated_away_is_a_miss_and_no_alarm(
    redis_server: RedisServer, fleet: Fleet
) -> None:
    old = Instance(redis_server, fleet.clock, fleet.sts, OLD_KEY)
    await old.fetch()
    for keys, number in (((KEY, OLD_KEY), 1), ((KEY,), 2)):
        new = Instance(redis_server, fleet.clock, fleet.sts, *keys)
        assert (await new.fetch()).access_key_id.endswith(str(number))
        assert new.records.events == []
        await new.cache.aclose()
    await old.cache.aclose()


async def test_another_host_s_entry_is_shared_and_its_clock_prolongs_nothing(
    redis_server: RedisServer, fleet: Fleet, one: Instance
) -> None:
    other = Instance(redis_server, fleet.clock, fleet.sts, boot="another-host")
    made = await other.fetch()
    assert await one.fetch() == made
    await other.cache.aclose()
    fleet.clock.move(HOUR - SHORTEST_LEFT)
    fleet.clock.set(-timedelta(hours=2))
    assert (await one.fetch()) != made


async def test_while_the_alarm_cannot_be_recorded_the_answer_is_right_all_the_same(
    one: Instance, attacker: redis.Redis
) -> None:
    await one.fetch()
    garbage(attacker, Victim(one))
    one.forget()
    one.records.broken = True
    assert (await one.fetch()).access_key_id.endswith("2")
