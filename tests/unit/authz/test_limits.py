"""How often somebody may ask, by a clock that the test moves and a Redis that two instances share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import fakeredis
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from redis.exceptions import ConnectionError as RedisGone

from broker.authz.limits import Limits, Of
from broker.core.errors import RateLimited
from broker.core.principal import NameType, Principal
from broker.core.rate import Rate

ALICE = Principal(components=("alice",), realm="EXAMPLE.COM", name_type=NameType.PRINCIPAL)
OTHER_ALICE = Principal(components=("alice",), realm="PARTNER.EXAMPLE", name_type=NameType.PRINCIPAL)
HERE, THERE = ip_address("192.0.2.1"), ip_address("192.0.2.2")


class Hands:
    """A clock with hands. It begins at a full minute."""

    def __init__(self) -> None:
        self.time = datetime(2030, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def boottime(self) -> float:
        return self.time.timestamp()

    def move(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Hands:
    return Hands()


Maker = Callable[..., Limits]


@pytest.fixture
def made(clock: Hands) -> Maker:
    def make(of: Of = Of.ADDRESS, number: int = 5, seconds: int = 60, **changes) -> Limits:
        given = {"client": None, "name_key": bytes(32), "clock": clock} | changes
        return Limits(rates=lambda: {of: Rate(number, seconds)}, **given)

    return make


async def passed(instance: Limits, times: int, address=HERE) -> int:
    """How many of these requests were let through."""
    count = 0
    for _ in range(times):
        try:
            await instance.address(address)
        except RateLimited:
            continue
        count += 1
    return count


async def test_as_many_as_the_rate_says_may_pass_and_the_next_is_told_when(made):
    instance = made()
    assert await passed(instance, 5) == 5
    with pytest.raises(RateLimited) as refused:
        await instance.address(HERE)
    # At a full minute all five count for this minute; in the next they weigh less by a fifth after 12 s.
    assert refused.value.retry_after == 72
    assert instance.refused == {Of.ADDRESS: 1, Of.PRINCIPAL: 0}


async def test_who_waits_as_long_as_told_is_let_through_and_not_before(made, clock):
    instance = made()
    await passed(instance, 5)
    clock.move(71.0)
    assert await passed(instance, 1) == 0
    clock.move(1.0)
    assert await passed(instance, 2) == 1


async def test_a_full_minute_does_not_begin_anew_with_the_clocks_minute(made, clock):
    instance = made()
    clock.move(59)
    assert await passed(instance, 5) == 5
    clock.move(2)
    assert await passed(instance, 5) == 0


async def test_after_two_quiet_periods_everything_is_free_again(made, clock):
    instance = made()
    await passed(instance, 5)
    clock.move(120)
    assert await passed(instance, 9) == 5


async def test_each_address_and_each_principal_counts_for_itself(made):
    instance = made()
    await passed(instance, 5)
    assert await passed(instance, 1, THERE) == 1
    principals = made(Of.PRINCIPAL, 1)
    await principals.principal(ALICE)
    await principals.principal(OTHER_ALICE)
    with pytest.raises(RateLimited):
        await principals.principal(ALICE)


async def test_a_host_cannot_escape_within_its_ipv6_network(made):
    instance = made()
    assert await passed(instance, 5, ip_address("2001:db8::1")) == 5
    assert await passed(instance, 1, ip_address("2001:db8::dead:beef")) == 0
    assert await passed(instance, 1, ip_address("2001:db8:0:1::1")) == 1


async def test_without_a_rate_or_an_address_nobody_is_refused(made):
    assert await passed(made(), 50, None) == 50
    unlimited = made(Of.PRINCIPAL)
    assert await passed(unlimited, 50) == 50


async def test_instances_share_what_they_count(made):
    server = fakeredis.FakeServer()
    first, second = (made(number=10, client=fakeredis.FakeAsyncRedis(server=server)) for _ in range(2))
    assert await passed(first, 6) == 6
    assert await passed(second, 10) == 4
    assert await passed(first, 1) == 0


async def test_an_instance_that_takes_several_at_once_gives_out_no_more_than_the_rate(made):
    server = fakeredis.FakeServer()
    first, second = (made(number=100, client=fakeredis.FakeAsyncRedis(server=server)) for _ in range(2))
    both = await passed(first, 1) + await passed(second, 200) + await passed(first, 200)
    assert 100 - 100 // 20 <= both <= 100


async def test_redis_is_asked_once_for_many_requests_and_not_at_all_for_refused_ones(made, monkeypatch):
    client = fakeredis.FakeAsyncRedis()
    asked = []
    pipeline = client.pipeline
    monkeypatch.setattr(client, "pipeline", lambda **kw: asked.append(1) or pipeline(**kw))
    instance = made(number=600, client=client)
    assert await passed(instance, 600) == 600
    assert len(asked) == 20
    await passed(instance, 500)
    assert len(asked) == 21


async def test_those_who_come_together_do_not_take_from_redis_each(made):
    instance = made(number=200, client=fakeredis.FakeAsyncRedis())
    assert sum(await asyncio.gather(*(passed(instance, 1) for _ in range(250)))) == 200


async def test_no_name_can_be_read_in_redis(made):
    client = fakeredis.FakeAsyncRedis()
    await made(client=client).address(HERE)
    await made(Of.PRINCIPAL, client=client).principal(ALICE)
    keys = b" ".join(await client.keys("*"))
    assert b"zerotrust:{shared}:limit:address:" in keys
    assert not any(name in keys for name in (b"192.0.2.1", b"alice", b"EXAMPLE"))
    for key in await client.keys("*"):
        assert 0 < await client.ttl(key) <= 120


async def test_while_redis_is_away_each_instance_counts_alone(made, clock, monkeypatch, caplog):
    client = fakeredis.FakeAsyncRedis()
    instance = made(client=client)
    asked = []

    async def gone(*_: object, **__: object) -> object:
        asked.append(1)
        raise RedisGone

    monkeypatch.setattr("redis.asyncio.client.Pipeline.execute", gone)
    assert await passed(instance, 8) == 5
    assert asked == [1], "a dead Redis is asked once and then left alone"
    assert caplog.text.count("each instance counts alone") == 1
    monkeypatch.undo()
    clock.move(120)
    assert await passed(instance, 8) == 5
    assert instance.failure is None


async def test_a_clock_that_jumps_back_refuses_nobody_for_long(made, clock):
    instance = made()
    await passed(instance, 6)
    clock.move(-7200)
    assert await passed(instance, 6) == 5


async def test_the_number_of_names_is_bounded(made):
    instance = made(names=100)
    for number in range(1000):
        await instance.address(ip_address(number))
    assert len(instance._counts) == 100


@given(
    number=st.integers(1, 50),
    seconds=st.sampled_from([1, 60, 3600]),
    waits=st.lists(st.floats(0, 0.4), max_size=200),
)
async def test_within_any_clock_period_no_more_pass_than_the_rate_says(number, seconds, waits):
    clock = Hands()
    instance = Limits(rates=lambda: {Of.ADDRESS: Rate(number, seconds)}, client=None, name_key=bytes(32), clock=clock)
    by_period: dict[int, int] = {}
    for wait in waits:
        clock.move(wait * seconds)
        period = int(clock.boottime() // seconds)
        by_period[period] = by_period.get(period, 0) + await passed(instance, 3)
    assert max(by_period.values(), default=0) <= number


@example(number=9, elapsed=0.5, tries=9, quiet=0.75)
@given(number=st.integers(1, 50), elapsed=st.floats(0, 0.99), tries=st.integers(1, 60), quiet=st.floats(0, 1.5))
async def test_retry_after_is_never_too_early(number, elapsed, tries, quiet):
    clock = Hands()
    instance = Limits(rates=lambda: {Of.ADDRESS: Rate(number, 60)}, client=None, name_key=bytes(32), clock=clock)
    clock.move(elapsed * 60)
    await passed(instance, tries)
    clock.move(quiet * 60)
    await passed(instance, tries)
    wait = 0
    try:
        await instance.address(HERE)
    except RateLimited as refused:
        wait = refused.retry_after
    assert wait <= 120
    clock.move(wait)
    assert await passed(instance, 1) == 1 or not wait
