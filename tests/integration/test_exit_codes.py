"""The exit statuses that scripts rely on, of every command that asks the broker: one failure, one status, one line."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.fakes import front_door
from tests.fakes.front_door import FrontDoor
from tests.fakes.realm import Realm
from tests.fakes.user_side import zerotrust
from zerotrust_kerberos.commands import COMMANDS

FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"
_ID = "0" * 32
ASKING = {
    "credential-process": ("--role", "developer"),
    "env": ("developer",),
    "console": ("developer", "--print"),
    "serve": ("--role", "developer"),
    "roles": (),
    "whoami": (),
    "explain": ("developer",),
    "request": ("--role", "developer", "--reason", "INC-1"),
    "requests": (),
    "approve": (_ID,),
    "deny": (_ID,),
    "exec": ("developer", "--", "true"),
    "shell": ("developer",),
    "fetch": ("prod/db", "--to", "{home}"),
    "logout": ("--everywhere",),
    "configure": ("--diff",),
}
# Says what it found instead (test_client_doctor.py), asks nobody, or stays and says so to who asks it.
OTHERS = {"login", "doctor", "completion", "version", "help", "agent"}
# Of the interface: code, status, and what the broker answers where it is asked.
FAILURES = [
    ("no_ticket", 3, 0),
    ("access_denied", 4, 403),
    ("broker_unreachable", 5, 0),
    ("sts_rejected", 6, 502),
    ("approval_required", 7, 403),
    ("rate_limited", 8, 429),
    ("clock_skew", 9, 0),
]


@pytest.fixture(scope="module")
def door(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontDoor]:
    with FrontDoor.tcp(realm.keytab(tmp_path_factory.mktemp("door") / "keytab", "HTTP/localhost")) as door:
        yield door


def test_no_command_is_forgotten() -> None:
    assert set(ASKING) | OTHERS == set(COMMANDS)


@pytest.mark.parametrize("failure", FAILURES, ids=[code for code, _, _ in FAILURES])
def test_every_command_ends_with_the_status_of_its_failure(
    realm: Realm, door: FrontDoor, tmp_path: Path, failure: tuple[str, int, int]
) -> None:
    code, status, answer = failure
    env = {
        **realm.kinit("alice", tmp_path / "ccache"),
        "ZEROTRUST_BROKER_URL": "http://localhost:1" if code == "broker_unreachable" else door.url,
        "HOME": str(tmp_path),
        "TMPDIR": str(tmp_path),
    }
    if code == "no_ticket":
        env["KRB5CCNAME"] = f"FILE:{tmp_path}/none"
    if code == "clock_skew":
        env |= {"LD_PRELOAD": FAKETIME, "FAKETIME": "+20m", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    if answer:
        door.reply = front_door.problem(answer, code)

    def ended(name: str) -> tuple[int, str, str]:
        done = zerotrust(env, name, *(word.format(home=tmp_path) for word in ASKING[name]))
        return done.returncode, done.stdout, done.stderr

    with ThreadPoolExecutor(4) as pool:
        found = dict(zip(ASKING, pool.map(ended, ASKING), strict=True))
    for name, (returned, out, said) in found.items():
        assert (returned, out, said.count("\n")) == (status, "", 1), (name, said)
        assert f" [{code}] — run: " in said, (name, said)
