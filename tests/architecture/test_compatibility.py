"""docs/compatibility.md: every promise of the four documents has its row, and every row its test or its reason."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.architecture.test_threat_model import functions_of, rows

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "compatibility.md"
KEPT = {"yes", "partly", "advice"}
# How many promises each document makes: the guide, the article, the notes, the project's page.
PROMISES = {"G": 60, "E": 11, "O": 34, "T": 11}

_SHOWN = re.compile(r"(tests/[a-z0-9_/]+\.py)::(test_[A-Za-z0-9_]+)")


def problems(row: list[str]) -> list[str]:
    """What is wrong with one row."""
    if len(row) != 5:
        return ["not five cells"]
    _, promise, kept, where, shown = row
    if not promise:
        return ["no promise"]
    if kept == "no":
        return ([] if where else ["a no without its reason"]) + (["a no with a test"] if shown else [])
    if kept not in KEPT:
        return [f"neither kept nor not: {kept!r}"]
    if kept == "partly" and not where:
        return ["what is missing is not said"]
    named = [(_SHOWN.fullmatch(name.strip()), name) for name in shown.split(",")]
    wrong = [f"not written as path::name: {name!r}" for match, name in named if match is None]
    return wrong + [f"no test {name}" for match, name in named if match and match[2] not in functions_of(match[1])]


@pytest.mark.parametrize("row", rows(PAGE.read_text()), ids=lambda row: row[0])
def test_each_promise_is_kept_and_shown_or_refused_with_a_reason(row: list[str]) -> None:
    assert problems(row) == []


def test_no_promise_is_left_out() -> None:
    numbers = [row[0] for row in rows(PAGE.read_text())]
    assert numbers == [f"{letter}{number + 1}" for letter, count in PROMISES.items() for number in range(count)]


@pytest.mark.parametrize(
    "row",
    [
        ["G1", "x", "yes", "y"],
        ["G1", "x", "yes", "y", ""],
        ["G1", "x", "yes", "y", "tests/e2e/test_guide.py::test_that_is_not_there"],
        ["G1", "x", "no", "", ""],
        ["G1", "x", "perhaps", "y", ""],
        ["G1", "x", "partly", "", "tests/e2e/test_guide.py::test_the_printed_command_writes_the_report"],
    ],
)
def test_a_row_that_says_too_little_is_found(row: list[str]) -> None:
    assert problems(row)
