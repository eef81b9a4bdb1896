"""An alarm is a record like any other: signed, in its place in the chain, and read by whoever folds over records.

Who notices something makes one of these and records it; who tells people (mail, chat, a pager) looks for such records. Neither
knows of the other.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence

from broker.audit.event import Event, Kind
from broker.core.principal import Principal


class Severity(enum.StrEnum):
    """How soon somebody has to look: on occasion, today, now."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


def alert(
    name: str,
    *,
    severity: Severity,
    why: Sequence[str],
    about: Principal | None = None,
    role: str | None = None,
    source_ip: str | None = None,
    request_id: str | None = None,
    cause: str | None = None,
) -> Event:
    """The event that says so; to be recorded.

    Args:
        name: What was noticed, a snake_case word: ``impossible_travel``. It is the record's ``reason``.
        severity: How soon somebody has to look.
        why: Whole sentences that explain it to whoever is woken by it, the most telling one first.
        about: Whose doing it seems to be, where it is anybody's.
        role: Of which role, where it is of one.
        source_ip: From where, as the request that caused it came.
        request_id: Of that request.
        cause: Who noticed: ``watch``, ``cache``, ``elevation``.
    """
    event = Event(action="raise_alert", resource=role or "broker", kind=Kind.ALERT, success=False, reason=name)
    event.principal, event.role, event.source_ip, event.request_id = about, role, source_ip, request_id
    event.details |= {"severity": severity.value, "why": list(why), "cause": cause}
    return event
