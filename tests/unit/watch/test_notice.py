"""What people are told of a record, and that nobody's name can make it say something else."""

from __future__ import annotations

import shlex

import pytest

from broker.audit.alert import Severity
from broker.audit.event import Event, Kind
from broker.core.principal import Principal
from broker.watch.notice import notice_of, notice_of_members
from tests.fakes.audit import an_event
from tests.fakes.notices import ALICE, ROOT, alarm, notice, recorded


def revocation(**details: object) -> Event:
    event = Event(action="revoke_credentials", resource="alice@EXAMPLE.COM", request_id="r1", principal=ROOT)
    event.done(Kind.REVOKED)
    event.details |= {"about": "alice@EXAMPLE.COM", "dry_run": False, **details}
    return recorded(event)


def test_an_alarm_says_what_to_whom_from_where_why_and_what_to_do() -> None:
    told = notice()
    assert told.happened == "Impossible travel: alice@EXAMPLE.COM"
    assert (told.name, told.severity, told.about, told.by) == (
        "impossible_travel",
        Severity.HIGH,
        "alice@EXAMPLE.COM",
        None,
    )
    assert (told.role, told.source_ip, told.request_id) == ("developer", "203.0.113.9", "6f1e2d")
    assert (told.instance, told.seq, told.id) == ("broker-1", 7, "broker-1-7")
    assert told.why == ("Berlin and Sydney are 16,090 km apart.", "No airplane does that in 9 minutes.")
    assert told.do == (
        "zerotrust-admin audit trace 6f1e2d",
        "zerotrust-admin revoke-credentials --user alice@EXAMPLE.COM",
    )


def test_a_revocation_says_by_whom_and_about_whom() -> None:
    told = notice_of(revocation())
    assert told is not None
    assert (told.name, told.about, told.by) == ("access_revoked", "alice@EXAMPLE.COM", "root/admin@EXAMPLE.COM")
    assert told.happened == "Access was revoked: credentials of alice@EXAMPLE.COM, by root/admin@EXAMPLE.COM"
    assert told.do[-1] == "zerotrust-admin restore --user alice@EXAMPLE.COM"


@pytest.mark.parametrize(
    ("action", "severity", "command"),
    [
        ("deny_at_aws", Severity.HIGH, "zerotrust-admin revoke-credentials --aws --user alice@EXAMPLE.COM"),
        ("remove_aws_deny", Severity.LOW, "zerotrust-admin revocations"),
    ],
)
def test_a_deny_that_aws_does_not_have_wakes_somebody(action: str, severity: Severity, command: str) -> None:
    arn = "arn:aws:iam::111122223333:role/Developer"
    event = Event(action=action, resource=arn, kind=Kind.AWS_DENY_FAILED, success=False, reason="denied")
    event.details |= {"about": "alice@EXAMPLE.COM", "by": str(ROOT)}
    told = notice_of(recorded(event))
    assert told is not None
    assert (told.name, told.severity, told.do[-1]) == ("aws_deny_failed", severity, command)
    assert f"alice@EXAMPLE.COM at {arn}" in told.happened


def test_who_broke_the_glass_for_themselves_is_named_once() -> None:
    event = alarm(name="break_glass")
    event.details["about"] = "alice@EXAMPLE.COM"
    told = notice_of(event)
    assert told is not None
    assert (told.happened, told.about, told.by) == ("Break glass: alice@EXAMPLE.COM", "alice@EXAMPLE.COM", None)


@pytest.mark.parametrize(
    ("details", "said"),
    [
        ({}, "What AWS has handed out runs on until it expires."),
        ({"aws_roles": ["a", "b"], "aws_pending": []}, "What AWS has handed out is denied there, within minutes."),
        ({"aws_roles": ["a", "b"], "aws_pending": ["b"]}, "; 1 of 2 roles do not deny yet: see the revocations."),
    ],
)
def test_a_revocation_says_what_becomes_of_what_aws_has_handed_out(details: dict[str, object], said: str) -> None:
    told = notice_of(revocation(**details))
    assert told is not None
    assert told.why[-1].endswith(said)


@pytest.mark.parametrize(
    ("response", "said"), [("hold", "until an operator clears it"), ("step_up", "show a newer ticket")]
)
def test_what_the_watch_took_is_said_and_how_it_is_given_back(response: str, said: str) -> None:
    event = alarm()
    event.details["response"] = response
    told = notice_of(event)
    assert told is not None
    assert said in told.why[-1]
    assert told.do[-1] == "zerotrust-admin alerts clear --user alice@EXAMPLE.COM"
    event.details["response"] = "none"
    assert notice_of(event) == notice()


def broken_glass(number: int) -> Event:
    event = alarm(number, name="break_glass")
    event.details["elevation"] = f"{number:032x}"
    return event


