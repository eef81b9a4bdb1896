"""What is unusual about somebody, and in which words; and what is not, for all that it looks like it."""

from __future__ import annotations

import pytest

from broker.audit.alert import Severity
from broker.watch.anomaly.finding import Kind
from broker.watch.anomaly.sighting import Outcome
from tests.fakes.life import ALICE, BERLIN, ELSEWHERE, SYDNEY, Life, at, days, kinds, refusal, sighting

PEERS = ["bob@EXAMPLE.COM", "carol@EXAMPLE.COM", "dave@EXAMPLE.COM"]


def test_far_more_requests_than_usual_are_an_alert_with_the_numbers() -> None:
    (alert,) = Life().learned(19).see([sighting(at(19, 10) + second) for second in range(41)][:21])
    assert (alert.finding.kind, alert.finding.severity, alert.finding.role) == (Kind.VOLUME, Severity.MEDIUM, "dev")
    assert alert.finding.why == (
        "21 requests for dev in the hour; usual 3.0 ± 1.7 in an active hour, over 20 days.",
        "Up to 20 would have passed without a word.",
    )
    assert (alert.about, alert.sighting.at) == (ALICE, at(19, 10) + 20)


def test_many_at_once_are_counted_as_many() -> None:
    assert kinds(Life().learned().see([sighting(at(14, 10), number=41)])) == [Kind.VOLUME]


def test_the_next_hour_begins_at_nothing() -> None:
    later = [sighting(at(14, hour), number=15) for hour in (10, 11, 12)]
    assert Life().learned().see(later) == []


def test_each_role_has_a_volume_of_its_own() -> None:
    life = Life().learned()
    busy = [sighting(at(14, hour), role="ci", number=60) for hour in range(9, 17)]
    # A role without hours of its own is new, and nothing is usual about it yet.
    assert kinds(life.see(busy)) == [Kind.ROLE]
    assert kinds(life.see([sighting(at(15, 9), number=60)])) == [Kind.VOLUME]


def test_an_hour_at_which_somebody_is_never_there_is_an_alert() -> None:
    (alert,) = Life().learned().see([sighting(at(14, 3))])
    assert alert.finding.kind is Kind.HOUR
    assert alert.finding.why == (
        "Active at 03 h UTC; over 14 days 0.0% of all activity was around that hour.",
        "The usual hours (UTC) are 09, 10, 11, 12, 13, 14, 15, 16.",
    )


@pytest.mark.parametrize("hour", [7, 8, 17, 18, 19])
def test_an_hour_next_to_the_usual_ones_is_none(hour: int) -> None:
    assert Life().learned().see([sighting(at(14, hour))]) == []


def test_the_day_is_round_so_that_midnight_parts_nobody_from_an_hour_before() -> None:
    life = Life()
    night = [sighting(at(day, hour)) for day in range(40) for hour in (22, 23) for _ in range(3)]
    assert life.see(night) == []
    assert life.see([sighting(at(40, 0)), sighting(at(40, 1))]) == []
    assert kinds(life.see([sighting(at(40, 10))])) == [Kind.HOUR]


def test_whoever_works_around_the_clock_has_no_unusual_hour() -> None:
    clock = [sighting(at(day, hour)) for day in range(14) for hour in range(24)]
    assert Life().see(clock) == []


def test_a_new_network_is_an_alert_and_from_then_on_known() -> None:
    life = Life().learned()
    (alert,) = life.see([sighting(at(14, 10), where=ELSEWHERE)])
    assert (alert.finding.kind, alert.finding.severity) == (Kind.NETWORK, Severity.MEDIUM)
    assert alert.finding.why == ("First time from 10.9.9.0/24; 1 network known over 14 days.",)
    assert life.see([sighting(at(16, 10), where=ELSEWHERE)]) == []


def test_a_network_that_others_come_from_is_of_low_severity() -> None:
    life = Life().learned()
    for peer in PEERS:
        life.see(days(1, first=13, user=peer, where=ELSEWHERE))
    (alert,) = life.see([sighting(at(14, 10), where=ELSEWHERE)])
    assert (alert.finding.kind, alert.finding.severity) == (Kind.NETWORK, Severity.LOW)
    assert "3 others come from it." in alert.finding.why


def test_whoever_travels_all_the_time_is_of_low_severity() -> None:
    life = Life().learned()
    trips = [sighting(at(14 + day, 10), where=f"10.8.{day}") for day in range(4)]
    severities = [alert.finding.severity for alert in life.see(trips)]
    assert severities == [Severity.MEDIUM] * 3 + [Severity.LOW]


