"""``python -m bench.watch``: how many attacks of a synthetic month the watch sees, and how often it is wrong.

An attack counts as seen where an alert of its kind about its victim comes within the hour. Whatever else is said about somebody
within a day of an attack on them is neither; everything else is a false alarm, counted from the eleventh day on, when all
detectors speak.
"""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import dataclass

from bench.month import BEGIN, Attack, Month, alarmed_days
from broker.audit.alert import Severity
from broker.watch.anomaly.finding import Kind
from broker.watch.anomaly.rate import DAY
from broker.watch.detectors import Alert, Detectors
from broker.watch.states import InProcess

LEARNED_AFTER = 10


@dataclass(frozen=True, slots=True)
class Score:
    """Of one kind: attacks seen by an alert of this kind, or of any; false alarms that are more than low, and low ones."""

    attacks: int
    seen: int
    seen_by_any: int
    false: int
    false_low: int


def look(month: Month) -> list[Alert]:
    """All that the detectors say about it."""

    async def alerts() -> list[Alert]:
        detectors, found = Detectors(states=InProcess()), []
        for sighting in month.sightings:
            found += await detectors.look([sighting])
        return found

    return asyncio.run(alerts())


def scores(month: Month, alerts: list[Alert]) -> dict[Kind, Score]:
    """By kind."""
    false = [alert for alert in alerts if not any(_is_near(alert, attack) for attack in month.attacks)]
    false = [alert for alert in false if alert.sighting.at >= BEGIN + LEARNED_AFTER * DAY]
    found = {}
    for kind in Kind:
        attacks = [attack for attack in month.attacks if attack.kind is kind]
        by_any = [{alert.finding.kind for alert in alerts if _shows(alert, attack)} for attack in attacks]
        low = sum(alert.finding.kind is kind and alert.finding.severity is Severity.LOW for alert in false)
        found[kind] = Score(
            attacks=len(attacks),
            seen=sum(kind in kinds for kinds in by_any),
            seen_by_any=sum(bool(kinds) for kinds in by_any),
            false=sum(alert.finding.kind is kind for alert in false) - low,
            false_low=low,
        )
    return found


def _subject(alert: Alert) -> str | None:
    return alert.about or alert.sighting.address


def _shows(alert: Alert, attack: Attack) -> bool:
    return _subject(alert) == attack.of and attack.begin <= alert.sighting.at <= attack.end


def _is_near(alert: Alert, attack: Attack) -> bool:
    return _subject(alert) == attack.of and abs(alert.sighting.at - attack.begin) <= DAY


def main() -> None:
    """Print the table of a month; a seed may be named."""
    month = Month(seed=int(sys.argv[1]) if sys.argv[1:] else 1)
    started = time.perf_counter()
    alerts = look(month)
    seconds = time.perf_counter() - started
    days = alarmed_days(month.sightings, after=LEARNED_AFTER)
    print(
        "| kind | attacks | seen as such | seen at all | false alarms | per 1,000 principal-days | low ones, per 1,000 |"
    )
    print("|---|---|---|---|---|---|---|")
    total = [0, 0]
    for kind, score in scores(month, alerts).items():
        total = [total[0] + score.false, total[1] + score.false_low]
        rates = f"{1000 * score.false / days:.1f} | {1000 * score.false_low / days:.1f}"
        seen = f"{score.attacks} | {score.seen} | {score.seen_by_any}"
        print(f"| `{kind}` | {seen} | {score.false} | {rates} |")
    print(f"| all | | | | {total[0]} | {1000 * total[0] / days:.1f} | {1000 * total[1] / days:.1f} |")
    print(f"\n{len(month.sightings)} sightings, {days} principal-days after day {LEARNED_AFTER}, {seconds:.1f} s")


if __name__ == "__main__":
    main()
