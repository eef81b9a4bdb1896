"""How old something is, whatever is done to the wall clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from broker.core.birth import Birth, Births
from tests.fakes.cache import MovedClock

HOUR = timedelta(hours=1)
SET = st.timedeltas(min_value=timedelta(days=-4000), max_value=timedelta(days=4000))


def births(clock: MovedClock, boot: str = "this") -> Births:
    return Births(clock=clock, boot=boot)


@given(by=SET)
def test_no_setting_of_the_wall_clock_makes_anything_younger(by: timedelta) -> None:
    clock = MovedClock()
    made, birth = clock.now(), births(clock).now()
    clock.move(HOUR)
    clock.set(by)
    assert births(clock).age(birth) == HOUR
    assert births(clock).time_after(made, birth) == max(clock.now(), made + HOUR)


@given(by=SET)
def test_of_another_host_or_boot_or_of_before_there_were_births_the_wall_clock_is_all_there_is(by: timedelta) -> None:
    clock = MovedClock()
    made = clock.now()
    clock.set(by)
    for birth in (births(clock, "that").now(), None):
        assert births(clock).age(birth) is None
        assert births(clock).time_after(made, birth) == clock.now()


def test_what_is_of_a_moment_yet_to_come_is_as_old_as_can_be() -> None:
    clock = MovedClock()
    made, birth = clock.now(), births(clock).now()
    clock.booted -= 60
    assert births(clock).time_after(made, birth) == datetime.max.replace(tzinfo=UTC)


def test_it_comes_out_of_json_as_it_went_in_and_tells_no_boot() -> None:
    birth = births(MovedClock(), boot="0b45f5a5-ff3a-4d2c-8c05-c3e3a1d3c1ad").now()
    assert Birth.of(birth.members) == birth
    assert Birth.of({}) is None
    assert "0b45" not in birth.boot
