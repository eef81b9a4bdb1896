"""Looks whether keytabs and certificates changed. What cannot be used leaves the old in force, and is said once, loudly."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from datetime import timedelta

from broker.audit.event import Event, Kind
from broker.audit.log import AuditLog
from broker.core.errors import AuditUnavailable, ConfigurationError
from broker.core.fault import Fault
from broker.core.happening import Happening

# A rotation is taken over by itself within half a minute, or at once by SIGHUP.
LOOK_EVERY = timedelta(seconds=30)
# Characters of a fault in its record.
_FAULT_MAX = 500

_log = logging.getLogger(__name__)

# Takes changed files over; whether there was a change. ConfigurationError: nothing was taken over.
Reload = Callable[[], bool]


class FileWatch:
    """Asks each source whether it changed, and records what came of it. ``faults`` is what is wrong now, by source."""

    def __init__(self, *, sources: Mapping[str, Reload], audit: AuditLog) -> None:
        self._sources = sources
        self._audit = audit
        self.faults: dict[str, str | None] = dict.fromkeys(sources)

    def is_well(self, name: str) -> float:
        """1 where what lies on disk is in force, else 0."""
        return float(self.faults[name] is None)

    async def look(self) -> None:
        """Once."""
        for name, reload in self._sources.items():
            fault = None
            try:
                changed = reload()
            except ConfigurationError as error:
                changed, fault = False, str(error)
            if changed or fault != self.faults[name]:
                self.faults[name] = fault
                await self._say(name, fault)

    async def keep_looking(self) -> None:
        """Runs until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY.total_seconds())
            await self.look()

    async def ping(self) -> str | None:
        """None while every source is usable, else which is not."""
        unusable = ", ".join(name for name, fault in self.faults.items() if fault)
        return Fault(unusable, code="files_unusable") if unusable else None

    async def _say(self, name: str, fault: str | None) -> None:
        if fault is None:
            _log.info("%s: changed files are in force", name, extra=Happening.FILES_IN_FORCE.said())
        else:
            _log.error(
                "%s: changed files cannot be used, the old stay in force: %s",
                name,
                fault,
                extra=Happening.FILES_REFUSED.said(),
            )
        event = Event(
            action="reload",
            resource=name,
            kind=Kind.RELOAD,
            success=fault is None,
            reason=None if fault is None else "unusable",
            details={} if fault is None else {"fault": fault[:_FAULT_MAX]},
        )
        try:
            await self._audit.record(event)
        except AuditUnavailable as error:
            _log.error("%s: the reload is not recorded: %s", name, error)
