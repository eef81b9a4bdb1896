"""The statistics of the benchmarks."""

from __future__ import annotations

import random

import pytest

from bench.ratios import estimate, quantile, ratios


def test_a_ratio_is_ours_over_theirs_of_the_same_round() -> None:
    assert ratios([2.0, 9.0], [4.0, 3.0]) == [0.5, 3.0]


def test_rounds_without_a_partner_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        ratios([1.0, 2.0], [1.0])


def test_the_99th_percentile_of_a_hundred_is_the_second_slowest() -> None:
    assert quantile(list(range(1, 101)), 0.99) == 99


def test_the_99th_percentile_of_two_hundred_is_not_pushed_up_by_binary_fractions() -> None:
    assert quantile(list(range(1, 201)), 0.99) == 198


def test_a_quantile_is_a_value_that_occurred() -> None:
    assert quantile([3.0, 1.0], 0.5) == 1.0


def test_the_quantile_of_share_0_is_the_smallest_and_of_share_1_the_largest() -> None:
    assert (quantile([2.0, 1.0, 3.0], 0), quantile([2.0, 1.0, 3.0], 1)) == (1.0, 3.0)


@pytest.mark.parametrize(("values", "share"), [([], 0.5), ([1.0], 1.1), ([1.0], -0.1)])
def test_a_quantile_of_nothing_or_beyond_everything_is_refused(values: list[float], share: float) -> None:
    with pytest.raises(ValueError, match="a quantile needs"):
        quantile(values, share)


def test_an_estimate_is_the_median_inside_its_interval() -> None:
    found = estimate([1.0, 1.1, 1.2, 1.3, 9.0], seed=7)
    assert found.value == 1.2
    assert 1.0 <= found.low < 1.2 < found.high <= 9.0


def test_equal_rounds_leave_chance_no_room() -> None:
    found = estimate([0.8] * 5, seed=7)
    assert (found.low, found.value, found.high) == (0.8, 0.8, 0.8)


def test_the_same_rounds_and_the_same_seed_give_the_same_interval() -> None:
    values = [0.9, 1.4, 1.0, 1.2, 0.7, 1.1]
    assert estimate(values, seed=1) == estimate(values, seed=1)


def test_the_interval_holds_the_true_median_in_nearly_all_experiments() -> None:
    chance = random.Random(11)  # noqa: S311  # rounds of a made-up benchmark
    experiments = [estimate([chance.gauss(1.0, 0.1) for _ in range(13)], seed=1) for _ in range(60)]
    held = sum(found.low <= 1.0 <= found.high for found in experiments)
    assert held >= 50


def test_an_estimate_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        estimate([], seed=1)
