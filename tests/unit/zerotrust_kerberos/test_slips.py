"""Slips of the finger: the line says what was meant, and how to write it."""

from __future__ import annotations

import pytest

from zerotrust_kerberos import cli
from zerotrust_kerberos.completion import names
from zerotrust_kerberos.denied import with_role_meant
from zerotrust_kerberos.failures import Failure, Place
from zerotrust_kerberos.slips import meant

KNOWN = ["credential-process", "exec", "shell", "env", "roles", "whoami", "help"]


@pytest.mark.parametrize(
    ("said", "found"),
    [
        *[
            ("rols", "roles"),
            ("whomi", "whoami"),
            ("exce", "exec"),
            ("shel", "shell"),
            ("evn", "env"),
            ("ROLES", "roles"),
        ],
        *[("credential", "credential-process"), ("--rol", "roles"), ("who", "whoami")],
        *[("list", None), ("x", None), ("", None), ("e", None), ("please", None)],
    ],
)
def test_the_closest_name_is_meant_or_none(said: str, found: str | None) -> None:
    assert meant(said, KNOWN) == found


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "remembered", lambda: ["developer", "auditor"])


def denied(role: str, *words: str, code: str = "access_denied") -> Failure:
    place = Place(words)
    place.role = role
    return with_role_meant(Failure(code, "said"), place)


@pytest.mark.usefixtures("known")
def test_a_role_that_is_denied_and_like_one_of_mine_was_mistyped() -> None:
    found = denied("develper", "exec", "develper", "--", "ls", "a b")
    assert (found.code, found.detail) == ("access_denied", "said; did you mean developer?")
    assert found.fix == "zerotrust exec developer -- ls 'a b'"
    assert denied("adutor", "credential-process", "--role=adutor").fix == "zerotrust credential-process --role=auditor"


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize("role", ["developer", "production", ""])
def test_a_role_that_is_mine_or_like_none_was_meant(role: str) -> None:
    found = denied(role, "credential-process", "--role", role)
    assert (found.detail, found.fix) == ("said", None)


@pytest.mark.parametrize(
    ("words", "what", "fix"),
    [
        (["rols", "--json"], "no command rols: did you mean roles?", "zerotrust roles --json"),
        (["whoami", "--jsn"], "whoami does not take --jsn: did you mean --json?", "zerotrust whoami --json"),
        (
            ["credential-process", "--rol=a", "--reason", "for b"],
            "credential-process does not take --rol: did you mean --role?",
            "zerotrust credential-process --role=a --reason 'for b'",
        ),
        (["quux"], "no command quux", "zerotrust help"),
        (["whoami", "--xyz"], "whoami does not take --xyz", "zerotrust help whoami"),
        (["fetch"], "fetch needs SECRET...", "zerotrust help fetch"),
        (["help", "no_tickt"], "no command and no code no_tickt: did you mean no_ticket?", "zerotrust help no_ticket"),
        (["help", "quux"], "no command and no code quux", "zerotrust help"),
    ],
)
def test_a_slip_is_told_with_the_line_that_was_meant(
    words: list[str], what: str, fix: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(words) == 2
    assert capfd.readouterr() == ("", f"wrong usage ({what}) [usage] — run: {fix}\n")
