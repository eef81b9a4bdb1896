"""At two places, sooner one after the other than anybody gets from here to there.

Places of addresses are a database's guess. Two networks that somebody has used for a week are theirs, whatever their places: a
VPN's exit, a batch job far away. So one of the two must be young.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from broker.audit.alert import Severity
from broker.watch.anomaly.finding import Finding, Kind
from broker.watch.anomaly.history import FOR_TRAVEL, History
from broker.watch.anomaly.rate import HOUR
from broker.watch.anomaly.spans import Spans

_EARTH_KM = 6371.0
# An airliner with the wind behind it. Faster than this nobody gets from one place to another.
FASTEST_KMH = 1000.0
# Guesses are wrong by this much, between a provider's city and the real one.
_NEAR_KM = 300.0
# Days after which a network is somebody's own.
_OWN_AFTER = 7


class Place(NamedTuple):
    """Degrees, and what it is called."""

    latitude: float
    longitude: float
    name: str


class Spot(NamedTuple):
    """Where somebody was, when (Unix seconds), and by which network."""

    place: Place
    at: int
    network: str


def fold(last: Spot | None, here: Spot, *, networks: Spans, history: History) -> tuple[Spot, Finding | None]:
    """Somebody is at a place; ``networks`` are those known before."""
    if last is None or last.network == here.network or not FOR_TRAVEL.is_met(history):
        return here, None
    today = here.at // (24 * HOUR)
    known = [networks.get(spot.network) for spot in (last, here)]
    if all(span is not None and today - span.first >= _OWN_AFTER for span in known):
        return here, None
    km, seconds = distance_km(last.place, here.place), max(here.at - last.at, 0)
    if km <= _NEAR_KM or km * HOUR <= FASTEST_KMH * seconds:
        return here, None
    possible = f"{FASTEST_KMH * seconds / HOUR:.0f} km can be done at {FASTEST_KMH:.0f} km/h"
    why = f"{here.place.name} {_minutes(seconds)} after {last.place.name}: {km:.0f} km, where {possible}."
    where = f"From {last.network} before, from {here.network} now."
    return here, Finding(Kind.TRAVEL, Severity.HIGH, km, (why, where))


def distance_km(one: Place, other: Place) -> float:
    """Along the great circle (haversine)."""
    first, second = math.radians(one.latitude), math.radians(other.latitude)
    across = math.radians(other.longitude - one.longitude)
    chord = math.sin((second - first) / 2) ** 2 + math.cos(first) * math.cos(second) * math.sin(across / 2) ** 2
    return 2 * _EARTH_KM * math.asin(math.sqrt(min(1.0, chord)))


def _minutes(seconds: int) -> str:
    return f"{seconds // 60} minutes" if seconds >= 120 else f"{seconds} seconds"  # noqa: PLR2004  two minutes
