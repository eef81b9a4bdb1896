"""The table of failures: total, typeable, and deaf to what servers say."""

from __future__ import annotations

import ast
import inspect
import re
import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker import wire
from broker.core import errors
from zerotrust_kerberos import failures
from zerotrust_kerberos.commands import COMMANDS
from zerotrust_kerberos.failures import TABLE, Failure, Place, clean, line

ROOT = Path(failures.__file__).parent


def test_every_code_of_the_wire_has_an_exit() -> None:
    assert set(wire.PROBLEM_CODES) <= set(TABLE)


def test_every_code_of_the_brokers_errors_is_on_the_wire() -> None:
    raised = {
        error.code
        for _, error in inspect.getmembers(errors, inspect.isclass)
        if isinstance(vars(error).get("code"), str)
    }
    assert raised <= set(wire.PROBLEM_CODES)


def test_every_code_that_the_client_raises_is_in_the_table() -> None:
    raised = {
        node.args[0].value
        for file in ROOT.glob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Failure"
        if isinstance(node.args[0], ast.Constant)
    }
    assert len(raised) > 10
    assert raised <= set(TABLE)


def test_exits_are_those_of_the_interface() -> None:
    assert {status for status, _, _ in TABLE.values()} == {1, 2, 3, 4, 5, 6, 7, 8, 9, 130}


@pytest.mark.parametrize("code", TABLE)
def test_a_line_is_what_code_and_a_fix_to_type(code: str) -> None:
    text = line(Failure(code, "because"), Place(["whoami"]))
    assert re.fullmatch(rf"[^\[\]\n]+ \(because\) \[{code}\] — run: \S[^\n{{}}]*", text)
    assert shlex.split(text.partition("run: ")[2])


@pytest.mark.parametrize("code", TABLE)
def test_a_fix_names_only_commands_that_exist(code: str) -> None:
    fix = line(Failure(code), Place(["whoami"])).partition("run: ")[2]
    commands = re.findall(r"\bzerotrust ([a-z-]+)", fix)
    assert set(commands) <= set(COMMANDS)


def test_words_with_blanks_are_quoted_in_the_fix() -> None:
    place = Place(["roles", "--ca-file", "/a b/c"])
    assert line(Failure("draining", wait=3), place).endswith("run: sleep 3; zerotrust roles --ca-file '/a b/c'")


@given(st.text())
def test_what_a_server_says_is_one_printable_line_of_limited_length(said: str) -> None:
    cleaned = clean(said)
    assert cleaned.isascii()
    assert not cleaned or cleaned.isprintable()
    assert len(cleaned) <= failures.SAID_MAX
    assert "run:" not in cleaned
    assert not set(cleaned) & set("[]")


@given(st.text(), st.lists(st.text()))
def test_a_line_is_one_line_whatever_is_in_it(detail: str, words: list[str]) -> None:
    assert line(Failure("rate_limited", detail), Place(words)).isprintable()
