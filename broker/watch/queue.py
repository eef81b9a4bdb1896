"""Between the audit log and the detectors: as good as nothing on the way of a request, and bounded.

What is the same (who, from where, which role, what came of it) is counted and not queued twice: a flood of it is one entry.
"""

from __future__ import annotations

from broker.audit.event import Event, Kind
from broker.watch.anomaly.sighting import IMPERSONATED

# Different things that can happen within one look. What is beyond is dropped, and counted.
LONGEST = 10_000


class Queue:
    """An observer of the audit log. Never raises."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[str | None, ...], Event] = {}
        self._numbers: dict[tuple[str | None, ...], int] = {}
        self.dropped = 0

    def observe(self, event: Event) -> None:
        """Take one recorded event. Of nobody, or an alert: nothing, or an alert would call for the next."""
        if event.principal is None or event.kind is Kind.ALERT:
            return
        # What somebody was refused is their own choice of words, and must not fill the queue.
        role = (event.role or event.details.get("rule")) if event.success else None
        # What a service does in somebody's name is not their own doing.
        impostor = IMPERSONATED if IMPERSONATED in event.details else None
        key = (event.source_identity, event.source_ip, event.kind, role, event.reason, impostor)
        known = self._numbers.get(key)
        if known is not None:
            self._numbers[key] = known + 1
        elif len(self._numbers) < LONGEST:
            self._numbers[key] = 1
            self._waiting[key] = event
        else:
            self.dropped += 1

    def take(self) -> list[tuple[Event, int]]:
        """All that has come, in order of the first of each; and the queue is empty."""
        waiting, numbers = self._waiting, self._numbers
        self._waiting, self._numbers = {}, {}
        return [(event, numbers[key]) for key, event in waiting.items()]