def test_a_new_role_is_an_alert_and_less_of_one_where_others_use_it_by_the_same_rule() -> None:
    life = Life().learned()
    for peer in PEERS:
        life.see(days(1, first=13, user=peer, role="prod"))
        life.see(days(1, first=13, user=peer, role="root", rule="operators"))
    (prod,) = life.see([sighting(at(14, 10), role="prod")])
    assert (prod.finding.kind, prod.finding.severity, prod.finding.role) == (Kind.ROLE, Severity.LOW, "prod")
    assert prod.finding.why == ("First use of prod; 1 role used over 14 days.", "3 others use it by the same rule.")
    (root,) = life.see([sighting(at(15, 10), role="root")])
    assert root.finding.severity is Severity.MEDIUM


def test_two_places_too_far_apart_for_the_time_between_are_an_alert() -> None:
    life = Life().learned(place=BERLIN)
    found = life.see([sighting(at(14, 10), place=BERLIN), sighting(at(14, 10, 30), where=ELSEWHERE, place=SYDNEY)])
    (alert,) = [each for each in found if each.finding.kind is Kind.TRAVEL]
    assert alert.finding.severity is Severity.HIGH
    assert alert.finding.why == (
        "Sydney 30 minutes after Berlin: 16097 km, where 500 km can be done at 1000 km/h.",
        "From 10.0.0.0/24 before, from 10.9.9.0/24 now.",
    )


def test_a_flight_is_possible() -> None:
    life = Life().learned(place=BERLIN)
    found = life.see([sighting(at(14, 10), place=BERLIN), sighting(at(15, 9), where=ELSEWHERE, place=SYDNEY)])
    assert kinds(found) == [Kind.NETWORK]


def test_two_networks_that_are_ones_own_may_be_anywhere() -> None:
    life = Life()
    for day in range(14):
        life.see([sighting(at(day, 10), place=BERLIN), sighting(at(day, 11), where=ELSEWHERE, place=SYDNEY)])
    both = [sighting(at(20, 10), place=BERLIN), sighting(at(20, 11), where=ELSEWHERE, place=SYDNEY)]
    assert Kind.TRAVEL not in kinds(life.see(both))


def test_refusals_in_numbers_are_an_alert_and_a_few_are_none() -> None:
    life = Life().learned()
    refused = [refusal(at(14, 10) + second) for second in range(31)]
    assert life.see(refused[:30]) == []
    (alert,) = life.see(refused[30:])
    assert alert.finding.kind is Kind.DENIALS
    assert alert.finding.why[0] == (
        "31 refusals in the hour, the last for no_rule; usual 0.0 in an hour with any, over 14 days."
    )


def test_a_stranger_is_given_more_rope_and_not_without_end() -> None:
    refused = [refusal(at(0, 10) + second) for second in range(61)]
    life = Life()
    assert life.see(refused[:60]) == []
    assert kinds(life.see(refused[60:])) == [Kind.DENIALS]


def test_many_principals_refused_from_one_address_are_an_alert_about_the_address() -> None:
    crowd = [refusal(at(0, 10) + number, user=f"user{number}@EXAMPLE.COM") for number in range(9)]
    life = Life()
    assert life.see(crowd[:8] * 3) == []
    (alert,) = life.see(crowd[8:])
    assert (alert.finding.kind, alert.finding.severity, alert.about) == (Kind.SPRAYING, Severity.HIGH, None)
    assert alert.finding.why[0] == (
        "9 different principals were refused from 10.0.0.7 in the hour; usual 0.0 in an hour with any."
    )


def test_a_host_that_many_share_has_its_own_usual_number() -> None:
    life = Life()
    for day in range(5):
        for hour in range(9, 17):
            life.see([refusal(at(day, hour) + each, user=f"user{each}@EXAMPLE.COM") for each in range(7)])
    crowd = [refusal(at(6, 10) + each, user=f"user{each}@EXAMPLE.COM") for each in range(20)]
    assert life.see(crowd) == []


