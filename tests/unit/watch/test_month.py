"""A smaller month than the one of docs/watch.md: what is seen of the attacks in it, and how often the watch is wrong."""

from __future__ import annotations

import pytest

from bench.month import BEGIN, Month, alarmed_days
from bench.watch import LEARNED_AFTER, Score, look, scores
from broker.watch.anomaly.finding import Kind
from broker.watch.anomaly.rate import DAY
from broker.watch.detectors import Alert

# Stated in docs/watch.md: of a hundred attacks, and on a thousand principal-days.
SEEN_AT_LEAST = 0.9
FALSE_AT_MOST = 60


@pytest.fixture(scope="module")
def month() -> Month:
    return Month(seed=7, people=30, jobs=8, days=25, attacks=3)


@pytest.fixture(scope="module")
def alerts(month: Month) -> list[Alert]:
    return look(month)


@pytest.fixture(scope="module")
def found(month: Month, alerts: list[Alert]) -> dict[Kind, Score]:
    return scores(month, alerts)


def test_nine_of_ten_attacks_are_seen_as_what_they_are_and_of_each_kind_most(found: dict[Kind, Score]) -> None:
    assert sum(score.attacks for score in found.values()) == 27
    assert sum(score.seen for score in found.values()) >= SEEN_AT_LEAST * 27
    assert all(score.seen >= 2 for score in found.values())


def test_false_alarms_are_few(month: Month, found: dict[Kind, Score]) -> None:
    days = alarmed_days(month.sightings, after=LEARNED_AFTER)
    assert days > 250
    assert 1000 * sum(score.false for score in found.values()) / days <= FALSE_AT_MOST


def test_what_needs_no_baseline_is_never_wrong(found: dict[Kind, Score]) -> None:
    sure = (Kind.TRAVEL, Kind.DENIALS, Kind.SPRAYING, Kind.ENDED, Kind.EXPIRED)
    assert [found[kind].false for kind in sure] == [0] * 5


def test_the_first_week_is_quiet(alerts: list[Alert]) -> None:
    early = [alert for alert in alerts if alert.sighting.at < BEGIN + 6 * DAY]
    assert {alert.finding.kind for alert in early} <= {Kind.TRAVEL, Kind.ENDED}


def test_every_alert_says_why_in_sentences_with_numbers(alerts: list[Alert]) -> None:
    for alert in alerts:
        assert all(sentence.endswith(".") for sentence in alert.finding.why)
        assert any(char.isdigit() for char in " ".join(alert.finding.why))


def test_a_month_is_the_same_each_time(month: Month) -> None:
    again = Month(seed=7, people=30, jobs=8, days=25, attacks=3)
    assert again.sightings == month.sightings
    assert again.attacks == month.attacks
