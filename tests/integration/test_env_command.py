"""``zerotrust env`` as a process, with a ticket of a real KDC."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from broker import wire
from tests.fakes import front_door
from tests.fakes.front_door import CREDENTIALS, FrontDoor
from tests.fakes.user_side import Terminal, zerotrust

if TYPE_CHECKING:
    from tests.fakes.realm import Realm

LINES = [
    f"export AWS_ACCESS_KEY_ID={CREDENTIALS['access_key_id']}",
    f"export AWS_SECRET_ACCESS_KEY={CREDENTIALS['secret_access_key']}",
    f"export AWS_SESSION_TOKEN={CREDENTIALS['session_token']}",
    f"export AWS_CREDENTIAL_EXPIRATION={CREDENTIALS['expiration']}",
]


@pytest.fixture(scope="module")
def alice(realm: Realm, tmp_path_factory: pytest.TempPathFactory, _door: FrontDoor) -> dict[str, str]:
    return {
        **realm.kinit("alice", tmp_path_factory.mktemp("alice") / "ccache"),
        "ZEROTRUST_BROKER_URL": _door.url,
    }


def test_the_keys_are_lines_for_a_posix_shell_and_nothing_else_is_said(door: FrontDoor, alice: dict[str, str]) -> None:
    done = zerotrust(alice, "env", "developer", "--scope", "readonly", "--reason", "INC-7")
    assert (done.returncode, done.stderr, done.stdout.splitlines()) == (0, "", LINES)
    asked = wire.parse_credentials_request(door.visits[0].body)
    assert (asked.role, asked.scope, asked.reason) == ("developer", "readonly", "INC-7")


def test_the_role_of_the_settings_will_do_and_the_one_that_is_named_goes_before(
    door: FrontDoor, alice: dict[str, str]
) -> None:
    settings = {**alice, "ZEROTRUST_ROLE": "auditor"}
    assert zerotrust(settings, "env").returncode == 0
    assert zerotrust(settings, "env", "developer").returncode == 0
    assert [wire.parse_credentials_request(visit.body).role for visit in door.visits] == ["auditor", "developer"]
    done = zerotrust(alice, "env")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "wrong usage (env needs ROLE) [usage] — run: zerotrust roles\n"


def test_variables_that_would_stand_beside_the_keys_are_unset_first(door: FrontDoor, alice: dict[str, str]) -> None:
    there = {"AWS_PROFILE": "other", "AWS_ACCESS_KEY_ID": "AKIA", "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://x"}
    done = zerotrust({**alice, **there}, "env", "developer")
    assert done.stdout.splitlines() == ["unset AWS_PROFILE AWS_CONTAINER_CREDENTIALS_FULL_URI", *LINES]


def test_process_is_the_line_of_credential_process(door: FrontDoor, alice: dict[str, str]) -> None:
    done = zerotrust(alice, "env", "developer", "--format", "process")
    assert done.stdout == zerotrust(alice, "credential-process", "--role", "developer").stdout
    variables = json.loads(zerotrust(alice, "env", "developer", "--format", "json").stdout)
    assert variables["AWS_SESSION_TOKEN"] == CREDENTIALS["session_token"]


def test_at_a_terminal_one_line_says_when_the_keys_end(door: FrontDoor, alice: dict[str, str], tmp_path: Path) -> None:
    with Terminal(alice, "-c", f"zerotrust env developer >{tmp_path}/lines", program="/bin/sh") as terminal:
        assert terminal.end() == 0
    assert (tmp_path / "lines").read_text().splitlines() == LINES
    assert terminal.seen.startswith("developer until 2037-01-01 ")
    assert terminal.seen.endswith(" h left); nothing renews these keys\r\n")


def test_a_refusal_prints_no_line_for_a_shell(door: FrontDoor, alice: dict[str, str]) -> None:
    door.reply = front_door.problem(403, "access_denied", hint="you may not have this role")
    done = zerotrust(alice, "env", "developer")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (4, "", 1)
    for words in (["--format", "csh"], ["--unset", "--format", "json"], ["developer", "more"]):
        done = zerotrust(alice, "env", *words)
        assert (done.returncode, done.stdout) == (2, "")
        assert "[usage] — run: zerotrust " in done.stderr


def test_taking_the_keys_away_asks_nobody(door: FrontDoor) -> None:
    done = zerotrust({}, "env", "--unset", "--format", "fish")
    assert done.stdout.splitlines() == [f"set -e {line.split('=')[0].split()[1]}" for line in LINES]
    assert door.visits == []
