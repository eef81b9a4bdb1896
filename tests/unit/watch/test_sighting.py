"""The same is seen of an event of this broker and of its record; of nobody, nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from broker.audit.alert import Severity, alert
from broker.audit.event import Event, Kind
from broker.core.principal import Principal
from broker.watch.anomaly.sighting import Outcome, Sighting, of_event, of_record
from broker.watch.anomaly.travel import Place
from tests.fakes.audit import NOON, an_event

HERE = Place(1.0, 2.0, "Here")


def place_of(address: str) -> Place | None:
    return HERE if address == "127.0.0.1" else None


def seen(event: Event) -> Sighting | None:
    """What both say."""
    by_event = of_event(event, number=1, place_of=place_of)
    by_record = of_record(json.loads(json.dumps(event.members())), place_of=place_of)
    assert by_event == by_record
    return by_event


def refused(reason: str, **members: Any) -> Event:
    return an_event(kind=Kind.REFUSED, success=False, reason=reason, **members)


def test_credentials_handed_out_are_a_use_of_their_role() -> None:
    event = an_event(details={"rule": "engineers"})
    assert seen(event) == Sighting(
        user="alice@EXAMPLE.COM",
        at=int(NOON.timestamp()) + 1,
        outcome=Outcome.USED,
        reason="",
        role="developer",
        rule="engineers",
        address="127.0.0.1",
        network="127.0.0.0/24",
        place=HERE,
        request_id="request-1",
    )


@pytest.mark.parametrize("kind", [Kind.ELEVATION_REQUESTED, Kind.ELEVATION_APPROVED, Kind.BREAK_GLASS])
def test_who_asks_approves_or_breaks_glass_is_seen_doing_so(kind: Kind) -> None:
    found = seen(an_event(kind=kind))
    assert found is not None
    assert (found.outcome, found.role) == (Outcome.USED, None)


@pytest.mark.parametrize("kind", [Kind.INTENT, Kind.FETCHED, Kind.START, Kind.ALERT, Kind.TAMPER])
def test_what_the_broker_does_by_itself_is_nobodys_doing(kind: Kind) -> None:
    assert seen(an_event(kind=kind)) is None


def test_an_alert_is_no_sighting() -> None:
    event = alert("new_role", severity=Severity.LOW, why=["Why."], about=Principal.parse("alice@R"), cause="watch")
    event.timestamp = NOON
    assert seen(event) is None


@pytest.mark.parametrize(
    ("reason", "outcome"),
    [
        ("no_rule", Outcome.DENIED),
        ("request_unknown", Outcome.DENIED),
        ("self_approval", Outcome.DENIED),
        ("ticket_replayed", Outcome.DENIED),
        ("dpop_other_key", Outcome.DENIED),
        ("signature_wrong", Outcome.DENIED),
        ("revoked", Outcome.ENDED),
        ("session_ended", Outcome.ENDED),
        ("pass_cancelled", Outcome.ENDED),
        ("session_expired", Outcome.EXPIRED),
        ("impersonated", Outcome.IN_THEIR_NAME),
        ("name_not_of_account", Outcome.IN_THEIR_NAME),
        ("session_key_not_aes", Outcome.IN_THEIR_NAME),
    ],
)
def test_refusals_that_are_somebodys_own_doing_are_seen(reason: str, outcome: Outcome) -> None:
    found = seen(refused(reason))
    assert found is not None
    # A role that somebody may not have is only a word of theirs.
    assert (found.outcome, found.reason, found.role) == (outcome, reason, None)


@pytest.mark.parametrize("reason", ["no_rule", "ticket_expired", "revoked", "dpop_other_key"])
def test_what_a_service_is_refused_in_somebodys_name_is_not_their_doing(reason: str) -> None:
    found = seen(refused(reason, details={"impersonated_by": []}))
    assert found is not None
    assert found.outcome is Outcome.IN_THEIR_NAME
    failed = seen(refused("sts_timeout", details={"impersonated_by": []}))
    assert failed is None


@pytest.mark.parametrize(
    "reason", ["sts_timeout", "audit_unavailable", "cancelled", "internal_error", "access_held", "ticket_before_alert"]
)
def test_failures_of_ours_and_what_an_alert_brought_about_say_nothing_about_somebody(reason: str) -> None:
    assert seen(refused(reason)) is None


def test_who_was_not_proven_is_not_seen() -> None:
    assert seen(refused("token_malformed", principal=None)) is None
    assert seen(refused("no_rule", principal=None)) is None


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.77", "192.0.2.0/24"),
        ("2001:db8:1:2::3", "2001:db8:1::/48"),
        ("fe80::1%eth0", "fe80::/48"),
        (None, None),
    ],
)
def test_a_network_is_a_24_or_a_48(address: str | None, network: str | None) -> None:
    found = seen(an_event(source_ip=address))
    assert found is not None
    assert found.network == network


def test_a_record_of_a_later_version_is_passed_over() -> None:
    assert of_record({**an_event().members(), "event": "never_heard_of"}, place_of=place_of) is None


@pytest.mark.parametrize("broken", [[], {}, {"event": "issued"}, {"event": "issued", "reason": None, "user": 5}])
def test_what_is_no_record_is_an_error_that_a_reader_expects(broken: Any) -> None:
    with pytest.raises((ValueError, TypeError, KeyError)):
        of_record(broken, place_of=place_of)
