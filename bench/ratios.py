"""What is made of the numbers: medians, a tail, and how far chance may have moved a median. Pure."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

RESAMPLES = 4000  # The ends of the interval move by less than 1 % of it beyond this.
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Estimate:
    """A median and its interval; one in twenty intervals misses the true median."""

    value: float
    low: float
    high: float


def estimate(values: Sequence[float], *, seed: int) -> Estimate:
    """The median with its percentile bootstrap interval (Efron and Tibshirani 1993, section 13.3).

    Args:
        values: One number a round; at least one.
        seed: Draws the resamples: the same rounds always give the same interval.

    Raises:
        ValueError: No values.
    """
    if not values:
        raise ValueError("a median needs at least one value")
    chance = random.Random(seed)  # noqa: S311  # resampling, no secret
    medians = sorted(statistics.median(chance.choices(values, k=len(values))) for _ in range(RESAMPLES))
    outside = (1 - CONFIDENCE) / 2
    return Estimate(
        value=statistics.median(values),
        low=quantile(medians, outside),
        high=quantile(medians, 1 - outside),
    )


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Ours over theirs, round by round: what disturbs both of a round cancels out.

    Raises:
        ValueError: Not the same number of rounds.
    """
    return [mine / other for mine, other in zip(ours, theirs, strict=True)]


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least ``share`` of all do not exceed (nearest rank): a latency that really occurred.

    Raises:
        ValueError: No values, or a share outside 0 to 1.
    """
    if not values or not 0 <= share <= 1:
        raise ValueError("a quantile needs values and a share from 0 to 1")
    ordered = sorted(values)
    # Rounded first: 0.99 * 200 is 198.00000000000003 in binary, and must not become rank 199.
    rank = math.ceil(round(share * len(ordered), 6))
    return ordered[max(rank, 1) - 1]
