"""Whether a server grows, told from looks at it."""

from __future__ import annotations

import os
from itertools import count

import pytest

from bench.curve import FLAT_BYTES, Point, growth, look, settled


def points(*own: int, every: int = 1000) -> list[Point]:
    return [
        Point(requests=number * every, seconds=number, rss=0, pss=0, own=size, descriptors=9, threads=3)
        for number, size in zip(count(), own, strict=False)
    ]


def test_a_leak_shows_by_its_octets_a_request_whatever_the_warm_up_took() -> None:
    leaking = points(0, 50_000_000, *(60_000_000 + 100 * 1000 * number for number in range(2, 11)))
    assert growth(leaking) == pytest.approx(100)


def test_unrest_that_goes_up_and_down_is_no_growth() -> None:
    restless = points(0, *(60_000_000 + 40_000 * (number % 2) for number in range(1, 21)), every=10_000)
    assert abs(growth(restless)) < FLAT_BYTES


def test_one_step_is_no_growth_and_a_leak_beside_it_is() -> None:
    step = [60_000_000 + (2_000_000 if number > 12 else 0) for number in range(21)]
    assert growth(points(*step)) == 0
    assert growth(points(*(size + 100 * 1000 * number for number, size in enumerate(step)))) == pytest.approx(
        100, rel=0.2
    )


def test_two_looks_are_always_on_a_line_and_say_nothing() -> None:
    with pytest.raises(ValueError, match="too few"):
        growth(points(0, 1, 2)[:2])


def test_a_process_is_seen_as_it_is() -> None:
    seen = look(os.getpid(), requests=0, seconds=0.0)
    assert seen.rss > seen.own > 1_000_000
    assert seen.pss > 0
    assert seen.threads >= 1
    before = seen.descriptors
    with open(os.devnull) as _:  # noqa: PTH123  # a descriptor more
        assert look(os.getpid(), requests=0, seconds=0.0).descriptors == before + 1


def test_the_warm_up_is_left_out() -> None:
    assert [point.requests for point in settled(points(*range(11)))] == list(range(2000, 11_000, 1000))
