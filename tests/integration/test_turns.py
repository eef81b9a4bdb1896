"""One fetch for all instances, over a real Redis; whatever happens to the turn, everybody gets an answer."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from broker.cache import scripts, store, turns
from broker.cache.sealed import REFRESH_AT
from broker.core.errors import StsRejected
from tests.fakes.cache import GRANT, HOUR, OTHERS
from tests.fakes.fleet import Fleet, Instance

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.fakes.redis import RedisServer

# Everything takes two fifths of its time here.
HURRY = 0.4
# Within which everybody has an answer, whatever the turn does; 5 s are promised to a client.
PROMISED = 5.0 * HURRY


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TURN", "_BEAT", "PATIENCE", "_FAILED"):
        monkeypatch.setattr(turns, name, getattr(turns, name) * HURRY)
    # A Redis on a busy machine is not the slow one that instances leave alone; test_redis_store.py is about that one.
    monkeypatch.setattr(store, "_SLICE", store._SLICE * 10)


@pytest.fixture
def _patiently(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as it takes, and longer: fifty instances of one process wait for each other, too."""
    for name in ("TURN", "PATIENCE"):
        monkeypatch.setattr(turns, name, getattr(turns, name) * 10)


@pytest.fixture
async def fleet(redis_server: RedisServer) -> AsyncIterator[Fleet]:
    async with Fleet(redis_server, 3) as made:
        yield made


def turn_of(instance: Instance) -> str:
    return scripts.turn(instance.cache.name(GRANT))


async def holding(instance: Instance) -> asyncio.Task:
    """A fetch of an instance that has the turn already."""
    task = asyncio.ensure_future(instance.fetch())
    calls = instance.sts.calls
    while instance.sts.calls == calls:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    return task


@pytest.mark.usefixtures("_patiently")
async def test_fifty_instances_make_one_chain_for_each_name(redis_server: RedisServer) -> None:
    async with Fleet(redis_server, 50) as fleet:
        await asyncio.gather(*(instance.cache.ping() for instance in fleet.instances))
        fleet.sts.seconds = 0.3
        grants = (GRANT, OTHERS["principal"])
        answers = await asyncio.gather(*(instance.fetch(grant) for instance in fleet.instances for grant in grants))
        assert fleet.sts.calls == 2
        assert len({answer.access_key_id for answer in answers}) == 2
        assert not [one for one in fleet.instances if one.store.failed_writes or one.turns.waited_in_vain]


async def test_who_waited_has_the_entry_at_hand_from_then_on(fleet: Fleet, redis_server: RedisServer) -> None:
    await asyncio.gather(*(instance.fetch() for instance in fleet.instances))
    redis_server.cli("FLUSHALL")
    for instance in fleet.instances:
        await instance.ask()
    assert fleet.sts.calls == 1


async def test_who_comes_later_takes_the_entry_and_no_turn(fleet: Fleet, redis_server: RedisServer) -> None:
    first, second, _ = fleet.instances
    made = await first.fetch()
    assert await second.fetch() == made
    assert redis_server.cli("GET", f"zerotrust:{{cache}}:turns:{first.cache.name(GRANT)}") == "1\n"
    assert redis_server.cli("EXISTS", turn_of(first)) == "0\n"


async def test_a_refusal_of_sts_keeps_nobody_waiting(fleet: Fleet) -> None:
    first, *others = fleet.instances
    fleet.sts.error = StsRejected(reason="hop2_access_denied")
    fleet.sts.seconds = 0.1
    task = await holding(first)
    started = time.monotonic()
    ends = await asyncio.gather(task, *(other.fetch() for other in others), return_exceptions=True)
    assert [type(end) for end in ends] == [StsRejected] * 3
    # Both at once and not behind each other: a chain to wait for, and one of their own.
    assert fleet.sts.calls == 3
    assert time.monotonic() - started < turns.TURN.total_seconds()
    fleet.sts.error = None
    await asyncio.sleep(turns._FAILED.total_seconds())
    await asyncio.gather(*(instance.fetch() for instance in fleet.instances))
    assert fleet.sts.calls == 4, "the failure is forgotten, and one fetches for all again"


async def test_a_holder_that_dies_is_followed_by_the_next(fleet: Fleet, redis_server: RedisServer) -> None:
    first, second, third = fleet.instances
    # What a killed process leaves behind: a turn that nobody prolongs.
    redis_server.cli("SET", turn_of(first), "0123456789abcdef", "PX", str(int(turns.TURN.total_seconds() * 1000)))
    started = time.monotonic()
    answers = await asyncio.gather(second.fetch(), third.fetch())
    assert time.monotonic() - started < PROMISED * 0.8
    assert answers[0] == answers[1]
    assert fleet.sts.calls == 1


async def test_a_holder_that_takes_longer_than_a_turn_keeps_it(fleet: Fleet) -> None:
    first, second, _ = fleet.instances
    fleet.sts.seconds = turns.TURN.total_seconds() * 1.5
    task = await holding(first)
    assert await second.fetch() == await task
    assert fleet.sts.calls == 1


async def test_a_holder_that_wakes_up_late_overwrites_nothing_and_takes_nobody_s_turn(
    fleet: Fleet, redis_server: RedisServer
) -> None:
    first, second, third = fleet.instances
    fleet.sts.seconds = 0.3
    late = await holding(first)
    redis_server.cli("DEL", turn_of(first))  # It slept, and its turn has ended.
    newer = await second.fetch()
    assert newer != await late
    assert await third.fetch() == newer
    # The same while the next holder is still at it.
    redis_server.cli("FLUSHALL")
    for instance in fleet.instances:
        instance.forget()
    late = await holding(first)
    redis_server.cli("DEL", turn_of(first))
    await asyncio.sleep(0.2)
    next_one = await holding(second)
    await late
    assert redis_server.cli("EXISTS", turn_of(first)) == "1\n"
    assert await third.fetch() == await next_one


