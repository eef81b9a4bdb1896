"""Somebody sets the wall clock: it is said once, wherever an operator looks, and passes."""

from __future__ import annotations

from datetime import timedelta
from typing import cast

import pytest

from broker.audit.event import Event, Kind
from broker.audit.log import AuditLog
from broker.core.errors import AuditUnavailable
from broker.watch.clock import LEAST, SHOWN_FOR, ClockWatch
from tests.fakes.cache import MovedClock

SECOND = timedelta(seconds=1)


class Log:
    def __init__(self) -> None:
        self.events: list[Event] = []
        self.is_broken = False

    async def record(self, event: Event) -> None:
        if self.is_broken:
            raise AuditUnavailable("full")
        self.events.append(event)


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def watch(clock: MovedClock, log: Log) -> ClockWatch:
    return ClockWatch(clock=clock, audit=cast("AuditLog", log))


@pytest.mark.parametrize(("by", "said"), [(timedelta(hours=2), "ahead"), (timedelta(hours=-2), "back")])
async def test_a_jump_is_one_record_a_count_and_a_word_to_readyz_for_a_while(
    watch: ClockWatch, clock: MovedClock, log: Log, by: timedelta, said: str
) -> None:
    expected = clock.now() + SECOND
    clock.move(SECOND)
    clock.set(by)
    for _ in range(3):
        await watch.look()
    (event,) = log.events
    assert (event.kind, event.success, event.reason) == (Kind.CLOCK_JUMP, False, f"clock_set_{said}")
    assert event.details == {"seconds": by.total_seconds(), "expected": expected.strftime("%Y-%m-%dT%H:%M:%SZ")}
    assert (watch.jumps, watch.last) == (1, by.total_seconds())
    assert await watch.ping() == f"the wall clock was set {said} by 7200 s"
    clock.move(SHOWN_FOR)
    assert await watch.ping() is None


async def test_a_clock_that_is_slewed_or_sleeps_with_the_host_jumps_nowhere(
    watch: ClockWatch, clock: MovedClock, log: Log
) -> None:
    for _ in range(100):
        clock.set(LEAST - SECOND)
        await watch.look()
    clock.move(timedelta(days=3))
    await watch.look()
    assert (log.events, watch.jumps, await watch.ping()) == ([], 0, None)


async def test_a_jump_that_cannot_be_recorded_is_counted_and_shown(
    watch: ClockWatch, clock: MovedClock, log: Log
) -> None:
    log.is_broken = True
    clock.set(LEAST)
    await watch.look()
    assert watch.jumps == 1
    assert await watch.ping() is not None
