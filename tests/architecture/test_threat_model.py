"""docs/threat-model.md: every row names the tests that show it, and they exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "threat-model.md"
COLUMNS = 4
GUARANTEES = range(1, 15)  # the page names fourteen

_SHOWN = re.compile(r"(tests/[a-z0-9_/]+\.py)::(test_[A-Za-z0-9_]+)")


def rows(text: str) -> list[list[str]]:
    """The cells of each row of each table, without the heads."""
    found = []
    for line, following in zip(text.splitlines(), [*text.splitlines()[1:], ""], strict=True):
        is_head = following.startswith("|---")
        if line.startswith("|") and not line.startswith("|---") and not is_head:
            found.append([cell.strip() for cell in line.strip("|").split("|")])
    return found


def problems(row: list[str]) -> list[str]:
    """What is wrong with one row."""
    if len(row) != COLUMNS or not all(row):
        return [f"not {COLUMNS} filled cells"]
    wrong = [] if all(int(number) in GUARANTEES for number in row[2].split(",")) else ["no such guarantee"]
    shown = [_SHOWN.fullmatch(name.strip()) for name in row[3].split(",")]
    if None in shown:
        return [*wrong, "a test is not written as path::name"]
    return wrong + [f"no test {name[0]}" for name in shown if name and name[2] not in functions_of(name[1])]


@cache
def functions_of(path: str) -> frozenset[str]:
    """The names of the test functions in a file; none where there is no file."""
    file = ROOT / path
    if not file.is_file():
        return frozenset()
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, functions))


@pytest.mark.parametrize("row", rows(PAGE.read_text()), ids=lambda row: row[0][:60])
def test_each_row_of_the_threat_model_names_tests_that_exist(row: list[str]) -> None:
    assert problems(row) == []


def test_the_threat_model_has_its_rows() -> None:
    assert len(rows(PAGE.read_text())) > 40


@pytest.mark.parametrize(
    "line",
    [
        "| an attack | a defence | 3 | tests/architecture/test_threat_model.py::test_that_nobody_wrote |",
        "| an attack | a defence | 3 | tests/architecture/test_no_such_file.py::test_anything |",
        "| an attack | a defence | 3 | by inspection |",
        "| an attack | a defence | 3 | |",
        "| an attack | a defence | 15 | tests/architecture/test_threat_model.py::test_the_threat_model_has_its_rows |",
    ],
)
def test_a_row_without_a_test_is_found(line: str) -> None:
    (row,) = rows(f"| head | head | head | head |\n|---|---|---|---|\n{line}\n")
    assert problems(row) != []
