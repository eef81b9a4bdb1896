"""How often something happens in an hour in which it happens at all: mean and variance, weighted towards the present (EWMA).

Hours without any are no part of it, or nights would halve what is usual. What an hour teaches is bounded, so that an attack does
not become the usual by going on: an hour counts for no more than the limit that it passed, and within a day mean and
spread, and with them the limit, grow by a quarter, and a little, at most. For ten times as much unseen somebody needs more than
a week, every hour of it just below what would be said.
"""

from __future__ import annotations

import math
from typing import NamedTuple

HOUR = 3600
DAY = 24 * HOUR

# About fifty active hours are remembered: a week of office work.
_WEIGHT = 0.02
# Spreads above the mean. A Poisson rate passes it once in many millions of hours; people come in bursts, hence the factor too.
_SPREADS = 6.0
_FACTOR = 3.0
# Mean and spread grow by so much in one day at most; the spread too, for it is what the limit is made of.
_DAILY_GROWTH = 1.25
_DAILY_STEP = 0.5


class Rate(NamedTuple):
    """``seen`` is the number of the present ``hour`` (Unix hours); ``hours`` before it were learned from.

    ``morning`` and ``calm`` are the mean and the variance that the ``day`` began with.
    """

    mean: float = 0.0
    variance: float = 0.0
    hours: int = 0
    hour: int = -1
    seen: int = 0
    day: int = -1
    morning: float = 0.0
    calm: float = 0.0

    @property
    def spread(self) -> float:
        """One standard deviation, but no less than that of chance alone."""
        return math.sqrt(max(self.variance, self.mean))

    def limit(self, floor: float) -> float:
        """More than this in an hour is unusual; ``floor`` never is."""
        return max(floor, _FACTOR * self.mean, self.mean + _SPREADS * self.spread)


def counted(rate: Rate, *, at: int, number: int, floor: float) -> Rate:
    """The rate after so many more at a time (Unix seconds); an hour is learned from when the next one begins.

    Records come nearly in order: one of an hour before counts for the present one.
    """
    hour = max(at // HOUR, rate.hour)
    if hour == rate.hour:
        return rate._replace(seen=rate.seen + number)
    return _learned(rate, floor)._replace(hour=hour, seen=number)


def _learned(rate: Rate, floor: float) -> Rate:
    if not rate.seen:
        return rate
    day = rate.hour // 24
    if day != rate.day:
        rate = rate._replace(day=day, morning=rate.mean, calm=rate.variance)
    weight = max(_WEIGHT, 1 / (rate.hours + 1))
    distance = min(rate.seen, rate.limit(floor)) - rate.mean
    mean = rate.mean + weight * distance
    variance = (1 - weight) * (rate.variance + weight * distance * distance)
    if rate.hours >= 1 / _WEIGHT:
        mean = min(mean, _DAILY_GROWTH * rate.morning + _DAILY_STEP)
        variance = min(variance, (_DAILY_GROWTH * math.sqrt(rate.calm) + _DAILY_STEP) ** 2)
    return rate._replace(mean=mean, variance=variance, hours=rate.hours + 1)
