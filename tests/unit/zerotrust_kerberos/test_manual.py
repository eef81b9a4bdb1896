"""The words of the commands: every command has its page, and a page says what is so."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from zerotrust_kerberos import cli, manual
from zerotrust_kerberos.commands import COMMANDS, SHARED, SWITCH, read
from zerotrust_kerberos.failures import Place
from zerotrust_kerberos.help import of_command
from zerotrust_kerberos.manual.page import SECTIONS
from zerotrust_kerberos.settings import KEYS
from zerotrust_kerberos.watch import Watch

WIDTH = 100


@pytest.mark.parametrize("name", COMMANDS)
def test_a_page_explains_each_option_and_word_of_its_command_and_no_other(name: str) -> None:
    taken, page = COMMANDS[name], manual.of(name)
    assert set(manual.options(name)) == set(taken.options)
    assert not set(page.options) & set(SHARED)
    assert list(page.words) == [word.strip("[].") for word in taken.words]
    for option, (wants, text) in manual.options(name).items():
        assert bool(wants) == (taken.options[option] != SWITCH), option
        assert text


@pytest.mark.parametrize("name", COMMANDS)
def test_a_page_reads_like_the_others(name: str) -> None:
    page = manual.of(name)
    assert page.section in SECTIONS
    assert page.summary[0].islower()
    assert not page.summary.endswith(".")
    assert len(page.summary) <= WIDTH - 28
    assert all(text[0].isupper() and text.endswith(".") for text in page.text)
    everything = [
        *page.words.values(),
        *(text for _, text in page.options.values()),
        *(text for _, text in page.examples),
    ]
    assert not [text for text in everything if text.endswith(".") or "\n" in text]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_examples_are_command_lines_of_that_command(name: str) -> None:
    examples = manual.of(name).examples
    assert examples
    for line, _ in examples:
        words = shlex.split(line.partition(" | ")[0])
        at = words.index("zerotrust")
        found, call = read(words[at + 1 :], watch=Watch(lambda _: None), place=Place(words))
        assert found is (COMMANDS[name] if "--help" not in words else COMMANDS["help"])
        assert call.name == name


def test_every_key_of_the_settings_is_explained() -> None:
    assert list(manual.SETTINGS) == list(KEYS)


def test_there_is_no_page_without_a_command() -> None:
    pages = {path.stem for path in Path(manual.__file__).parent.glob("*.py")} - {"__init__", "page"}
    assert pages == {name.replace("-", "_") for name in COMMANDS}


@pytest.mark.parametrize("words", [["help"], ["-h"], ["--help"]])
def test_help_lists_every_command(words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.run(words) == 0
    out, err = capfd.readouterr()
    assert err == ""
    assert [name for name in COMMANDS if f"\n  {name} " not in out] == []
    assert max(map(len, out.splitlines())) <= WIDTH


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_is_the_same_however_it_is_asked_for(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    said = set()
    for words in (["help", name], [name, "--help"], [name, "-h"]):
        assert cli.run(words) == 0
        out, err = capfd.readouterr()
        assert err == ""
        said.add(out)
    assert said == {f"{of_command(name)}\n"}
    assert all(f"  {option}" in out for option in COMMANDS[name].options)
