"""`zerotrust-admin audit trace --cloudtrail`: each event of AWS is led back to its record, or is the finding."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from broker.admin.cli import main
from broker.audit.cloudtrail import events_in
from broker.audit.led_back import resolve
from broker.audit.search import chains_of
from broker.audit.signer import jwks_of, signer_of
from tests.fakes import cloudtrail
from tests.fakes.audit import MASTER, NOON, Directory, Log
from tests.fakes.sts.demo import BROKER_USER, DEVELOPER_ROLE, HUB_ROLE
from tests.unit.admin.test_audit_trace import at, intent, issued

ALICE = "alice@EXAMPLE.COM"
MADE, LATER = "a" * 24, "b" * 24
HUBS_KEY, KEY, STOLEN = "ASIAHUBHUBHUBHUBHUB2", "ASIADEVDEVDEVDEVDEV2", "ASIASTOLENSTOLEN2222"


def call(role: str, caller: str, key: str | None, *, after: float, **more: Any) -> dict[str, Any]:
    """An entry of the strict STS's log."""
    return {
        "caller_arn": caller,
        "role_arn": role,
        "session_name": ALICE,
        "source_identity": ALICE,
        "duration": 900,
        "tags": {},
        "transitive_tags": [],
        "access_key_id_issued": key,
        "outcome": "OK" if key else "AccessDenied",
        "time": (NOON + timedelta(seconds=after)).isoformat(),
        **more,
    }


def walk(*, after: float = 2.1, key: str | None = KEY, **hub: Any) -> list[dict[str, Any]]:
    """What the broker asks for alice: the hub, and from there the developer's role."""
    name = {member: hub[member] for member in ("session_name", "source_identity") if member in hub}
    session = cloudtrail.session_arn(HUB_ROLE, hub.get("session_name", ALICE))
    calls = [call(HUB_ROLE, BROKER_USER, HUBS_KEY, after=after, **hub)]
    return cloudtrail.of_calls([*calls, call(DEVELOPER_ROLE, session, key, after=after + 0.2, **name)])


def used(key: str, *, name: str = "GetObject", source_identity: str | None = ALICE, **more: Any) -> dict[str, Any]:
    identity = cloudtrail.session_identity(DEVELOPER_ROLE, ALICE, key, source_identity=source_identity)
    return cloudtrail.action(name, identity, time="2026-01-31T12:20:00Z", **more)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Directory:
    path = tmp_path_factory.mktemp("cloudtrail") / "audit"
    path.mkdir(mode=0o750)
    log = Log().add(1, **intent(MADE), **at(1)).add(1, **issued(MADE, KEY, MADE), **at(3))
    return Directory(path=path, jwks=jwks_of(signer_of(MASTER))).put(log.checkpoint())


def run(directory: Directory, events: object, *, raw: bytes | None = None, more: Sequence[str] = ("--json",)) -> Result:
    jwks = directory.path.parent / "jwks.json"
    jwks.write_text(json.dumps(directory.jwks))
    words = ["audit", "trace", "--from", str(directory.path), "--jwks", str(jwks), "--cloudtrail", "-", *more]
    data = json.dumps(events).encode() if raw is None else raw
    return CliRunner().invoke(main, words, env={"ZEROTRUST_CONFIG": "/nowhere"}, input=data)


def led(result: Result) -> list[str]:
    """``EVENT SEQ BY`` or ``EVENT WHY_NOT`` of each."""
    found: list[Mapping[str, Any]] = list(map(json.loads, result.stdout.splitlines()))
    return [
        f"{one['eventName']} {one['record']['seq']} {one['by']}"
        if one["record"]
        else f"{one['eventName']} {one['why_not']}"
        for one in found
    ]


def test_a_walk_and_what_was_done_with_its_key_lead_to_the_request(directory: Directory) -> None:
    result = run(directory, {"Records": [*walk(), used(KEY), used(KEY, name="DeleteObject")]})
    assert led(result) == [
        "AssumeRole 1 name and time",
        "AssumeRole 2 the key it made",
        "GetObject 2 its key",
        "DeleteObject 2 its key",
    ]
    assert (result.exit_code, result.stderr) == (0, "4 events have their record, 0 have none, 0 are of others\n")


def test_the_account_of_a_role_sees_less_and_it_is_enough(directory: Directory) -> None:
    result = run(directory, {"Records": [cloudtrail.across(event) for event in walk()]})
    assert (result.exit_code, led(result)) == (0, ["AssumeRole 1 name and time", "AssumeRole 2 the key it made"])


