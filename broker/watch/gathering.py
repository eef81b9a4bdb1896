"""What is told at once, what is only counted, and when the count is told: nobody reads the four hundredth message of an hour.

The first of a matter (the same kind of thing about the same principal) is told at once. What repeats it within ``WINDOW`` is
counted, and told once when the window ends. Of each severity at most ``MOST`` new matters are told within a window, and as many
counts of repetitions; what is beyond is told together when it ends. Severities do not share that room: a flood of trifles
drowns no break-in. Broken glass needs no room, whatever else is going on: it opens because it shouts.

Pure: times are numbers of a clock that nobody can set. Bounded: no more windows are open than matters were told within two.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from broker.audit.alert import Severity
from broker.watch.notice import Notice, again, digest

# Long enough that a night's repetitions are forty messages and not four thousand; short enough that a count is still news.
WINDOW = timedelta(minutes=15)
# New matters of one severity within a window. More than that is an incident of its own, and the digest says so.
MOST = 10


@dataclass(slots=True)
class _Told:
    """A matter whose window is open, and what came since."""

    first: Notice
    ends: float
    number: int = 0
    since: datetime | None = None
    until: datetime | None = None


@dataclass(slots=True)
class _Period:
    """A window of one severity: how many matters and repetitions were told, and what was left out, by name."""

    ends: float
    told: int = 0
    repeated: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    since: datetime | None = None
    until: datetime | None = None
    instance: str | None = None

    def leave_out(self, notice: Notice, *, since: datetime, until: datetime, number: int = 1) -> None:
        """Count it, to be told with the others."""
        self.left_out[notice.name] += number
        self.since, self.until = self.since or since, until
        self.instance = notice.instance


class Gathering:
    """For one event loop."""

    def __init__(self) -> None:
        self._told: dict[str, _Told] = {}
        self._periods: dict[Severity, _Period] = {}

    def take(self, notice: Notice, *, now: float) -> list[Notice]:
        """What is to be told now that this came: it, or nothing; and what has become due."""
        due = self.due(now=now)
        told = self._told.get(notice.matter)
        if told is not None:
            told.number += 1
            told.since, told.until = told.since or notice.detected, notice.detected
            return due
        period = self._period(notice.severity, now=now)
        if notice.elevation is None and period.told >= MOST:
            period.leave_out(notice, since=notice.detected, until=notice.detected)
            return due
        period.told += notice.elevation is None
        self._told[notice.matter] = _Told(first=notice, ends=now + WINDOW.total_seconds())
        return [*due, notice]

    def due(self, *, now: float) -> list[Notice]:
        """The counts whose time has come. A matter that was repeated stays one for another window."""
        return [*self._repeated(now=now), *self._left_out(now=now)]

    def rest(self) -> list[Notice]:
        """All counts, at the end."""
        return self.due(now=math.inf)

    def _period(self, severity: Severity, *, now: float) -> _Period:
        return self._periods.setdefault(severity, _Period(ends=now + WINDOW.total_seconds()))

    def _repeated(self, *, now: float) -> Iterator[Notice]:
        for matter, told in [pair for pair in self._told.items() if pair[1].ends <= now]:
            del self._told[matter]
            if told.since is None or told.until is None:
                continue
            period = self._period(told.first.severity, now=now)
            if period.repeated >= MOST:
                period.leave_out(told.first, since=told.since, until=told.until, number=told.number)
                continue
            period.repeated += 1
            self._told[matter] = _Told(first=told.first, ends=now + WINDOW.total_seconds())
            yield again(told.first, number=told.number, since=told.since, until=told.until)

    def _left_out(self, *, now: float) -> Iterator[Notice]:
        for severity, period in [pair for pair in self._periods.items() if pair[1].ends <= now]:
            del self._periods[severity]
            if period.since is not None and period.until is not None:
                yield digest(
                    period.left_out,
                    severity=severity,
                    since=period.since,
                    until=period.until,
                    instance=period.instance,
                )
