"""Somebody's ordinary days, for the watch to learn, and the detectors with nothing around them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from broker.watch.anomaly.finding import Kind
from broker.watch.anomaly.sighting import Outcome, Sighting
from broker.watch.anomaly.travel import Place
from broker.watch.detectors import Alert, Detectors
from broker.watch.states import InProcess, States

DAY, HOUR = 86_400, 3_600
MONDAY = int(datetime(2026, 3, 2, tzinfo=UTC).timestamp())
OFFICE, ELSEWHERE = "10.0.0", "10.9.9"
BERLIN, SYDNEY = Place(52.5, 13.4, "Berlin"), Place(-33.9, 151.2, "Sydney")
ALICE = "alice@EXAMPLE.COM"


def sighting(at: int, *, user: str = ALICE, where: str = OFFICE, **members: Any) -> Sighting:
    """A use of the role ``dev`` from the office, but for what is said otherwise."""
    members = {"outcome": Outcome.USED, "reason": "", "role": "dev", "rule": "engineers"} | members
    return Sighting(user=user, at=at, address=f"{where}.7", network=f"{where}.0/24", **members)


def refusal(at: int, *, outcome: Outcome = Outcome.DENIED, reason: str = "no_rule", **members: Any) -> Sighting:
    return sighting(at, outcome=outcome, reason=reason, role=None, **members)


def days(number: int, *, first: int = 0, **members: Any) -> list[Sighting]:
    """Three requests in each hour from 9 to 17 h, on so many days."""
    return [
        sighting(MONDAY + day * DAY + hour * HOUR + third * 1200, **members)
        for day in range(first, first + number)
        for hour in range(9, 17)
        for third in range(3)
    ]


def at(day: int, hour: int, minute: int = 0) -> int:
    return MONDAY + day * DAY + hour * HOUR + minute * 60


class Life:
    """Detectors that are shown one thing after the other."""

    def __init__(self, states: States | None = None) -> None:
        self.states = states or InProcess()
        self.detectors = Detectors(states=self.states)

    def see(self, sightings: Sequence[Sighting]) -> list[Alert]:
        async def alerts() -> list[Alert]:
            found = []
            for each in sightings:
                found += await self.detectors.look([each])
            return found

        return asyncio.run(alerts())

    def learned(self, number: int = 14, **members: Any) -> Life:
        assert self.see(days(number, **members)) == []
        return self


def kinds(alerts: Sequence[Alert]) -> list[Kind]:
    return [alert.finding.kind for alert in alerts]
