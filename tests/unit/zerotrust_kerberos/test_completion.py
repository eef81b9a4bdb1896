"""What TAB offers, and what it costs to know the names of roles."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from zerotrust_kerberos import cli, manual
from zerotrust_kerberos.commands import COMMANDS, SWITCH
from zerotrust_kerberos.completion import names
from zerotrust_kerberos.completion.offers import candidates
from zerotrust_kerberos.failures import TABLE

KNOWN = "developer\treadonly,s3\nauditor\t\ndevops\tall"


class Broker:
    """Who is asked for names, and how often."""

    def __init__(self) -> None:
        self.answer: str | None = KNOWN
        self.asked = 0

    def __call__(self) -> str | None:
        self.asked += 1
        return self.answer


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Broker:
    made = Broker()
    monkeypatch.setattr(names, "_asked", made)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return made


def texts(*typed: str) -> list[str]:
    found = candidates(typed)
    assert isinstance(found, list), found
    return [text for text, _ in found]


def kept(tmp_path: Path) -> Path:
    (file,) = (tmp_path / "cache" / "zerotrust").iterdir()
    return file


def aged(file: Path, seconds: float) -> None:
    written = file.stat().st_mtime - seconds
    os.utime(file, (written, written))


def test_every_command_is_offered_with_what_it_does() -> None:
    assert candidates([""]) == [(name, manual.of(name).summary) for name in COMMANDS]
    assert texts("who") == ["whoami"]
    assert candidates([]) == candidates([""])


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_of_every_command_is_offered_until_it_is_used(name: str, broker: Broker) -> None:
    taken = COMMANDS[name].options
    behind = [] if COMMANDS[name].program is False else ["--"]
    assert set(texts(name, "-")) == {*taken, *behind}
    for option, kind in taken.items():
        words = [option] if kind == SWITCH else [option, "x"]
        assert (option in texts(name, *words, "--")) == (kind == "many")


@pytest.mark.parametrize("name", COMMANDS)
def test_what_stands_behind_each_option_can_be_completed_or_is_left_alone(name: str, broker: Broker) -> None:
    for option, (wants, _) in manual.options(name).items():
        found = candidates([name, option, ""]) if wants else []
        if "|" in wants:
            assert texts(name, option, "") == wants.split("|")
            assert texts(name, f"{option}=") == [f"{option}={choice}" for choice in wants.split("|")]
        elif wants in {"FILE", "DIR"}:
            assert found == {"FILE": ":files", "DIR": ":folders"}[wants]
        elif wants == "ROLE":
            assert [text for text, _ in found] == ["developer", "auditor", "devops"]


def test_roles_are_offered_as_options_and_as_words(broker: Broker) -> None:
    assert texts("credential-process", "--role", "dev") == ["developer", "devops"]
    assert texts("credential-process", "--role=au") == ["--role=auditor"]
    assert texts("explain", "") == ["developer", "auditor", "devops"]


def test_scopes_are_those_of_the_role_that_is_named(broker: Broker) -> None:
    assert texts("credential-process", "--role", "developer", "--scope", "") == ["readonly", "s3"]
    assert texts("credential-process", "--role=devops", "--scope", "") == ["all"]
    assert texts("env", "developer", "--scope", "") == ["readonly", "s3"]
    assert texts("credential-process", "--scope", "") == ["readonly", "s3", "all"]


def test_help_offers_commands_and_codes() -> None:
    assert sorted(texts("help", "")) == sorted([*COMMANDS, *TABLE])


def test_behind_two_dashes_the_shell_completes_another_program() -> None:
    assert candidates(["exec", "--secret", "a=b", "--", "ls"]) == ":program 6"
    assert candidates(["exec", "--", "zerotrust", "--", "x"]) == ":program 4"


def test_behind_two_dashes_of_a_command_that_runs_none_nothing_is_offered() -> None:
    assert candidates(["login", "--", ""]) == []
    assert candidates(["whoami", "--", ""]) == []
    assert ("--", "behind it: OPTION-OF-KINIT") in candidates(["login", "-"])


@pytest.mark.parametrize("typed", [("nonsense", ""), ("version", ""), ("roles", "x"), ("whoami", "--timeout", "")])
def test_where_nothing_can_be_known_nothing_is_offered(typed: tuple[str, ...]) -> None:
    assert candidates(typed) == []


def test_names_are_asked_for_once_in_a_while(broker: Broker, tmp_path: Path) -> None:
    assert names.roles() == names.roles() == ["developer", "auditor", "devops"]
    assert broker.asked == 1
    aged(kept(tmp_path), 590)
    assert names.roles()
    assert broker.asked == 1
    broker.answer = "other\t"
    aged(kept(tmp_path), 20)
    assert names.roles() == ["other"]
    assert broker.asked == 2


def test_a_broker_that_is_away_is_left_alone_for_a_minute_and_what_was_known_stays(
    broker: Broker, tmp_path: Path
) -> None:
    names.roles()
    aged(kept(tmp_path), 700)
    broker.answer = None
    assert names.roles() == names.roles() == ["developer", "auditor", "devops"]
    assert broker.asked == 2
    aged(kept(tmp_path), 61)
    assert names.roles()
    assert broker.asked == 3


def test_a_clock_that_went_back_makes_nothing_fresh_for_ever(broker: Broker, tmp_path: Path) -> None:
    names.roles()
    aged(kept(tmp_path), -90_000)
    names.roles()
    assert broker.asked == 2


def test_what_is_kept_is_for_its_owner_and_by_broker_and_cache_of_tickets(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names.roles()
    assert kept(tmp_path).stat().st_mode & 0o777 == 0o600
    assert kept(tmp_path).parent.stat().st_mode & 0o777 == 0o700
    assert kept(tmp_path).read_text() == KNOWN
    for variable in ("ZEROTRUST_BROKER_URL", "KRB5CCNAME"):
        monkeypatch.setenv(variable, "other")
        names.roles()
    assert broker.asked == 3


def test_names_that_somebody_else_wrote_are_not_offered(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names.roles()
    kept(tmp_path).write_text("$(evil)\t\n;rm\t\n--role\t\nx y\t\n" + "a" * 65 + "\t\nfine\t`x`,ok\n")
    assert names.roles() == ["fine"]
    assert names.scopes("fine") == ["ok"]
    monkeypatch.setattr("os.geteuid", lambda: 4711)
    names.roles()
    assert broker.asked == 2


def test_without_a_home_or_a_disk_there_are_names_all_the_same(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.delenv("HOME")
    assert names.roles()[0] == "developer"
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/none")
    assert names.roles()[0] == "developer"


def test_there_is_no_script_for_a_shell_that_we_do_not_know(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["completion", "tcsh"]) == 2
    assert "there is completion for bash, zsh, fish" in capfd.readouterr().err


def test_the_answer_is_a_line_a_candidate(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["completion", "bash", "--", "zerotrust", "whoami", "--js"]) == 0
    assert capfd.readouterr().out == f"--json\t{manual.SHARED_OPTIONS['--json'][1]}\n"
    assert cli.run(["completion", "bash", "--", "zerotrust", "whoami", "--ca-file", ""]) == 0
    assert capfd.readouterr().out == ":files\n"


def test_a_broker_that_says_nothing_costs_less_than_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hanging = "import time; time.sleep(60)"
    monkeypatch.setattr(names, "_SCRIPT", hanging)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    began = time.monotonic()
    assert names.roles() == []
    # The limit is 0.9; the rest is for a machine that has other things to do.
    assert time.monotonic() - began < 0.9 * 5