def test_an_assume_role_by_the_base_identity_that_nobody_asked_for_is_the_finding(directory: Directory) -> None:
    stolen = walk(after=3600, key=STOLEN)
    result = run(directory, {"Records": [*walk(), *stolen, used(STOLEN)]})
    assert result.exit_code == 1
    assert led(result)[2:] == [
        f"AssumeRole nobody's request for {ALICE} at that time",
        f"AssumeRole nobody's request for {ALICE} at that time",
        f"GetObject no record of the key {STOLEN}",
    ]
    people = run(directory, {"Records": stolen}, more=()).stdout.splitlines()
    assert people[0].startswith("NO RECORD 2026-01-31T13:00:00Z ")
    assert people[0].endswith(f" AssumeRole {HUB_ROLE} by {BROKER_USER}: nobody's request for {ALICE} at that time")


@pytest.mark.parametrize("after", [-40, 120, 3600])
def test_a_name_counts_only_as_long_as_a_walk_takes_and_clocks_differ(directory: Directory, after: float) -> None:
    assert led(run(directory, walk(after=after, key=STOLEN)))[0].startswith("AssumeRole nobody's request")


@pytest.mark.parametrize("after", [-29, 0, 2, 30])
def test_clocks_may_differ_by_half_a_minute(directory: Directory, after: float) -> None:
    assert led(run(directory, walk(after=after)))[0] == "AssumeRole 1 name and time"


def test_a_refused_hop_leads_to_the_request_too(directory: Directory) -> None:
    result = run(directory, walk(key=None))
    assert (result.exit_code, led(result)) == (0, ["AssumeRole 1 name and time"] * 2)
    assert json.loads(result.stdout.splitlines()[1])["error"] == "AccessDenied"


TAGGED = {"tags": {"ZeroTrustEvent": f"zt/{MADE}"}, "transitive_tags": ["ZeroTrustEvent"]}


def test_a_tag_of_the_event_leads_to_the_request_at_every_hop(directory: Directory) -> None:
    result = run(directory, walk(**TAGGED, key=None))
    assert (result.exit_code, led(result)) == (0, ["AssumeRole 1 its tag"] * 2)


@pytest.mark.parametrize(
    "changed", [{"after": 3600}, {"session_name": "mallory@EXAMPLE.COM"}], ids=["another time", "another name"]
)
def test_a_tag_that_was_copied_from_somebody_s_request_is_no_excuse(directory: Directory, changed: Any) -> None:
    result = run(directory, walk(**TAGGED, key=STOLEN, **changed))
    assert result.exit_code == 1
    assert led(result)[0] == f"AssumeRole its tag names a request of {ALICE}, or of another time"


def test_a_tag_of_a_request_that_nobody_recorded_is_none(directory: Directory) -> None:
    unknown = {"tags": {"ZeroTrustEvent": LATER}, "transitive_tags": ["ZeroTrustEvent"]}
    assert led(run(directory, walk(**unknown, key=STOLEN, after=3600)))[0].startswith("AssumeRole nobody's request")


def test_what_somebody_assumes_with_a_key_that_was_handed_out_is_theirs(directory: Directory) -> None:
    arn = cloudtrail.session_arn(DEVELOPER_ROLE, ALICE)
    elsewhere = "arn:aws:iam::444455556666:role/Elsewhere"
    further = cloudtrail.of_calls([*[call(DEVELOPER_ROLE, arn, KEY, after=2)], call(elsewhere, arn, STOLEN, after=600)])
    assert led(run(directory, further))[1] == "AssumeRole 2 its key"


def test_a_key_under_another_s_name_is_a_contradiction(directory: Directory) -> None:
    result = run(directory, [used(KEY, source_identity="mallory@EXAMPLE.COM")])
    assert (result.exit_code, led(result)) == (
        1,
        [f"GetObject its key was given to {ALICE}, and AWS names mallory@EXAMPLE.COM"],
    )


def test_services_and_users_are_of_others(directory: Directory) -> None:
    service = {"type": "AWSService", "invokedBy": "lambda.amazonaws.com"}
    user = {"type": "IAMUser", "arn": "arn:aws:iam::111122223333:user/ops", "accessKeyId": "AKIAIOSFODNN7EXAMPLE"}
    events = [
        cloudtrail.action("AssumeRole", service, time="2026-01-31T12:00:00Z", source="sts.amazonaws.com"),
        cloudtrail.action("ListBuckets", user, time="2026-01-31T12:00:00Z"),
        used(KEY),
    ]
    result = run(directory, events)
    assert (result.exit_code, led(result)) == (0, ["GetObject 2 its key"])
    assert "2 are of others" in result.stderr


