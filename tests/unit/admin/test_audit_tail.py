"""`zerotrust-admin audit tail`: readable, harmless, and ended by SIGINT."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from broker.admin.cli import main
from broker.audit.event import Kind
from broker.audit.signer import jwks_of, signer_of
from broker.core.principal import Principal
from tests.fakes.audit import MASTER, Directory, Log
from tests.fakes.broker import PROGRAMS

MALLORY = Principal(("mallory\x1b]0;owned\x07\u202e",), "EXAMPLE.COM")


@pytest.fixture
def directory(tmp_path: Path) -> Directory:
    path = tmp_path / "audit"
    path.mkdir(mode=0o750)
    log = Log().add(2)
    nobody = {"access_key_id": None, "principal": MALLORY, "source_identity": MALLORY.session_name()}
    log.add(1, kind=Kind.REFUSED, success=False, reason="no_rule", **nobody)
    nothing = dict.fromkeys(("access_key_id", "role", "origin", "expiration"))
    log.add(
        1, kind=Kind.REVOKED, details={"about": "alice@EXAMPLE.COM"}, principal=None, source_identity=None, **nothing
    )
    return Directory(path=path, jwks=jwks_of(signer_of(MASTER))).put(log.checkpoint())


def tail(directory: Directory, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["audit", "tail", "--from", str(directory.path), *arguments])


def numbers(result: Result) -> list[int]:
    assert result.exit_code == 0
    return [json.loads(line)["seq"] for line in result.stdout.splitlines()]


def test_a_record_is_a_line_that_says_when_where_what_who_and_why_not(directory: Directory) -> None:
    _, issued, refused, _ = tail(directory).stdout.splitlines()
    assert issued == (
        "2026-01-31T12:00:02.123456Z host-1:2 issued alice@EXAMPLE.COM get_credentials developer ASIAEXAMPLE000000002"
        "  from=127.0.0.1 request=request-2 expiration=2026-01-31T13:00:00Z origin=sts"
    )
    assert refused.startswith(
        "2026-01-31T12:00:03.123456Z host-1:3 refused mallory\\x1b]0;owned\\x07\\u202e@EXAMPLE.COM "
        "get_credentials developer REFUSED no_rule"
    )


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_a_principal_cannot_paint_the_terminal(directory: Directory, more: list[str]) -> None:
    assert all(char.isprintable() or char == "\n" for char in tail(directory, *more).stdout)


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ([], [1, 2, 3, 4]),
        (["-n", "1"], [4]),
        (["-n", "0"], []),
        (["--failures"], [3]),
        (["--event", "issued", "-n", "1"], [2]),
        (["--user", "alice@EXAMPLE.COM"], [1, 2, 4]),
        (["--user", "alice@EXAMPLE.COM", "--event", "access_revoked"], [4]),
        (["--user", "nobody@EXAMPLE.COM"], []),
    ],
)
def test_what_is_asked_for_is_shown(directory: Directory, arguments: list[str], shown: list[int]) -> None:
    assert numbers(tail(directory, "--json", *arguments)) == shown


def test_an_event_that_is_none_is_refused_with_those_that_are(directory: Directory) -> None:
    result = tail(directory, "--event", "isued")
    assert (result.exit_code, "'issued'" in result.stderr) == (2, True)


def test_a_directory_that_is_not_there_is_named_with_the_fix(directory: Directory) -> None:
    result = tail(directory, "--from", "/nowhere")
    assert (result.exit_code, "/nowhere" in result.stderr, "fix:" in result.stderr) == (1, True, True)


def test_it_follows_across_rotation_until_it_is_interrupted(directory: Directory) -> None:
    log = Log().add(8)
    path = directory.records(b"".join(line + b"\n" for line in log.lines[:4]))
    command = [PROGRAMS / "zerotrust-admin", "audit", "tail", "-f", "-n", "1", "--json", "--from", directory.path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None

        def next_number() -> int:
            assert process.stdout is not None
            return int(json.loads(process.stdout.readline())["seq"])

        assert next_number() == 4
        with path.open("ab") as file:
            file.write(log.lines[4] + b"\n")
        assert next_number() == 5
        path.rename(path.with_suffix(".jsonl-1"))
        directory.records(b"".join(line + b"\n" for line in log.lines[5:]))
        assert [next_number() for _ in range(3)] == [6, 7, 8]
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=10)
    assert (process.returncode, rest, errors) == (130, "", "")
