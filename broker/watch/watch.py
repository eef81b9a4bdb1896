"""The watch: looks at what was recorded, beside the requests, says what is unusual, and takes what it was told to take.

    recorded event -> queue -> detectors -> hold, where one is configured -> a record of the alert

An alert that cannot be recorded waits for the log. Nothing that goes wrong in here reaches a request.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Mapping
from datetime import timedelta

from broker.audit.alert import Severity, alert
from broker.audit.event import Event
from broker.audit.log import AuditLog
from broker.core.errors import AuditUnavailable, RevocationsUnavailable
from broker.core.principal import Principal
from broker.revocation.holds import Holds, Response
from broker.revocation.spread import is_told_to_end
from broker.watch.anomaly.finding import Kind
from broker.watch.anomaly.sighting import of_event
from broker.watch.detectors import Alert, Detectors
from broker.watch.places import Places
from broker.watch.queue import Queue
from broker.watch.states_file import StatesFile

# A hold is in force within about a second of what brought it.
_LOOK_EVERY = timedelta(milliseconds=500)
# Between two of them the event loop has its turn: a look at so many takes a millisecond or two.
_AT_ONCE = 50
# Alerts that wait for the log to take them.
_UNRECORDED_MAX = 1_000

_log = logging.getLogger(__name__)


class Watch:
    """One for each instance."""

    def __init__(
        self,
        *,
        queue: Queue,
        detectors: Detectors,
        places: Places,
        respond: Mapping[Kind, Response],
        holds: Holds,
        kept: StatesFile | None,
        audit: AuditLog,
    ) -> None:
        """Take the parts; ``kept`` is where states outlive the process, where no Redis has them."""
        self._queue = queue
        self._detectors = detectors
        self._places = places
        self._respond = respond
        self._holds = holds
        self._kept = kept
        self._audit = audit
        self._unrecorded: deque[Event] = deque(maxlen=_UNRECORDED_MAX)
        self._is_failing = False

    async def keep_watching(self) -> None:
        """Runs until cancelled."""
        if self._kept is not None:
            await self._kept.load()
        while not is_told_to_end():
            await asyncio.sleep(_LOOK_EVERY.total_seconds())
            await self.look()
            if self._kept is not None:
                await self._kept.save_sometimes()

    async def look(self) -> None:
        """Once, at all that has come since. Never raises."""
        try:
            await self._look()
            self._is_failing = False
        except Exception:  # noqa: BLE001  # said once; whatever is wrong in here is no reason to refuse anybody anything
            if not self._is_failing:
                _log.exception("watch: a defect; what was seen meanwhile is not looked at")
            self._is_failing = True

    async def close(self) -> None:
        """Look at the last of it, and keep what is known."""
        await self.look()
        if self._kept is not None:
            await self._kept.save()
        self._places.close()

    async def _look(self) -> None:
        while self._unrecorded and await self._is_recorded(self._unrecorded[0]):
            self._unrecorded.popleft()
        taken = self._queue.take()
        for start in range(0, len(taken), _AT_ONCE):
            batch = taken[start : start + _AT_ONCE]
            named = {str(event.principal): event.principal for event, _ in batch if event.principal}
            seen = [of_event(event, number=number, place_of=self._places.of) for event, number in batch]
            for found in await self._detectors.look([sighting for sighting in seen if sighting is not None]):
                await self._raise(found, named.get(found.about or ""))
            await asyncio.sleep(0)

    async def _raise(self, found: Alert, about: Principal | None) -> None:
        finding, sighting = found.finding, found.sighting
        response = self._respond.get(finding.kind, Response.NONE) if about is not None else Response.NONE
        if finding.severity is Severity.LOW:
            response = Response.NONE
        if response is not Response.NONE:
            await self._take(str(about), response, finding.kind)
        event = alert(
            finding.kind.value,
            severity=finding.severity,
            why=finding.why,
            about=about,
            role=finding.role,
            source_ip=sighting.address,
            request_id=sighting.request_id,
            cause="watch",
        )
        event.details["response"] = response.value
        if not await self._is_recorded(event):
            self._unrecorded.append(event)

    async def _take(self, user: str, response: Response, kind: Kind) -> None:
        try:
            await self._holds.put(user, response, by=f"watch: {kind}")
        except RevocationsUnavailable as error:
            _log.error("watch: what is taken from somebody counts here, and is not on the disk: %s", error)

    async def _is_recorded(self, event: Event) -> bool:
        try:
            await self._audit.record(event)
        except AuditUnavailable as error:
            _log.error("watch: an alert is not recorded yet: %s", error)
            return False
        return True
