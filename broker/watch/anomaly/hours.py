"""At an hour of the day (UTC) at which somebody is never there: a circular histogram of the hours in which they were.

Neighbouring hours count too, so that an overlong evening or summer time is no alarm; whoever works around the clock has
no unusual hour.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from broker.audit.alert import Severity
from broker.watch.anomaly.finding import Finding, Kind
from broker.watch.anomaly.history import FOR_HOURS, History
from broker.watch.anomaly.rate import HOUR

_HOURS = 24
# What an hour's neighbours count, by distance: three hours away is still nearly that part of the day.
_NEAR = (1.0, 0.8, 0.5, 0.25)
# A day's share of the memory: half of it is gone after five weeks of activity.
_KEPT = 0.98
# Less of all activity than this around an hour is "never".
_NEVER = 0.005
# Of a weight: more would only be bytes.
_DIGITS = 3
# Active hours before the shape of a day says anything.
_ENOUGH_HOURS = 40.0


class Hours(NamedTuple):
    """Weights by hour of the day, and the last hour (Unix hours) that was counted."""

    weights: Sequence[float] = (0.0,) * _HOURS
    last: int = -1


def fold(hours: Hours, *, at: int, history: History) -> tuple[Hours, Finding | None]:
    """Somebody was there; each hour counts once."""
    hour = at // HOUR
    if hour <= hours.last:
        return hours, None
    share, total = _around(hours.weights, hour % _HOURS), sum(hours.weights)
    finding = None
    if FOR_HOURS.is_met(history) and total >= _ENOUGH_HOURS and share < _NEVER * total:
        finding = _found(hours.weights, hour % _HOURS, share / total, history)
    kept = _KEPT if hour // _HOURS != hours.last // _HOURS else 1.0
    weights = [round(weight * kept, _DIGITS) for weight in hours.weights]
    weights[hour % _HOURS] += 1
    return Hours(weights, hour), finding


def _around(weights: Sequence[float], hour: int) -> float:
    found = weights[hour]
    for distance, near in enumerate(_NEAR[1:], start=1):
        found += near * (weights[(hour - distance) % _HOURS] + weights[(hour + distance) % _HOURS])
    return found


def _found(weights: Sequence[float], hour: int, share: float, history: History) -> Finding:
    busy = sorted(sorted(range(_HOURS), key=lambda each: -weights[each])[:8])
    usual = ", ".join(f"{each:02}" for each in busy if weights[each] > 0)
    why = (
        f"Active at {hour:02} h UTC; over {history.days} days {share:.1%} of all activity was around that hour.",
        f"The usual hours (UTC) are {usual}.",
    )
    return Finding(Kind.HOUR, Severity.MEDIUM, 1, why)