def test_each_broken_glass_is_a_matter_of_its_own_with_the_command_that_closes_its_review() -> None:
    told, other = notice_of(broken_glass(1)), notice_of(broken_glass(2))
    assert told is not None
    assert other is not None
    assert told.matter != other.matter
    assert told.do[0] == f"zerotrust-admin audit trace {'0' * 31}1"
    assert told.do[-1] == f"zerotrust-admin reviews close {'0' * 31}1 --note 'what you found'"


def test_a_revocation_of_everybody_names_everybody() -> None:
    event = revocation(about="*")
    event.action = "revoke_sessions"
    told = notice_of(event)
    assert told is not None
    assert told.happened == "Access was revoked: sessions of everybody, by root/admin@EXAMPLE.COM"
    assert told.do == ("zerotrust-admin audit trace r1", "zerotrust-admin revocations")


def test_a_tampered_cache_is_told_with_what_went_unrecorded() -> None:
    event = Event(action="read_cache", resource="e1", kind=Kind.TAMPER, reason="entry_altered", principal=ALICE)
    event.details["unrecorded"] = 412
    told = notice_of(recorded(event))
    assert told is not None
    assert (told.severity, told.happened) == (
        Severity.HIGH,
        "The cache was tampered with: an entry of alice@EXAMPLE.COM",
    )
    assert "412 more" in told.why[-1]


def test_a_role_without_its_external_id_is_told() -> None:
    event = Event(action="probe", resource="arn:aws:iam::111122223333:role/Developer", kind=Kind.NOT_ENFORCED)
    event.details["try"] = "without_id"
    told = notice_of(recorded(event))
    assert told is not None
    assert told.happened.endswith("arn:aws:iam::111122223333:role/Developer")
    assert "in the try: without id" in told.why[0]


def test_any_event_that_says_how_severe_it_is_is_told() -> None:
    event = an_event()
    event.details |= {"severity": "high", "why": ["Break-glass was used."]}
    told = notice_of(recorded(event))
    assert told is not None
    assert (told.severity, told.why, told.about) == (Severity.HIGH, ("Break-glass was used.",), "alice@EXAMPLE.COM")


def test_an_unknown_severity_and_a_why_that_is_no_list_are_told_all_the_same() -> None:
    event = an_event()
    event.details |= {"severity": "apocalyptic", "why": "because"}
    told = notice_of(recorded(event))
    assert told is not None
    assert (told.severity, told.why) == (
        Severity.MEDIUM,
        ("The broker recorded issued (get_credentials of developer).",),
    )


@pytest.mark.parametrize("kind", [Kind.ISSUED, Kind.REFUSED, Kind.START, Kind.NOTIFIED, Kind.NOT_NOTIFIED])
def test_daily_life_and_what_was_told_are_not_told(kind: Kind) -> None:
    assert notice_of(recorded(an_event(kind=kind))) is None


def test_no_name_breaks_a_line_turns_the_text_or_ends_a_command() -> None:
    hostile = Principal(("a'; rm -rf / #\nBcc: x@evil", "$(reboot)"), "EXAMPLE.COM")
    told = notice(about=hostile, why=("line\r\nbreak\x1b[31m",))
    for text in (told.happened, told.about or "", *told.why, *told.do):
        assert text.isprintable()
    assert told.why == ("line??break?[31m",)
    # The shell reads the name as one word.
    assert shlex.split(told.do[1]) == ["zerotrust-admin", "revoke-credentials", "--user", str(hostile)]


def test_there_is_no_command_for_a_name_that_can_only_be_printed_as_another() -> None:
    turned = Principal(("\N{RIGHT-TO-LEFT OVERRIDE}moc",), "EXAMPLE.COM")
    assert notice(about=turned).about == "?moc@EXAMPLE.COM"
    assert notice(about=turned).do == ("zerotrust-admin audit trace 6f1e2d",)
    assert notice(about=Principal(("a" * 700,), "R")).do == ("zerotrust-admin audit trace 6f1e2d",)


def test_a_name_or_reason_without_end_is_cut() -> None:
    told = notice(about=Principal(("a" * 5000,), "R"), why=("b" * 5000,) * 50)
    assert len(told.about or "") == 600
    assert len(told.why) == 10
    assert {len(sentence) for sentence in told.why} == {500}


def test_a_notice_survives_the_disk() -> None:
    told = notice()
    assert notice_of_members(told.members()) == told


def test_one_matter_is_the_same_kind_of_thing_about_the_same_principal() -> None:
    assert notice(1).matter == notice(2).matter
    assert notice(1).matter != notice(1, about=ROOT).matter
    assert notice(1).matter != notice(1, name="new_network").matter
    assert notice(1).matter != notice(1, severity=Severity.MEDIUM).matter
