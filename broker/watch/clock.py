"""Notices when somebody sets the wall clock.

The seconds since boot go on evenly, suspend included (CLOCK_BOOTTIME); so whatever changes the difference between the two is a
hand at the wall clock, a time service that steps it, or a host that was moved. Nothing is decided here: what ends, ends by both
clocks (``broker.core.birth``). This says it: a record, a metric, and /readyz for as long as somebody should look.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

from broker.audit.event import Event, Kind
from broker.audit.log import AuditLog
from broker.core.clock import Clock, rfc3339
from broker.core.errors import AuditUnavailable
from broker.core.fault import Fault
from broker.core.happening import Happening

LOOK_EVERY = timedelta(seconds=1)
# Time services slew what is less than this by themselves, and hosts of a fleet may differ by so much.
LEAST = timedelta(seconds=30)
# /readyz says it for so long; whether the clock is right now, nobody here knows.
SHOWN_FOR = timedelta(minutes=10)

_log = logging.getLogger(__name__)


class ClockWatch:
    """``jumps`` counts them since the start; ``last`` is by how many seconds the last one went ahead, negative for back."""

    def __init__(self, *, clock: Clock, audit: AuditLog) -> None:
        self._clock = clock
        self._audit = audit
        self._lead = self._lead_now()
        self._shown_until = 0.0
        self.jumps = 0
        self.last = 0.0

    async def look(self) -> None:
        """Once."""
        lead = self._lead_now()
        by = lead - self._lead
        if abs(by) < LEAST.total_seconds():
            # A clock that is slewed walks away for good: what is compared with goes along.
            self._lead = lead
            return
        self._lead, self.last = lead, by
        self.jumps += 1
        self._shown_until = self._clock.boottime() + SHOWN_FOR.total_seconds()
        _log.error("the wall clock was set %s", self._said(), extra=Happening.CLOCK_JUMP.said())
        await self._record(by)

    async def keep_looking(self) -> None:
        """Runs until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY.total_seconds())
            await self.look()

    async def ping(self) -> str | None:
        """None, or what was done to the clock a short while ago."""
        if self._clock.boottime() >= self._shown_until:
            return None
        return Fault(f"the wall clock was set {self._said()}", code="clock_jump")

    def _said(self) -> str:
        return f"{'ahead' if self.last > 0 else 'back'} by {abs(round(self.last))} s"

    async def _record(self, by: float) -> None:
        now = self._clock.now()
        event = Event(
            action="look_at_clock",
            resource="clock",
            kind=Kind.CLOCK_JUMP,
            success=False,
            reason="clock_set_ahead" if by > 0 else "clock_set_back",
            details={"seconds": round(by), "expected": rfc3339(now - timedelta(seconds=by))},
        )
        try:
            await self._audit.record(event)
        except AuditUnavailable as error:
            _log.error("the jump of the clock is not recorded: %s", error)

    def _lead_now(self) -> float:
        return self._clock.now().timestamp() - self._clock.boottime()
