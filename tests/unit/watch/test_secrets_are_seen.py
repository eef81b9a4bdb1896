"""Access to secrets is seen by the watch and counted, by the rule that allowed it; paths and people become no label."""

from __future__ import annotations

import json
from typing import Any

import pytest

from broker.audit.event import Event, Kind
from broker.watch.anomaly.finding import Kind as Finding
from broker.watch.anomaly.person import Peers, Person, fold
from broker.watch.anomaly.sighting import Outcome, Sighting, of_event, of_record
from broker.watch.metrics import Metrics
from broker.watch.queue import Queue
from tests.fakes.audit import an_event

HOUR = 3600


def access(reason: str | None = None, **members: Any) -> Event:
    details = {"rule": "databases"} if reason is None else {}
    given: dict[str, Any] = {"kind": Kind.SECRET, "action": "read", "resource": "team-a/db", "details": details}
    return an_event(failing=Kind.SECRET, success=reason is None, reason=reason, role=None, **given | members)


def seen(event: Event) -> Sighting | None:
    by_event = of_event(event, number=1, place_of=lambda _: None)
    assert by_event == of_record(json.loads(json.dumps(event.members())), place_of=lambda _: None)
    return by_event


def test_a_secret_that_was_read_is_a_use_of_its_rule() -> None:
    found = seen(access())
    assert found is not None
    assert (found.outcome, found.role, found.rule) == (Outcome.USED, "secrets/databases", "databases")


@pytest.mark.parametrize(
    ("reason", "outcome"),
    [
        ("no_secret_rule", Outcome.DENIED),
        ("path_malformed", Outcome.DENIED),
        ("ticket_too_weak", Outcome.DENIED),
        ("signature_missing", Outcome.DENIED),
        ("secret_expired", Outcome.EXPIRED),
        ("revoked", Outcome.ENDED),
    ],
)
def test_what_was_refused_is_their_doing(reason: str, outcome: Outcome) -> None:
    found = seen(access(reason))
    assert found is not None
    assert (found.outcome, found.role) == (outcome, None)


@pytest.mark.parametrize(
    "reason", ["secret_not_found", "secret_unreachable", "audit_unavailable", "secret_cas_mismatch"]
)
def test_what_is_nobodys_fault_is_not_seen(reason: str) -> None:
    assert seen(access(reason)) is None


def test_a_refused_access_is_called_the_same_and_is_no_success() -> None:
    event = Event.of_secret(action="read", path="team-a/db", request_id=None, source_ip=None)
    assert (event.kind, event.success) == (Kind.SECRET, False)
    event.done(Kind.SECRET)
    event.refused("revoked")
    assert (event.kind, event.success, event.reason) == (Kind.SECRET, False, "revoked")


def test_far_more_than_usual_of_one_rule_s_secrets_is_an_alert() -> None:
    """Two months of a few an hour, each working day; then two hundred in one."""
    person, found = Person(), []
    for day in range(60):
        for hour in range(8, 16):
            at = (day * 24 + hour) * HOUR
            sighting = Sighting("alice@R", at, Outcome.USED, "", role="secrets/databases", rule="databases", number=3)
            person, said = fold(person, sighting, peers=Peers())
            found += said
    assert Finding.VOLUME not in {one.kind for one in found}
    at = (60 * 24 + 9) * HOUR
    burst = Sighting("alice@R", at, Outcome.USED, "", role="secrets/databases", rule="databases", number=200)
    _, said = fold(person, burst, peers=Peers())
    assert [(one.kind, one.role) for one in said if one.kind is Finding.VOLUME] == [
        (Finding.VOLUME, "secrets/databases")
    ]


def test_a_flood_of_paths_of_one_rule_is_one_entry_and_two_rules_are_two() -> None:
    waiting = Queue()
    for number in range(1000):
        waiting.observe(access(resource=f"team-a/{number}"))
        waiting.observe(access("no_secret_rule", resource=f"team-b/{number}"))
    waiting.observe(access(details={"rule": "other"}))
    assert [number for _, number in waiting.take()] == [1000, 1000, 1]


def test_requests_are_counted_by_what_was_done_and_what_came_of_it_and_by_nothing_else() -> None:
    metrics = Metrics()
    for event in (access(), access(), access("no_secret_rule"), access(action="write"), access(kind=Kind.INTENT)):
        metrics.observe(event)
    lines = [line for line in metrics.text().decode().splitlines() if line.startswith("broker_secret_requests_total")]
    assert lines == [
        'broker_secret_requests_total{action="read",outcome="done"} 2.0',
        'broker_secret_requests_total{action="read",outcome="refused"} 1.0',
        'broker_secret_requests_total{action="write",outcome="done"} 1.0',
    ]
    assert b"team-a" not in metrics.text()
