"""docs/audit.md: each thing that an audit log is asked for names the tests that show it, and they exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.architecture.test_threat_model import functions_of, rows

PAGE = Path(__file__).parents[2] / "docs" / "audit.md"
SECTION = "## What an audit log is asked for\n"
_SHOWN = re.compile(r"(tests/[a-z0-9_/]+\.py)::(test_[A-Za-z0-9_]+)")


def table() -> list[list[str]]:
    return rows(PAGE.read_text().partition(SECTION)[2].partition("\n## ")[0])


@pytest.mark.parametrize("row", table(), ids=lambda row: row[0][:60])
def test_each_row_names_tests_that_exist(row: list[str]) -> None:
    _, record, shown = row
    assert record
    names = [_SHOWN.fullmatch(name.strip()) for name in shown.split(",")]
    assert [name for name in names if name is None or name[2] not in functions_of(name[1])] == []


def test_the_table_has_its_rows() -> None:
    assert len(table()) >= 20