@pytest.mark.parametrize(
    ("where", "reason", "severity"),
    [
        ("10.0.0", "pass_cancelled", Severity.LOW),
        ("10.0.0", "revoked", Severity.MEDIUM),
        (ELSEWHERE, "pass_cancelled", Severity.HIGH),
        (ELSEWHERE, "revoked", Severity.HIGH),
    ],
)
def test_what_was_revoked_is_an_alert_at_the_first_attempt(where: str, reason: str, severity: Severity) -> None:
    (alert,) = Life().learned().see([refusal(at(14, 10), where=where, outcome=Outcome.ENDED, reason=reason)])
    assert (alert.finding.kind, alert.finding.severity) == (Kind.ENDED, severity)
    assert alert.finding.why[0] == f"Tried with what was revoked ({reason}), once, from {where}.0/24."


def test_what_was_revoked_needs_no_history() -> None:
    alerts = Life().see([refusal(at(0, 10), outcome=Outcome.ENDED, reason="revoked")])
    assert kinds(alerts) == [Kind.ENDED]


def test_what_has_expired_is_an_alert_from_a_foreign_network_or_if_it_goes_on() -> None:
    life = Life().learned()
    tab = [refusal(at(14, 10) + each, outcome=Outcome.EXPIRED, reason="session_expired") for each in range(21)]
    assert life.see(tab[:20]) == []
    assert [alert.finding.severity for alert in life.see(tab[20:])] == [Severity.LOW]
    (alert,) = life.see([refusal(at(15, 10), where=ELSEWHERE, outcome=Outcome.EXPIRED, reason="session_expired")])
    assert (alert.finding.kind, alert.finding.severity) == (Kind.EXPIRED, Severity.MEDIUM)
    assert alert.finding.why[1] == "Never seen there in 14 days of activity."


# ---- quiet at first, and once ----


def test_at_a_cold_start_everything_is_new_and_nothing_is_said() -> None:
    wild = [
        sighting(
            at(day, hour), where=f"10.{day}.{hour}", role=f"role{hour}", place=(BERLIN, SYDNEY)[hour % 2], number=9
        )
        for day in range(3)
        for hour in range(24)
    ]
    # Impossible travel speaks first: on the third day.
    assert Life().see(wild[:48]) == []
    assert set(kinds(Life().see(wild))) == {Kind.TRAVEL}


def test_days_alone_and_requests_alone_are_no_history() -> None:
    seldom = [sighting(at(day, 10)) for day in range(20)]
    assert Life().see([*seldom, sighting(at(20, 10), where=ELSEWHERE, role="prod", number=500)]) == []
    busy = [sighting(at(0, 10) + second) for second in range(500)]
    assert Life().see([*busy, sighting(at(0, 12), where=ELSEWHERE, role="prod", number=500)]) == []


def test_before_a_week_no_volume_is_too_much_and_before_ten_days_no_hour_unusual() -> None:
    assert Life().see([*days(5), sighting(at(5, 10), number=500)]) == []
    assert Life().see([*days(8), sighting(at(8, 3))]) == []


def test_refusals_make_no_history() -> None:
    life = Life()
    assert life.see([refusal(at(day, 10)) for day in range(40)]) == []
    assert life.see([sighting(at(40, 10), where=ELSEWHERE)]) == []


def test_one_alert_a_day_of_a_kind_and_another_where_it_has_doubled() -> None:
    life = Life().learned()
    found = life.see([sighting(at(14, 10) + each) for each in range(100)])
    assert [(alert.finding.size, alert.finding.severity) for alert in found] == [
        (21, Severity.MEDIUM),
        (42, Severity.HIGH),
        (84, Severity.HIGH),
    ]
    assert found[1].finding.why[-1] == "It has grown since the alert of 0 minutes before: 21 then."


def test_after_a_day_the_same_kind_is_said_again() -> None:
    life = Life().learned()
    assert kinds(life.see([sighting(at(14, 10), where=ELSEWHERE)])) == [Kind.NETWORK]
    assert life.see([refusal(at(14, 11)), sighting(at(15, 9), where="10.7.7")]) == []
    assert kinds(life.see([sighting(at(15, 11), where="10.7.8")])) == [Kind.NETWORK]


def test_one_persons_days_are_nobody_elses() -> None:
    life = Life().learned()
    assert life.see(days(3, first=14, user="bob@EXAMPLE.COM", where=ELSEWHERE, role="prod")) == []


def test_a_record_that_comes_late_breaks_nothing() -> None:
    life = Life().learned()
    assert life.see([sighting(at(14, 11)), sighting(at(14, 10)), sighting(at(13, 10)), sighting(at(0, 10))]) == []
