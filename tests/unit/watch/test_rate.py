"""What an hour teaches, and how little of it at once: nobody makes an attack usual overnight."""

from __future__ import annotations

import random

import pytest

from broker.watch.anomaly.rate import DAY, HOUR, Rate, counted

FLOOR = 20


def lived(rate: Rate, numbers: list[int], *, begin: int = 0) -> Rate:
    """One number an hour, from an hour on."""
    for hour, number in enumerate(numbers, start=begin):
        rate = counted(rate, at=hour * HOUR, number=number, floor=FLOOR)
    return rate


def test_mean_and_spread_are_those_of_what_was_seen() -> None:
    chance = random.Random(5)  # noqa: S311
    numbers = [max(0, round(chance.gauss(50, 10))) for _ in range(400)]
    rate = lived(Rate(), [*numbers, 1])
    assert rate.mean == pytest.approx(50, abs=4)
    assert rate.spread == pytest.approx(10, abs=3)


def test_hours_without_any_teach_nothing() -> None:
    busy = lived(Rate(), [10] * 60)
    later = counted(busy, at=30 * DAY, number=1, floor=FLOOR)
    assert later.mean == pytest.approx(10)
    assert later.hours == busy.hours + 1


def test_the_present_hour_teaches_nothing_before_it_is_over() -> None:
    rate = lived(Rate(), [10] * 60)
    assert counted(rate, at=59 * HOUR + 5, number=10_000, floor=FLOOR).mean == rate.mean


def test_no_spread_is_smaller_than_that_of_chance() -> None:
    rate = lived(Rate(), [16] * 60)
    assert (rate.variance, rate.spread) == (pytest.approx(0, abs=1e-6), pytest.approx(4))


def test_an_hour_counts_for_no_more_than_its_limit() -> None:
    usual = lived(Rate(), [3] * 60)
    flooded = lived(usual, [1_000_000, 3], begin=60)
    assert flooded.mean <= usual.mean + 0.02 * FLOOR
    assert flooded.limit(FLOOR) <= 2 * FLOOR


@pytest.mark.parametrize("usual", [1, 6, 50, 1000])
def test_who_poisons_the_baseline_around_the_clock_needs_more_than_a_week_for_ten_times_as_much(usual: int) -> None:
    """Always just as much as passes without a word, every hour of every day."""
    rate, days = lived(Rate(), [usual] * 400), 0
    aim = 10 * rate.limit(FLOOR)
    while rate.limit(FLOOR) < aim:
        before = rate.limit(0)
        for hour in range(24):
            rate = counted(rate, at=(30 + days) * DAY + hour * HOUR, number=int(rate.limit(FLOOR)), floor=FLOOR)
        # The first hour of a day teaches the last one of the day before.
        assert rate.limit(0) <= 1.25**2 * before + 10
        days += 1
    assert days > 7


def test_what_was_learned_is_forgotten_with_time() -> None:
    quiet = lived(lived(Rate(), [100] * 200), [5] * 400, begin=200)
    assert quiet.mean < 10
