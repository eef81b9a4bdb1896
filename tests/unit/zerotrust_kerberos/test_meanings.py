"""What codes mean: total, offline, and made of commands that there are."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from broker import wire
from broker.admin.cli import main as admin
from broker.cli import main as broker
from zerotrust_kerberos import cli
from zerotrust_kerberos.commands import read
from zerotrust_kerberos.failures import TABLE, Place
from zerotrust_kerberos.meanings import EXITS, MEANINGS
from zerotrust_kerberos.watch import Watch

COMMAND = re.compile("`([^`]+)`")


def test_every_code_that_a_line_can_carry_has_a_meaning_and_no_other() -> None:
    assert set(MEANINGS) == set(TABLE)
    assert set(wire.PROBLEM_CODES) <= set(MEANINGS)


def test_every_exit_status_has_its_words() -> None:
    assert set(EXITS) == {0, *(status for status, _, _ in TABLE.values())}


@pytest.mark.parametrize("code", MEANINGS)
def test_a_meaning_is_sentences_that_name_a_cause_and_a_step(code: str) -> None:
    meaning = MEANINGS[code]
    assert meaning.why
    assert meaning.do
    for sentence in (meaning.happened, *meaning.why, *meaning.do):
        assert sentence[0].isupper(), sentence
        assert sentence.endswith("."), sentence
        assert sentence.count("`") % 2 == 0, sentence


@pytest.mark.parametrize("code", MEANINGS)
def test_the_commands_of_a_meaning_can_be_typed(code: str) -> None:
    for text in COMMAND.findall(" ".join([*MEANINGS[code].why, *MEANINGS[code].do])):
        for part in text.split(";"):
            words = shlex.split(part)
            match words[0]:
                case "zerotrust":
                    read(words[1:], watch=Watch(lambda _: None), place=Place(words))
                case "zerotrust-admin" | "zerotrust-broker":
                    _known(admin if words[0] == "zerotrust-admin" else broker, words[1:])


def _known(program: click.Command, words: list[str]) -> None:
    found, rest = program, words
    while isinstance(found, click.Group):
        below = found.get_command(click.Context(found), rest[0])
        assert below is not None, words
        found, rest = below, rest[1:]
    options = {option for one in found.params for option in one.opts}
    assert {word for word in rest if word.startswith("--")} <= options


@pytest.mark.parametrize("code", TABLE)
def test_help_of_a_code_asks_nobody(
    code: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Watch, "start", None)  # what asks anybody starts it
    monkeypatch.setenv("ZEROTRUST_BROKER_URL", "nonsense")
    said = set()
    for name in (code, f"[{code}]", code.upper()):
        assert cli.run(["help", name]) == 0
        out, err = capfd.readouterr()
        assert err == ""
        said.add(out)
    (text,) = said
    assert text.startswith(f"{code}: exit status {TABLE[code][0]} (")
    assert " ".join(MEANINGS[code].happened.split()) in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 100


def test_the_documentation_has_the_same_exit_statuses() -> None:
    page = (Path(__file__).parents[3] / "docs" / "commands.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| (\d+) \| (.*) \|$", page, re.MULTILINE))
    assert {int(status): what.replace(",", "") for status, what in rows.items()} == dict(EXITS)
