"""Who shares credentials with whom, and when a new set is due."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from broker.cache.entry import SHORTEST_LEFT, Held
from broker.cache.sealed import REFRESH_AT, CredentialCache
from broker.cache.store import MemoryStore
from tests.fakes.cache import GRANT, HOUR, OLD_KEY, OTHERS, cache_of, credentials, keep


@pytest.fixture
def near(clock) -> MemoryStore:
    return MemoryStore(clock=clock)


@pytest.fixture
def cache(near, clock) -> CredentialCache:
    return cache_of(clock, near=near)


async def test_what_was_kept_comes_back_whole(cache, clock) -> None:
    await keep(cache, GRANT, credentials(clock))
    assert cache.find(GRANT) == Held(credentials=credentials(clock), left=HOUR)


def test_all_grants_of_these_tests_have_names_of_their_own(cache) -> None:
    assert len({cache.name(grant) for grant in (GRANT, *OTHERS.values())}) == len(OTHERS) + 1


async def test_which_tags_aws_had_no_room_for_is_still_known_and_how_full_it_was_is_not(cache, clock) -> None:
    await keep(cache, GRANT, replace(credentials(clock), shed=("Team", "Product"), packed_percent=91))
    assert cache.find(GRANT).credentials == replace(credentials(clock), shed=("Team", "Product"))


@pytest.mark.parametrize("what", OTHERS)
async def test_another_grant_has_another_name_and_finds_nothing(cache, clock, what: str) -> None:
    await keep(cache, GRANT, credentials(clock))
    assert cache.name(OTHERS[what]) != cache.name(GRANT)
    assert cache.find(OTHERS[what]) is None


@pytest.mark.parametrize("what", OTHERS)
async def test_an_entry_put_in_another_s_place_does_not_open(cache, near, clock, what: str) -> None:
    await keep(cache, GRANT, credentials(clock))
    near.put(cache.name(OTHERS[what]), near.get(cache.name(GRANT)), HOUR)
    assert cache.find(OTHERS[what]) is None


async def test_names_tell_nothing_without_the_key(clock) -> None:
    assert len({cache_of(clock, name_key=bytes([n]) * 32).name(GRANT) for n in range(3)}) == 3


async def test_what_was_kept_for_one_epoch_is_of_no_use_in_the_next_under_whichever_name(near, clock) -> None:
    epochs = {"alice@EXAMPLE.COM": 0}
    cache = cache_of(clock, near=near, epoch=lambda principal: epochs[str(principal)])
    await keep(cache, GRANT, credentials(clock))
    before = cache.name(GRANT)
    epochs["alice@EXAMPLE.COM"] = 1
    assert cache.name(GRANT) != before
    assert cache.find(GRANT) is None
    near.put(cache.name(GRANT), near.get(before), HOUR)
    assert cache.find(GRANT) is None


async def test_what_was_under_way_when_somebody_was_revoked_is_kept_where_nobody_looks(near, clock) -> None:
    epochs = [0]
    cache = cache_of(clock, near=near, epoch=lambda _: epochs[0])
    async with cache.turn(GRANT) as turn:
        epochs[0] = 1
        await turn.keep(credentials(clock))
    assert cache.find(GRANT) is None


async def test_an_entry_of_a_key_that_is_held_no_more_is_a_miss(near, clock) -> None:
    await keep(cache_of(clock, OLD_KEY, near=near), GRANT, credentials(clock))
    assert cache_of(clock, near=near).find(GRANT) is None


async def test_setting_the_wall_clock_back_prolongs_nothing(cache, clock) -> None:
    await keep(cache, GRANT, credentials(clock))
    clock.set(-timedelta(hours=2))
    clock.move(HOUR - SHORTEST_LEFT)
    assert cache.find(GRANT) is None


# ---- lifetimes ----


def test_the_line_is_above_the_quarter_of_an_hour_at_which_botocore_asks_anew() -> None:
    assert timedelta(minutes=15) < SHORTEST_LEFT < REFRESH_AT == timedelta(minutes=20)


async def test_an_entry_is_forgotten_when_it_is_of_no_more_use(cache, near, clock) -> None:
    await keep(cache, GRANT, credentials(clock))
    clock.booted += (HOUR - SHORTEST_LEFT).total_seconds()
    assert near.get(cache.name(GRANT)) is None


async def test_what_is_of_no_use_from_the_start_is_not_kept(cache, near, clock) -> None:
    await keep(cache, GRANT, credentials(clock, lives=SHORTEST_LEFT))
    assert near.get(cache.name(GRANT)) is None


def held(clock, minutes: int) -> Held:
    left = timedelta(minutes=minutes)
    return Held(credentials=credentials(clock, lives=left), left=left)


@pytest.mark.parametrize(("minutes", "due"), [(21, False), (20, True), (16, True)])
async def test_a_new_set_is_due_at_twenty_minutes(cache, clock, minutes: int, due: bool) -> None:  # noqa: FBT001
    assert cache.is_due(GRANT, held(clock, minutes)) == due


async def test_a_set_that_ends_with_the_ticket_is_never_due_because_a_new_one_would_end_no_later(cache, clock) -> None:
    assert not cache.is_due(OTHERS["ticket's end"], held(clock, 16))


async def test_a_role_of_twenty_minutes_is_not_fetched_for_every_request(cache, clock) -> None:
    short = replace(GRANT, lifetime=timedelta(minutes=20))
    assert not cache.is_due(short, held(clock, 20))
    assert cache.is_due(short, held(clock, 17))


async def test_alone_it_is_always_well(cache) -> None:
    assert await cache.ping() is None
