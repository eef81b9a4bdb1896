"""The log's lines as entries of the journal."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest

from broker.audit.sinks.journald import MESSAGE_ID
from broker.core.happening import Happening
from broker.daemon import journal

ROOT = Path(__file__).parents[3]
CATALOG = (ROOT / "systemd/zerotrust.catalog").read_text()


def test_each_number_has_its_entry_in_the_catalog_and_each_entry_its_number() -> None:
    explained = re.findall(r"^-- ([0-9a-f]{32})$", CATALOG, re.MULTILINE)
    assert sorted(explained) == sorted([*(happening.value for happening in Happening), MESSAGE_ID])


@pytest.mark.parametrize("happening", Happening, ids=lambda happening: happening.code)
def test_each_happening_is_said_somewhere(happening: Happening) -> None:
    said = f"Happening.{happening.name}.said("
    assert any(said in module.read_text() for module in (ROOT / "broker").rglob("*.py"))


@pytest.mark.parametrize("entry", CATALOG.split("\n-- ")[1:], ids=lambda entry: entry[:8])
def test_an_entry_has_a_subject_and_says_what_to_do(entry: str) -> None:
    head, _, text = entry.partition("\n\n")
    assert [line.partition(":")[0] for line in head.splitlines()[1:]] == ["Subject", "Defined-By", "Documentation"]
    assert len(text.split()) >= 8 or "Nothing is to be done" in text


def fields(message: str, *, level: int = logging.ERROR, **extra: object) -> dict[str, str]:
    record = logging.LogRecord("broker.cache.store", level, __file__, 7, message, None, None, "f")
    record.__dict__.update(extra)
    return dict(journal._fields(message, record))


def test_a_happening_has_its_number_its_code_and_the_request() -> None:
    found = fields("Redis failed", **Happening.REDIS_DOWN.said(request_id="r1"))
    assert found["MESSAGE"] == "Redis failed"
    assert found["PRIORITY"] == "3"
    assert found["MESSAGE_ID"] == Happening.REDIS_DOWN.value
    assert (found["ZEROTRUST_CODE"], found["ZEROTRUST_REQUEST_ID"]) == ("redis_down", "r1")


def test_any_other_line_has_neither() -> None:
    assert not {"MESSAGE_ID", "ZEROTRUST_CODE", "ZEROTRUST_REQUEST_ID"} & set(fields("this and that"))


@pytest.mark.parametrize(("level", "priority"), [(10, "7"), (20, "6"), (30, "4"), (40, "3"), (50, "2")])
def test_a_level_is_a_priority(level: int, priority: str) -> None:
    assert fields("x", level=level)["PRIORITY"] == priority


def test_a_message_of_any_length_fits_a_datagram() -> None:
    assert len(fields("ä" * 200_000)["MESSAGE"].encode()) <= 48 * 1024


def test_where_standard_error_is_no_journal_lines_go_there(capfd: pytest.CaptureFixture[str]) -> None:
    assert isinstance(journal.handler({"JOURNAL_STREAM": "1:2"}), logging.StreamHandler)
