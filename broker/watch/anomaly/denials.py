"""Refusals in numbers: of one person, and of many persons from one address (spraying).

Before there is a history a burst has to be longer; spraying needs none, for it is about an address.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from broker.audit.alert import Severity
from broker.watch.anomaly.finding import Finding, Kind, Said, worth_saying
from broker.watch.anomaly.history import FOR_DENIALS, History
from broker.watch.anomaly.rate import HOUR, Rate, counted

# In an hour: of somebody with a history, and of somebody without.
FLOOR = 30
_FLOOR_OF_STRANGERS = 60
# Different persons refused from one address in an hour.
SPRAYED = 8
# Remembered of an hour; beyond, the number says enough.
_NAMES_MAX = 64
_MARK_CHARS = 12


def fold(rate: Rate, *, at: int, number: int, reason: str, history: History) -> tuple[Rate, Finding | None]:
    """So many more refusals of somebody."""
    is_known = FOR_DENIALS.is_met(history)
    rate = counted(rate, at=at, number=number, floor=FLOOR)
    limit = rate.limit(FLOOR if is_known else _FLOOR_OF_STRANGERS)
    if rate.seen <= limit:
        return rate, None
    usual = f"usual {rate.mean:.1f} in an hour with any, over {history.days} days" if is_known else "no history yet"
    why = (
        f"{rate.seen} refusals in the hour, the last for {reason}; {usual}.",
        f"Up to {limit:.0f} would have passed.",
    )
    return rate, Finding(Kind.DENIALS, Severity.MEDIUM, rate.seen, why)


class Address(NamedTuple):
    """Who was refused from an address in the present hour (as marks), and how many that usually are."""

    marks: Sequence[str] = ()
    rate: Rate = Rate()
    said: Mapping[str, Said] = {}


def mark(name: str) -> str:
    """A short stand-in for a name, to count by."""
    return hashlib.sha256(name.encode()).hexdigest()[:_MARK_CHARS]


def spraying(address: Address, user: str, *, where: str, at: int) -> tuple[Address, Finding | None]:
    """Somebody was refused from an address. A host that many share has its own usual number."""
    marks = address.marks if at // HOUR <= address.rate.hour else ()
    own = mark(user)
    if own in marks or len(marks) >= _NAMES_MAX:
        return address, None
    rate = counted(address.rate, at=at, number=1, floor=SPRAYED)
    address = Address((*marks, own), rate, address.said)
    if rate.seen <= rate.limit(SPRAYED):
        return address, None
    what = f"{rate.seen} different principals were refused from {where} in the hour"
    why = f"{what}; usual {rate.mean:.1f} in an hour with any."
    found = Finding(Kind.SPRAYING, Severity.HIGH, rate.seen, (why, f"The last was {user}."))
    said, finding = worth_saying(address.said, found, at=at)
    return address._replace(said=said), finding