def test_where_the_roles_are_known_others_are_passed_over_but_for_what_the_broker_s_own_identity_assumes(
    directory: Directory,
) -> None:
    other = "arn:aws:iam::999900001111:role/Other"
    somebody = "arn:aws:iam::999900001111:user/Somebody"
    calls = [call(other, caller, None, after=50, session_name="x") for caller in (somebody, BROKER_USER)]
    events = events_in(json.dumps([*walk(), *cloudtrail.of_calls(calls)]).encode())
    found, others = resolve(chains_of([directory.path]), events, roles={HUB_ROLE, DEVELOPER_ROLE})
    assert [(one.event.role, one.event.caller) for one in found if one.record is None] == [(other, BROKER_USER)]
    assert (len(found), others) == (3, 1)


def wrapped(events: list[dict[str, Any]]) -> dict[str, bytes]:
    """The same events in every shape that people have at hand."""
    looked_up = {"Events": [{"EventId": "x", "CloudTrailEvent": json.dumps(event)} for event in events]}
    return {
        "file": json.dumps({"Records": events}, indent=2).encode(),
        "gzip": gzip.compress(json.dumps({"Records": events}).encode()),
        "list": json.dumps(events).encode(),
        "lines": b"\n".join(json.dumps(event).encode() for event in events) + b"\n\n",
        "files in lines": b"\n".join(json.dumps({"Records": [event]}).encode() for event in events),
        "lookup-events": json.dumps(looked_up).encode(),
        "eventbridge": json.dumps(
            [{"detail-type": "AWS API Call via CloudTrail", "detail": event} for event in events]
        ).encode(),
    }


@pytest.mark.parametrize("shape", wrapped([]))
def test_events_are_read_in_every_shape_that_aws_gives_them(directory: Directory, shape: str) -> None:
    result = run(directory, None, raw=wrapped([*walk(), used(KEY)])[shape])
    assert (result.exit_code, len(led(result))) == (0, 3)


def test_a_single_event_is_one(directory: Directory) -> None:
    assert led(run(directory, used(KEY))) == ["GetObject 2 its key"]


@pytest.mark.parametrize(
    "raw", [b"", b"no json", b"{}", b"[1]", b"\x1f\x8bnot gzip", b'{"Events":[{"CloudTrailEvent":"{"}]}']
)
def test_what_is_not_cloudtrail_is_refused_with_the_fix(directory: Directory, raw: bytes) -> None:
    result = run(directory, None, raw=raw)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "fix: name a file of CloudTrail's events" in result.stderr


def test_a_file_without_events_concerns_nobody(directory: Directory) -> None:
    result = run(directory, {"Records": []})
    assert (result.exit_code, result.stdout) == (1, "")


def test_events_of_odd_types_are_led_nowhere_and_nothing_breaks(directory: Directory) -> None:
    odd = {"eventName": 7, "eventTime": "yesterday", "eventSource": "sts.amazonaws.com", "userIdentity": []}
    named = odd | {"eventName": "AssumeRole", "requestParameters": {"tags": ["x", {"key": 1}], "roleSessionName": 5}}
    result = run(directory, [odd, named, used(KEY) | {"eventTime": None}])
    assert led(result) == ["AssumeRole nobody's request for None at that time", "GetObject 2 its key"]


def test_many_events_of_many_people_are_resolved_by_one_reading(directory: Directory, tmp_path: Path) -> None:
    log, events = Log(), []
    for number in range(60):
        name, request, key = f"u{number}@EXAMPLE.COM", f"{number:024x}", f"ASIA{number:016}"
        log.add(1, **intent(request, source_identity=name), **at(number))
        log.add(1, **issued(request, key, request, source_identity=name), **at(number))
        hub = walk(after=number, key=key, session_name=name, source_identity=name)
        events += hub
    many = Directory(path=tmp_path / "audit", jwks=directory.jwks)
    many.path.mkdir()
    many.put(log)
    result = run(many, {"Records": events})
    assert result.exit_code == 0
    found = [json.loads(line)["record"]["source_identity"] for line in result.stdout.splitlines()]
    assert found == [f"u{number}@EXAMPLE.COM" for number in range(60) for _ in range(2)]
    assert datetime.fromisoformat(json.loads(result.stdout.splitlines()[0])["eventTime"])
