"""What counts no longer, shown all the same: revoked and cancelled (once is enough), or merely expired (if it comes often).

From a network that is somebody's own it is mostly a forgotten tab or job; from another it is somebody who has what they
should not have.
"""

from __future__ import annotations

from broker.audit.alert import Severity
from broker.watch.anomaly.finding import Finding, Kind
from broker.watch.anomaly.history import FOR_NETWORKS, History
from broker.watch.anomaly.rate import Rate, counted
from broker.watch.anomaly.spans import Spans

# In an hour, from somebody's own networks: a cron job each minute is seen, a tab that was left open is not.
_OFTEN = 20
# An operator took everything from them: any attempt is worth a look.
_HELD = "revoked"


def ended(reason: str, *, network: str | None, known: Spans, history: History, count: int) -> Finding:
    """Something that was revoked or cancelled was shown."""
    severity = Severity.MEDIUM if reason == _HELD else Severity.LOW
    if _is_foreign(network, known, history):
        severity = Severity.HIGH
    why = f"Tried with what was revoked ({reason}), {_times(count)}, from {network or 'a local socket'}."
    return Finding(Kind.ENDED, severity, count, (why, _about(network, known, history)))


def expired(
    rate: Rate, reason: str, *, at: int, number: int, network: str | None, known: Spans, history: History
) -> tuple[Rate, Finding | None]:
    """Something that had expired was shown."""
    rate = counted(rate, at=at, number=number, floor=_OFTEN)
    is_foreign = _is_foreign(network, known, history)
    if not is_foreign and rate.seen <= rate.limit(_OFTEN):
        return rate, None
    why = (
        f"Tried with what had expired ({reason}), {_times(rate.seen)} in the hour, from {network or 'a local socket'}."
    )
    severity = Severity.MEDIUM if is_foreign else Severity.LOW
    return rate, Finding(Kind.EXPIRED, severity, rate.seen, (why, _about(network, known, history)))


def _is_foreign(network: str | None, known: Spans, history: History) -> bool:
    return network is not None and network not in known and FOR_NETWORKS.is_met(history)


def _about(network: str | None, known: Spans, history: History) -> str:
    if _is_foreign(network, known, history):
        return f"Never seen there in {history.days} days of activity."
    return "One of their own networks." if network in known else "Too little is known of their networks."


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
