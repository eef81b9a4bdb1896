"""More of one role in an hour than somebody usually has: an EWMA for each role, with its variance."""

from __future__ import annotations

from collections.abc import Mapping

from broker.audit.alert import Severity
from broker.watch.anomaly.finding import Finding, Kind
from broker.watch.anomaly.history import FOR_VOLUME, History
from broker.watch.anomaly.rate import Rate, counted
from broker.watch.anomaly.spans import ROLES_MAX

# Requests in an hour that nobody need look at, whatever is usual: a helper without a cache, run by hand in a loop.
FLOOR = 20
# Active hours of this role before its mean says anything.
_HOURS = 12


def fold(
    rates: Mapping[str, Rate], role: str, *, at: int, number: int, history: History
) -> tuple[Mapping[str, Rate], Finding | None]:
    """So many more requests for a role. Which roles somebody has is a matter of the rules: there are few."""
    rate = counted(rates.get(role, Rate()), at=at, number=number, floor=FLOOR)
    if role not in rates and len(rates) >= ROLES_MAX:
        rates = {name: kept for name, kept in rates.items() if name != min(rates, key=lambda each: rates[each].hour)}
    rates = {**rates, role: rate}
    if rate.hours < _HOURS or not FOR_VOLUME.is_met(history) or rate.seen <= rate.limit(FLOOR):
        return rates, None
    usual = f"usual {rate.mean:.1f} ± {rate.spread:.1f} in an active hour, over {history.days} days"
    why = f"{rate.seen} requests for {role} in the hour; {usual}."
    passes = f"Up to {rate.limit(FLOOR):.0f} would have passed without a word."
    return rates, Finding(Kind.VOLUME, Severity.MEDIUM, rate.seen, (why, passes), role)
