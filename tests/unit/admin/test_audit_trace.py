"""`zerotrust-admin audit trace`: the whole story of a key, a request or a person."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from broker.admin.cli import main
from broker.audit.event import Kind
from broker.audit.signer import jwks_of, signer_of
from broker.audit.succession import succeeded
from broker.core.principal import Principal
from tests.fakes.audit import MASTER, NOON, Directory, Log
from tests.fakes.broker import configuration

KEY, NEXT, OTHER = "ASIAEXAMPLE000000001", "ASIAEXAMPLE000000002", "ASIAEXAMPLE000000003"
# Request ids as the doors make them.
MADE, SHARED, ELSEWHERE, BOBS = (character * 24 for character in "abcd")
BOB = Principal(("bob",), "EXAMPLE.COM")
OPERATOR = Principal(("root", "admin"), "EXAMPLE.COM")


def at(seconds: int) -> dict[str, Any]:
    return {"timestamp": NOON + timedelta(seconds=seconds)}


def intent(request: str, **more: Any) -> dict[str, Any]:
    return {"kind": Kind.INTENT, "request_id": request, "access_key_id": None, "expiration": None, "origin": None} | {
        "details": {"via": "ticket", "rule": "engineers"},
        **more,
    }


def issued(request: str, key: str, made_for: str, **more: Any) -> dict[str, Any]:
    return {"request_id": request, "access_key_id": key, "origin": "sts" if request == made_for else "cache"} | {
        "details": {"via": "ticket", "minted_by": made_for},
        **more,
    }


def revoked(about: str, kind: Kind = Kind.REVOKED) -> dict[str, Any]:
    nothing = dict.fromkeys(("role", "account", "access_key_id", "expiration", "origin"))
    by = {"principal": OPERATOR, "source_identity": OPERATOR.session_name()}
    return {"kind": kind, "request_id": "e" * 24, "details": {"about": about}, **nothing, **by}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Directory:
    """Two instances. KEY was made for MADE, given to SHARED and ELSEWHERE too, and SHARED caused NEXT to be made."""
    path = tmp_path_factory.mktemp("trace") / "audit"
    path.mkdir(mode=0o750)
    one, other = Log(instance="host-1"), Log(instance="host-2")
    one.add(1, **revoked("alice@EXAMPLE.COM"), **at(0))
    one.add(1, **intent(MADE, indicators=frozenset({"otp"})), **at(1))
    one.add(1, **issued(MADE, KEY, MADE), **at(2))
    one.add(1, **issued(SHARED, KEY, MADE), **at(4))
    one.add(1, **intent(SHARED, action="renew_credentials"), **at(5))
    one.add(1, **issued(SHARED, NEXT, SHARED, kind=Kind.FETCHED, action="renew_credentials"), **at(6))
    other.add(1, **issued(ELSEWHERE, KEY, MADE), **at(3))
    bob = {"principal": BOB, "source_identity": "bob@EXAMPLE.COM"}
    other.add(1, **issued(BOBS, OTHER, BOBS, **bob), **at(7))
    other.add(1, **revoked("bob@EXAMPLE.COM"), **at(8))
    other.add(1, **revoked("alice@EXAMPLE.COM"), **at(9))
    other.add(1, **revoked("*"), **at(10))
    found = Directory(path=path, jwks=jwks_of(signer_of(MASTER)))
    return found.put(one.checkpoint()).put(other.checkpoint())


@pytest.fixture(scope="module")
def jwks(directory: Directory) -> Path:
    path = directory.path.parent / "jwks.json"
    path.write_text(json.dumps(directory.jwks))
    return path


def run(directory: Directory, jwks: Path, *arguments: str, stdin: bytes | str | None = None) -> Result:
    words = ["audit", "trace", "--from", str(directory.path), "--jwks", str(jwks), *arguments]
    return CliRunner().invoke(main, words, env={"ZEROTRUST_CONFIG": "/nowhere"}, input=stdin)


def told(result: Result) -> tuple[list[Mapping[str, Any]], Mapping[str, Any]]:
    *records, summary = map(json.loads, result.stdout.splitlines())
    return records, summary


def places(records: list[Mapping[str, Any]]) -> list[str]:
    return [f"{one['record']['instance']}:{one['record']['seq']}" for one in records]


THE_STORY = ["host-1:2", "host-1:3", "host-2:1", "host-1:4", "host-2:4", "host-2:5"]


def test_a_key_s_story_is_told_across_instances_from_the_intent_to_what_was_revoked_since(
    directory: Directory, jwks: Path
) -> None:
    result = run(directory, jwks, KEY, "--json")
    assert result.exit_code == 0
    records, summary = told(result)
    assert places(records) == THE_STORY
    assert {one["signature"] for one in records} == {"good"}
    assert summary == {
        "asked": KEY,
        "what": "access_key_id",
        "found": True,
        "records": 6,
        "bad_signatures": 0,
        "account_of_key": None,
        "user": "alice@EXAMPLE.COM",
        "role": "developer",
        "account": "111122223333",
        "access_key_id": KEY,
        "rule": "engineers",
        "minted_by": MADE,
        "handed_out": 3,
        "expiration": "2026-01-31T13:00:00Z",
        "last_revocation": {
            "timestamp": "2026-01-31T12:00:10.123456Z",
            "event": "access_revoked",
            "user": "root/admin@EXAMPLE.COM",
            "about": "*",
        },
    }


def test_people_read_the_same_a_line_a_record_and_what_it_comes_to_last(directory: Directory, jwks: Path) -> None:
    lines = run(directory, jwks, KEY).stdout.splitlines()
    assert len(lines) == len(THE_STORY) + 3
    assert all(line.endswith("[signature good]") for line in lines[:-3])
    assert lines[0].startswith(
        "2026-01-31T12:00:01.123456Z host-1:2 intent alice@EXAMPLE.COM get_credentials developer"
    )
    assert lines[-3:] == [
        f"{KEY}: alice@EXAMPLE.COM as developer in account 111122223333",
        f"  by rule engineers, ticket (otp); made for request {MADE}; handed out 3 times",
        "  ended 2026-01-31T13:00:00Z; last access_revoked 2026-01-31T12:00:10.123456Z by root/admin@EXAMPLE.COM",
    ]


@pytest.mark.parametrize("request_id", [ELSEWHERE, MADE])
def test_a_request_leads_to_the_story_of_its_key_the_one_that_it_was_served_from_the_cache_with_too(
    directory: Directory, jwks: Path, request_id: str
) -> None:
    assert places(told(run(directory, jwks, request_id, "--json"))[0]) == THE_STORY


def test_a_request_that_was_given_one_key_and_renewed_another_tells_of_both(directory: Directory, jwks: Path) -> None:
    found = places(told(run(directory, jwks, SHARED, "--json"))[0])
    assert found == [*THE_STORY[:4], "host-1:5", "host-1:6", *THE_STORY[4:]]


def test_what_a_renewal_made_is_told_without_the_key_that_it_renewed(directory: Directory, jwks: Path) -> None:
    found = places(told(run(directory, jwks, NEXT, "--json"))[0])
    assert found == ["host-1:5", "host-1:6", *THE_STORY[4:]]


@pytest.mark.parametrize(
    "name",
    [
        "bob@EXAMPLE.COM",
        "arn:aws:sts::111122223333:assumed-role/Developer/bob@EXAMPLE.COM",
        "AROAEXAMPLEROLEID234:bob@EXAMPLE.COM",
    ],
)
def test_a_person_has_all_their_records_by_whatever_name_aws_gives_them(
    directory: Directory, jwks: Path, name: str
) -> None:
    records, summary = told(run(directory, jwks, name, "--json"))
    assert places(records) == ["host-2:2", "host-2:3"]
    assert (summary["asked"], summary["handed_out"]) == ("bob@EXAMPLE.COM", 1)


def test_an_operator_is_found_as_aws_spells_them_and_as_klist_does(directory: Directory, jwks: Path) -> None:
    found = [places(told(run(directory, jwks, name, "--json"))[0]) for name in (str(OPERATOR), OPERATOR.session_name())]
    assert found == [["host-1:1", "host-2:3", "host-2:4", "host-2:5"]] * 2


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("ASIAY34FZKBOKMUTVV7A", "an AWS key of account 609629065308, not handed out by this log"),
        ("ASIAEXAMPLE000000009", "an AWS key, not handed out by this log"),
        ("AKIAY34FZKBOKMUTVV7A", "an AWS user's long-term key of account 609629065308; the broker hands out none"),
        ("f" * 24, "no record"),
        ("mallory@EXAMPLE.COM", "no record"),
    ],
)
def test_what_is_not_found_is_said_and_is_exit_status_1(
    directory: Directory, jwks: Path, asked: str, said: str
) -> None:
    result = run(directory, jwks, asked)
    assert (result.exit_code, result.stdout) == (1, f"{asked}: {said}\n")
    assert told(run(directory, jwks, asked, "--json"))[1]["found"] is False


def test_several_are_read_from_the_standard_input_and_one_that_is_unknown_makes_it_1(
    directory: Directory, jwks: Path
) -> None:
    assert run(directory, jwks, "-", stdin=f"{KEY}\n\n {OTHER} \n").exit_code == 0
    result = run(directory, jwks, "-", OTHER, stdin="ASIAEXAMPLE000000009\n")
    assert (result.exit_code, "bob@EXAMPLE.COM as developer" in result.stdout) == (1, True)


def test_a_record_that_was_changed_is_shown_with_what_is_wrong(
    directory: Directory, jwks: Path, tmp_path: Path
) -> None:
    changed = Directory(path=tmp_path, jwks=directory.jwks)
    content = (directory.path / "audit-host-1.jsonl").read_bytes()
    changed.records(content.replace(b'"source_ip":"127.0.0.1"', b'"source_ip":"127.0.0.9"'))
    records, summary = told(run(changed, jwks, KEY, "--json"))
    assert {one["signature"] for one in records} == {"the signature does not match"}
    assert summary["bad_signatures"] == len(records)
    assert "[BAD: the signature does not match]" in run(changed, jwks, KEY).stdout
    foreign = tmp_path / "foreign.json"
    foreign.write_text(json.dumps(jwks_of(signer_of(bytes(32)))))
    assert "[BAD: no key" in run(directory, foreign, KEY).stdout


def test_who_asked_for_an_elevation_and_who_approved_it_belongs_to_the_story(
    directory: Directory, jwks: Path, tmp_path: Path
) -> None:
    box, nothing = {"elevation": "box-1"}, dict.fromkeys(("access_key_id", "expiration", "origin"))
    log = Log().add(1, kind=Kind.ELEVATION_REQUESTED, request_id="1" * 24, details=box, **nothing)
    log.add(1, kind=Kind.ELEVATION_APPROVED, request_id="2" * 24, details=box, principal=BOB, **nothing)
    log.add(1, kind=Kind.ELEVATION_APPROVED, request_id="3" * 24, details={"elevation": "box-2"}, **nothing)
    log.add(1, request_id=MADE, access_key_id=KEY, details={"minted_by": MADE, **box})
    log.add(1, request_id=SHARED, access_key_id=OTHER, details={"minted_by": SHARED, **box})
    elevated = Directory(path=tmp_path, jwks=directory.jwks).put(log)
    assert places(told(run(elevated, jwks, KEY, "--json"))[0]) == ["host-1:1", "host-1:2", "host-1:4"]


def test_no_name_can_paint_the_terminal(directory: Directory, jwks: Path, tmp_path: Path) -> None:
    painted = Directory(path=tmp_path, jwks=directory.jwks)
    painter = Principal(("\x1b[2J\u202e\x9b31m\x7f",), "EXAMPLE.COM")
    painted.put(Log().add(1, principal=painter, access_key_id=KEY))
    for more in ([], ["--json"]):
        shown = run(painted, jwks, KEY, *more).stdout
        assert all(char.isprintable() or char == "\n" for char in shown)
    assert "\\x1b[2J\\u202e\\x9b31m\\x7f@EXAMPLE.COM" in run(painted, jwks, KEY).stdout
    assert told(run(painted, jwks, KEY, "--json"))[1]["user"] == str(painter)


def test_a_bad_configuration_is_78_and_a_missing_file_names_the_fix(directory: Directory, jwks: Path) -> None:
    assert CliRunner().invoke(main, ["audit", "trace", KEY, "--config", "/nowhere"]).exit_code == 78
    result = run(directory, jwks, KEY, "--from", "/nowhere")
    assert (result.exit_code, "fix: name record files" in result.stderr) == (1, True)
    assert run(directory, jwks).exit_code == 2
    assert run(directory, jwks, KEY, "--cloudtrail", str(jwks)).exit_code == 2


def test_an_operator_s_shell_needs_none_of_the_keys_for_aws_that_are_in_the_broker_s_environment(
    directory: Directory, tmp_path: Path
) -> None:
    settings = configuration(
        tmp_path,
        keytab=tmp_path / "keytab",
        sts_endpoint="http://127.0.0.1:1",
        audit={"directory": str(directory.path)},
    )
    (tmp_path / "keytab").touch(mode=0o600)
    (tmp_path / "encryption_key").write_bytes(base64.b64encode(MASTER))
    config = tmp_path / "config.yaml"
    config.touch(mode=0o600)
    config.write_text(json.dumps(settings))
    nothing = {"AWS_ACCESS_KEY_ID": None, "ZEROTRUST_AWS_SECRET_KEY": None}
    result = CliRunner().invoke(main, ["audit", "trace", MADE, "--config", str(config)], env=nothing)
    assert result.exit_code == 0, result.stderr
    assert KEY in result.stdout


def test_records_of_a_broker_that_did_not_say_for_whom_keys_were_made_tell_it_all_the_same(
    directory: Directory, jwks: Path, tmp_path: Path
) -> None:
    older = Directory(path=tmp_path, jwks=directory.jwks)
    older.put(Log().add(1, **intent(MADE)).add(1, request_id=MADE, access_key_id=KEY, details={"via": "ticket"}))
    records, summary = told(run(older, jwks, KEY, "--json"))
    assert (places(records), summary["minted_by"]) == (["host-1:1", "host-1:2"], MADE)


def test_a_record_by_a_key_that_the_log_certifies_is_no_bad_one(tmp_path: Path) -> None:
    directory = Directory(path=tmp_path, jwks=jwks_of(signer_of(MASTER)))
    log, successor = Log(), signer_of(bytes(32))
    log.append(succeeded(successor.jwk(), timestamp=NOON))
    log.signer = successor
    log.add(1, **issued(MADE, KEY, MADE))
    directory.put(log)
    (tmp_path / "jwks.json").write_text(json.dumps(directory.jwks))
    result = run(directory, tmp_path / "jwks.json", KEY)
    assert result.exit_code == 0, result.output
    assert "no key" not in result.output
    log.signer = signer_of(b"s" * 32)
    directory.put(log.add(1, **issued(SHARED, KEY, MADE)))
    assert "no key" in run(directory, tmp_path / "jwks.json", KEY).output