async def test_what_another_instance_has_is_fetched_anew_for_somebody_who_needs_more_of_it(fleet: Fleet) -> None:
    first, second, third = fleet.instances
    await first.fetch()
    fleet.clock.move(timedelta(minutes=30))
    async with second.cache.turn(GRANT, at_least=timedelta(minutes=29)) as turn:
        assert turn.found is not None
    async with third.cache.turn(GRANT, at_least=timedelta(minutes=45)) as turn:
        assert turn.found is None
        await turn.keep(await fleet.sts.assume(fleet.clock))
    assert (await first.fetch()).access_key_id.endswith("2"), "and for the others, too"


async def test_a_turn_that_is_never_given_back_costs_the_patience_and_no_more(
    fleet: Fleet, redis_server: RedisServer
) -> None:
    first = fleet.instances[0]
    redis_server.cli("SET", turn_of(first), "for ever")
    started = time.monotonic()
    async with first.cache.turn(GRANT) as turn:
        waited = time.monotonic() - started
        assert turn.found is None
        assert abs(waited - turn.waited.total_seconds()) < 0.2
        await turn.keep(await fleet.sts.assume(fleet.clock))
    assert turns.PATIENCE.total_seconds() <= waited < PROMISED * 0.8
    assert first.turns.waited_in_vain == 1
    assert (await fleet.instances[1].fetch()).access_key_id.endswith("1"), "it is there for the others all the same"


@pytest.mark.parametrize(
    "spoil",
    [
        ("RPUSH", "{turn}", "x"),
        ("SET", "{turn}", "failed"),
        ("SET", "{turn}", "x" * 100_000, "PX", "100"),
        ("RPUSH", "{turns}", "x"),
        ("SET", "{turns}", "9223372036854775807"),
        ("SET", "{turns}", "nan"),
        ("SET", "{turns}", "-1"),
        ("SCRIPT", "FLUSH"),
    ],
    ids=lambda spoil: " ".join(spoil)[:40],
)
async def test_whatever_lies_in_the_place_of_a_turn_everybody_is_answered(
    fleet: Fleet, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, spoil: tuple[str, ...]
) -> None:
    monkeypatch.setattr(turns, "PATIENCE", timedelta(seconds=0.3))
    first, second, _ = fleet.instances
    name = first.cache.name(GRANT)
    redis_server.cli(
        *(
            word.replace("{turns}", f"zerotrust:{{cache}}:turns:{name}").replace("{turn}", scripts.turn(name))
            for word in spoil
        )
    )
    async with asyncio.timeout(PROMISED):
        assert await first.fetch() == await second.fetch()
    assert fleet.sts.calls == 1
    assert first.store.failed_writes == 0
    assert "{turn}" in spoil or redis_server.cli("EXISTS", turn_of(first)) == "0\n", "no turn is left behind"


async def test_a_renewal_is_made_by_one_instance_and_the_others_take_it(fleet: Fleet) -> None:
    for instance in fleet.instances:
        await instance.ask()
    fleet.clock.move(HOUR - REFRESH_AT)
    first, *others = fleet.instances
    held = first.cache.find(GRANT)
    assert held is not None
    assert first.cache.is_due(GRANT, held)
    renewed = await asyncio.gather(*(instance.fetch() for instance in fleet.instances))
    assert fleet.sts.calls == 2
    assert {one.access_key_id for one in renewed} == {f"ASIA{2:016}"}
    assert [await other.ask() for other in others] == [renewed[0]] * 2


async def test_without_redis_each_fetches_for_itself_at_once(fleet: Fleet, redis_server: RedisServer) -> None:
    redis_server.stop()
    started = time.monotonic()
    await asyncio.gather(*(instance.fetch() for instance in fleet.instances))
    assert fleet.sts.calls == 3
    assert time.monotonic() - started < turns.PATIENCE.total_seconds()
    assert {instance.store.failure for instance in fleet.instances} == {"ConnectionError"}


async def test_redis_dying_in_the_middle_frees_those_who_wait(fleet: Fleet, redis_server: RedisServer) -> None:
    first, *others = fleet.instances
    fleet.sts.seconds = 0.3
    task = await holding(first)
    waiting = [asyncio.ensure_future(other.fetch()) for other in others]
    await asyncio.sleep(0.05)
    redis_server.stop()
    await asyncio.gather(task, *waiting)
    assert fleet.sts.calls == 3
    assert first.store.failed_writes == 1


async def test_redis_is_asked_some_ten_times_for_a_tenth_of_a_second_and_ever_less_often(
    fleet: Fleet, redis_server: RedisServer
) -> None:
    first, second, _ = fleet.instances
    for seconds, most in ((0.12, 12), (1.0, 20)):
        redis_server.cli("FLUSHALL")
        redis_server.cli("CONFIG", "RESETSTAT")
        first.forget()
        second.forget()
        fleet.sts.seconds = seconds
        task = await holding(first)
        await second.fetch()
        await task
        stats = redis_server.cli("INFO", "commandstats")
        (calls,) = [line for line in stats.splitlines() if line.startswith("cmdstat_evalsha:")]
        assert int(calls.partition("calls=")[2].partition(",")[0]) <= most + 2 + seconds / turns._BEAT.total_seconds()
