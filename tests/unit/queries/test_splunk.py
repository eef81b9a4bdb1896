"""The queries in docs/queries/splunk name fields that there are: of records, of CloudTrail's events, or their own."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.unit.queries.test_athena import EVENTS, RECORDS

QUERIES = Path(__file__).parents[3] / "docs" / "queries" / "splunk"
FILES = sorted(QUERIES.glob("*.spl"))
AUDIT_PAGE = Path(__file__).parents[3] / "docs" / "audit.md"

# Splunk's Search Reference: commands, their options, statistical and evaluation functions, and words between them.
COMMANDS = frozenset("search stats eval where table sort rename join fields format mvexpand".split())  # noqa: SIM905
OPTIONS = frozenset({"type", "max", "left", "inner", "index", "sourcetype", "zerotrust", "aws"})
FUNCTIONS = frozenset("values latest count min max coalesce if isnotnull isnull match case strptime true".split())  # noqa: SIM905
WORDS = frozenset({"AS", "BY", "OR", "AND", "NOT", "0"})
ALWAYS = frozenset({"_time"})
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")
_MADE_HERE = re.compile(r"\bAS ([a-z_]+)|\beval ([a-z_]+)=")


def paths(value: Mapping[str, Any], before: str = "") -> Iterator[str]:
    """The fields of an event as Splunk names them."""
    for key, inner in value.items():
        yield before + key
        if isinstance(inner, Mapping):
            yield from paths(inner, f"{before}{key}.")


def known() -> set[str]:
    records = set().union(*(json.loads(line) for line in RECORDS))
    events = {path for event in EVENTS for path in paths(event)}
    return records | events | ALWAYS


def bare(text: str) -> str:
    """Without strings; a name in single quotes is a field."""
    return re.sub(r'"(?:[^"\\]|\\.)*"', " ", text).replace("'", " ")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_field_is_one_of_the_records_of_cloudtrail_or_made_in_the_query(path: Path) -> None:
    text = bare(path.read_text())
    made = {name for found in _MADE_HERE.findall(text) for name in found if name}
    # What stands behind `event=` and `reason=` are values.
    values = set(re.findall(r"\b(?:event|reason|success)=([a-z_]+)", text))
    # A dot behind a name joins texts.
    used = {name.rstrip(".") for name in _NAME.findall(text)} - COMMANDS - OPTIONS - FUNCTIONS - WORDS - values
    assert used - known() - made == set()


def test_events_and_reasons_that_queries_look_for_are_those_that_records_have() -> None:
    page = AUDIT_PAGE.read_text()
    for path in FILES:
        for value in re.findall(r"\b(?:event|reason)=([a-z_]+)", bare(path.read_text())):
            assert f"`{value}`" in page, value


def test_brackets_and_quotes_are_balanced_and_each_query_is_on_the_page() -> None:
    page = (QUERIES / ".." / "README.md").read_text()
    assert FILES
    for path in FILES:
        text = bare(path.read_text())
        assert '"' not in text, path
        assert (text.count("["), text.count("(")) == (text.count("]"), text.count(")"))
        assert f"splunk/{path.name}" in page
