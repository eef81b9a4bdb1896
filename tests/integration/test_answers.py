"""``whoami``, ``roles``, ``explain`` and time boxes as a user's processes: on a terminal, in a pipe, for a program."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from broker import wire, wire_elevation, wire_standing
from tests.fakes import front_door
from tests.fakes.front_door import FrontDoor, Visit
from tests.fakes.terminal import on_terminal
from zerotrust_kerberos.commands import read
from zerotrust_kerberos.failures import Place
from zerotrust_kerberos.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fakes.realm import Realm

ROOT = Path(__file__).parents[2]
ENDS = "2037-01-01T00:00:00Z"
WHOAMI = wire.whoami_body(
    principal="alice@EXAMPLE.COM",
    realm="EXAMPLE.COM",
    name_type="user",
    ticket_ends=ENDS,
    accounts=[{"account": "111122223333", "account_alias": "prod", "production": True}, {"account": "999900001111"}],
)
ROLES = wire.roles_body(
    [
        {
            "name": "developer",
            "account": "111122223333",
            "account_alias": "prod",
            "role_arn": "arn:aws:iam::111122223333:role/Developer",
            "scopes": ["readonly", "s3"],
            "needs": [],
            "production": True,
        },
        {"name": "auditor", "account": "999900001111", "role_arn": "arn:a", "scopes": [], "needs": ["reason"]},
    ]
)
ID = "5f0c2a7e9b1d4c3fa6e8d7b2c1f09e3d"
BOX = {
    "id": ID,
    "state": "pending",
    "user": "alice@EXAMPLE.COM",
    "role": "developer",
    "scope": None,
    "reason": "=INC-7: \x1b[31mfailover",
    "asked": "2036-12-31T23:00:00Z",
    "expires": ENDS,
    "duration": 1800,
    "ends": None,
    "needed": 2,
    "approvals": ["bob@EXAMPLE.COM"],
    "break_glass": False,
    "mine": False,
    "may_decide": True,
}


@pytest.fixture(scope="module")
def _door(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontDoor]:
    keytab = realm.keytab(tmp_path_factory.mktemp("answers") / "keytab", "HTTP/localhost")
    with FrontDoor.tcp(keytab) as door:
        yield door


@pytest.fixture
def door(_door: FrontDoor) -> FrontDoor:
    _door.visits.clear()
    return _door


class User:
    """Somebody with a ticket at a keyboard."""

    def __init__(self, env: dict[str, str]) -> None:
        self.env = env

    def pipes(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        whole = {**self.env, **env}
        return subprocess.run(
            self._command(words), env=whole, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
        )

    def sees(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        return on_terminal(self._command(words), {**self.env, "TERM": "xterm", **env}, cwd=ROOT)

    @staticmethod
    def _command(words: tuple[str, ...]) -> list[str]:
        return [sys.executable, "-m", "zerotrust_kerberos", *words]


@pytest.fixture(scope="module")
def alice(realm: Realm, _door: FrontDoor, tmp_path_factory: pytest.TempPathFactory) -> User:
    login = realm.kinit("alice", tmp_path_factory.mktemp("alice") / "ccache")
    return User({**login, "ZEROTRUST_BROKER_URL": _door.url})


def test_whoami_in_a_pipe_is_a_name_and_a_value_a_line(door: FrontDoor, alice: User) -> None:
    door.reply = front_door.body(WHOAMI)
    done = alice.pipes("whoami")
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert lines[0] == ["principal", "alice@EXAMPLE.COM"]
    assert [value for name, value in lines if name == "account"] == ["111122223333 (prod, production)", "999900001111"]
    assert lines[-1][0] == "ticket_seconds_left"
    assert int(lines[-1][1]) > 0
    assert door.visits[0].head.startswith("GET /v1/whoami HTTP/1.1\r\n")
    assert json.loads(alice.pipes("whoami", "--json").stdout) == json.loads(WHOAMI)


def test_whoami_on_a_terminal_says_how_long_the_ticket_lasts(door: FrontDoor, alice: User) -> None:
    door.reply = front_door.body(WHOAMI)
    text = alice.sees("whoami", NO_COLOR="1").stdout
    assert "principal    alice@EXAMPLE.COM\n" in text
    assert f"ticket ends  {ENDS} (" in text
    assert " h left)\n" in text


def test_whoami_says_how_long_keys_in_the_environment_last(door: FrontDoor, alice: User) -> None:
    door.reply = front_door.body(WHOAMI)
    ours = {"AWS_CREDENTIAL_EXPIRATION": ENDS}
    seen = alice.sees("whoami", NO_COLOR="1", **ours).stdout.splitlines()
    assert any(re.fullmatch(rf"keys end +{ENDS} \([^)]+ left\)", line) for line in seen)
    lines = dict(line.split("\t") for line in alice.pipes("whoami", **ours).stdout.splitlines())
    assert lines["keys_end"] == ENDS
    assert int(lines["keys_seconds_left"]) > 0
    over = dict(
        line.split("\t")
        for line in alice.pipes("whoami", AWS_CREDENTIAL_EXPIRATION="2001-01-01T00:00:00Z").stdout.splitlines()
    )
    assert over["keys_seconds_left"] == "0"
    assert "keys" not in alice.pipes("whoami", AWS_CREDENTIAL_EXPIRATION="soon").stdout


def test_roles_in_a_pipe_have_every_column_whatever_is_in_it(door: FrontDoor, alice: User) -> None:
    door.reply = front_door.body(ROLES)
    assert [line.split("\t") for line in alice.pipes("roles").stdout.splitlines()] == [
        [
            "developer",
            "111122223333",
            "prod",
            "production",
            "readonly,s3",
            "",
            "arn:aws:iam::111122223333:role/Developer",
        ],
        ["auditor", "999900001111", "", "", "", "reason", "arn:a"],
    ]
    assert door.visits[0].head.startswith("GET /v1/roles HTTP/1.1\r\n")
    assert json.loads(alice.pipes("roles", "--json").stdout) == json.loads(ROLES)
    head, *rows = csv.reader(io.StringIO(alice.pipes("roles", "--format", "csv").stdout))
    assert head == ["role", "account", "alias", "stage", "scopes", "needs", "arn"]
    assert rows[1][0] == "auditor"


def test_roles_on_a_terminal_are_a_table_with_production_in_red(door: FrontDoor, alice: User) -> None:
    door.reply = front_door.body(ROLES)
    plain = (
        "ROLE       ACCOUNT       ALIAS  STAGE       SCOPES       NEEDS\n"
        "developer  111122223333  prod   production  readonly,s3\n"
        "auditor    999900001111                                  reason\n"
    )
    assert alice.sees("roles", NO_COLOR="1").stdout == plain
    coloured = alice.sees("roles").stdout
    assert "\x1b[31mproduction\x1b[0m" in coloured
    assert alice.pipes("roles", "--format", "table").stdout == plain


def test_no_roles_at_all_print_nothing(door: FrontDoor, alice: User) -> None:
    door.reply = front_door.body(wire.roles_body([]))
    done = alice.pipes("roles")
    assert (done.returncode, done.stdout) == (0, "")
    assert alice.sees("roles").stdout == ""


@pytest.mark.parametrize(
    ("verdict", "needs", "ends"),
    [
        ("allowed", [], (0, "zerotrust credential-process --role developer")),
        ("step_up", [], (7, "zerotrust login --step-up developer")),
        ("approval", ["reason"], (7, "zerotrust credential-process --role developer --reason TEXT")),
        ("approval", ["approval", "reason"], (7, "zerotrust request --role developer --reason TEXT")),
        ("denied", [], (4, "zerotrust roles")),
    ],
)
def test_explain_ends_as_asking_for_the_role_would_and_says_what_to_type(
    verdict: str, needs: list[str], ends: tuple[int, str], door: FrontDoor, alice: User
) -> None:
    status, run = ends
    door.reply = front_door.body(wire_standing.prospect_body({"verdict": verdict, "hint": "do this", "needs": needs}))
    done = alice.pipes("explain", "developer")
    assert (done.returncode, done.stderr) == (status, "")
    shown = [f"needs\t{','.join(needs)}"] if needs else []
    assert done.stdout.splitlines() == [
        "role\tdeveloper", f"verdict\t{verdict}", "hint\tdo this", *shown, f"run\t{run}",
    ]  # fmt: skip
    assert door.visits[0].head.startswith("GET /v1/explain/developer HTTP/1.1\r\n")
    assert door.visits[0].body == b""
    words = run.split()[1:]
    assert read(words, watch=Watch(lambda _: None), place=Place(words))


def test_explain_says_what_a_new_ticket_must_be_like(door: FrontDoor, alice: User) -> None:
    step_up = {"indicators": ["pkinit", "otp"], "max_ticket_age": 600, "channel_binding": True}
    answer = {"verdict": "step_up", "hint": "x", "needs": [], "step_up": step_up}
    door.reply = front_door.body(wire_standing.prospect_body(answer))
    lines = alice.pipes("explain", "developer").stdout.splitlines()
    assert lines[3:6] == ["indicators\tpkinit,otp", "max_ticket_age\t600", "channel_binding\tyes"]
    assert json.loads(alice.pipes("explain", "developer", "--json").stdout) == answer


def test_explain_without_a_role_tells_of_all(door: FrontDoor, alice: User) -> None:
    rows = [
        {"role": "developer", "verdict": "allowed", "hint": "ask for it", "needs": []},
        {"role": "admin", "verdict": "approval", "hint": "say why", "needs": ["approval", "reason"]},
    ]
    door.reply = front_door.body(wire_standing.prospects_body(rows))
    done = alice.pipes("explain")
    assert (done.returncode, done.stdout) == (
        0,
        "developer\tallowed\t\task for it\nadmin\tapproval\tapproval,reason\tsay why\n",
    )
    assert door.visits[0].head.startswith("GET /v1/explain HTTP/1.1\r\n")


def test_explain_believes_no_verdict_that_there_is_not(door: FrontDoor, alice: User) -> None:
    door.reply = front_door.body(b'{"verdict": "perhaps", "hint": "x"}')
    done = alice.pipes("explain", "developer")
    assert (done.returncode, done.stdout) == (1, "")
    assert "[unexpected_answer]" in done.stderr


def test_explain_asks_for_nothing_that_is_no_name(door: FrontDoor, alice: User) -> None:
    assert alice.pipes("explain", "../admin").returncode == 2
    assert door.visits == []


def test_requests_are_listed_for_those_who_decide(door: FrontDoor, alice: User) -> None:
    door.reply = front_door.body(wire_elevation.requests_body([BOX]))
    (row,) = [line.split("\t") for line in alice.pipes("requests").stdout.splitlines()]
    assert row == [ID, "pending", "alice@EXAMPLE.COM", "developer", ENDS, "1 of 2", "decide", "=INC-7: ?[31mfailover"]
    text = alice.sees("requests", NO_COLOR="1").stdout
    assert "left)" in text
    assert "\x1b" not in text
    assert "'=INC-7" in alice.pipes("requests", "--format", "csv").stdout


@pytest.mark.parametrize(
    ("words", "body"),
    [(["approve", ID], None), (["deny", ID], None), (["deny", ID, "--reason", "not now"], {"reason": "not now"})],
)
def test_approvers_say_yes_or_no_from_their_own_prompt(
    words: list[str], body: object, door: FrontDoor, alice: User
) -> None:
    door.reply = front_door.body(wire_elevation.request_body({**BOX, "scope": "s"}))
    done = alice.pipes(*words)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{ID} pending: 1 of 2 approvals, until {ENDS}\n"
    (visit,) = door.visits
    assert visit.head.startswith(f"POST /v1/requests/{ID}/{words[0]} HTTP/1.1\r\n")
    assert (json.loads(visit.body) if visit.body else None) == body


@pytest.mark.parametrize("word", ["x", "../../v1/roles", ID[:-1], f"{ID}0", ID[:-1] + "é"])
def test_what_is_no_id_is_not_sent(word: str, door: FrontDoor, alice: User) -> None:
    for command in ("approve", "deny"):
        assert alice.pipes(command, word).returncode == 2
    assert door.visits == []


def test_whoever_asks_is_told_what_an_approver_has_to_type(door: FrontDoor, alice: User) -> None:
    door.reply = front_door.body(wire_elevation.request_body(BOX))
    asked = ("request", "--role", "developer", "--reason", "INC-7", "--duration", "30m")
    done = alice.pipes(*asked)
    assert done.stdout == f"{ID} pending: 1 of 2 approvals, until {ENDS}\n"
    assert done.stderr == f"now an approver has to run: zerotrust approve {ID}\n"
    assert json.loads(door.visits[0].body) == {"role": "developer", "reason": "INC-7", "duration": "30m"}
    as_json = alice.pipes(*asked, "--json")
    assert (json.loads(as_json.stdout), as_json.stderr) == (BOX, "")


def test_in_an_emergency_the_glass_is_broken_from_the_users_own_prompt(door: FrontDoor, alice: User) -> None:
    open_box = {**BOX, "state": "open", "ends": ENDS, "approvals": [], "needed": 0, "break_glass": True}
    door.reply = front_door.body(wire_elevation.request_body(open_box))
    done = alice.pipes("request", "--role", "developer", "--reason", "all is down", "--break-glass")
    assert done.stdout == f"{ID} open: the glass is broken, until {ENDS}\n"
    assert done.stderr == "now it is open: zerotrust credential-process --role developer\n"
    assert json.loads(door.visits[0].body)["break_glass"] is True


def test_answers_of_another_shape_are_not_guessed_at(door: FrontDoor, alice: User) -> None:
    for words, body in (
        (["whoami"], b"{}"),
        (["roles"], b'{"roles": {}}'),
        (["roles"], b'{"roles": [1]}'),
        (["requests"], b"{}"),
        (["approve", ID], b'{"id": 1}'),
        (["explain"], b"{}"),
        (["whoami"], b"[]"),
        (["whoami"], b"\xff"),
    ):

        def reply(visit: Visit, body: bytes = body) -> None:
            visit.answer(200, body, visit.negotiate())

        door.reply = reply
        done = alice.pipes(*words)
        assert (done.returncode, done.stdout) == (1, ""), words
        assert "[unexpected_answer]" in done.stderr


def test_somebody_at_a_terminal_sees_that_there_is_something_to_wait_for(door: FrontDoor, alice: User) -> None:
    said = front_door.body(ROLES)

    def slow(visit: Visit) -> None:
        time.sleep(0.8)
        said(visit)

    door.reply = slow
    command = [sys.executable, "-m", "zerotrust_kerberos", "roles"]
    seen = on_terminal(command, {**alice.env, "TERM": "xterm"}, cwd=ROOT, out=False, err=True)
    assert seen.stderr == "waiting for the broker...\r\x1b[K"
    assert len(seen.stdout.splitlines()) == 2
    assert alice.pipes("roles").stderr == ""
