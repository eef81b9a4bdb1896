"""The alarm that somebody writes to the cache: a signed record, and a count.

Whoever controls Redis could raise it as often as anybody asks. So there is at most one record a minute for each entry, and
``_RECORDS`` in all; each says how many went unrecorded before it, and the count misses none.
"""

from __future__ import annotations

import logging
from datetime import timedelta

from broker.audit.event import Event, Kind
from broker.audit.log import AuditLog
from broker.core.clock import Clock
from broker.core.errors import AuditUnavailable
from broker.core.grant import Grant

_EVERY = timedelta(minutes=1)
_RECORDS = 20

_log = logging.getLogger(__name__)


class TamperAlarm:
    """Never raises: an entry that was tampered with is a miss, whatever becomes of the record."""

    def __init__(self, *, audit: AuditLog, clock: Clock) -> None:
        self._audit = audit
        self._clock = clock
        self._since = clock.boottime()
        self._recorded: set[str] = set()
        self._unrecorded = 0
        self.seen = 0

    async def sound(self, grant: Grant, *, entry: str, reason: str) -> None:
        """Say that what lies under the name ``entry`` is not what was put there for this grant."""
        self.seen += 1
        if self._clock.boottime() - self._since >= _EVERY.total_seconds():
            self._since = self._clock.boottime()
            self._recorded.clear()
        if entry in self._recorded or len(self._recorded) >= _RECORDS:
            self._unrecorded += 1
            return
        self._recorded.add(entry)
        unrecorded, self._unrecorded = self._unrecorded, 0
        event = Event(
            action="read_cache",
            resource=entry,
            kind=Kind.TAMPER,
            reason=f"entry_{reason}",
            principal=grant.principal,
            role=grant.role.name,
            details={"unrecorded": unrecorded},
        )
        try:
            await self._audit.record(event)
        except AuditUnavailable as error:
            self._unrecorded += unrecorded + 1
            _log.error("cache: an entry was tampered with, and that is not recorded: %s", error)
