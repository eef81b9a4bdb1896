"""The log's lines as entries of the journal."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import socket
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


def heard(record: logging.LogRecord, folder: Path) -> list[bytes]:
    """What a journald would take: the entry, as it came."""
    path = folder / "journal"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(path))
        ear.setblocking(False)
        with contextlib.closing(journal._Journal(path, otherwise=logging.NullHandler())) as handler:
            handler.handle(record)
        return [ear.recv(65536)]


def line(message: str) -> logging.LogRecord:
    return logging.LogRecord("broker.x", logging.ERROR, "x.py", 7, message, None, None, "f")


def test_a_message_of_several_lines_forges_no_field(tmp_path: Path) -> None:
    message = "gone\nPRIORITY=7\nMESSAGE_ID=1"
    (entry,) = heard(line(message), tmp_path)
    assert entry.startswith(b"MESSAGE\n" + len(message).to_bytes(8, "little") + message.encode() + b"\nPRIORITY=3\n")


def test_what_journald_does_not_take_goes_where_lines_go(tmp_path: Path) -> None:
    said: list[str] = []
    otherwise = logging.Handler()
    otherwise.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    with contextlib.closing(journal._Journal(tmp_path / "nobody", otherwise=otherwise)) as handler:
        handler.handle(line("x"))
    assert said == ["x"]


def test_where_standard_error_is_no_journal_lines_go_there() -> None:
    """``JOURNAL_STREAM`` may be of whoever started us: what counts is where the descriptor leads."""
    assert isinstance(journal.handler({"JOURNAL_STREAM": "1:2"}), logging.StreamHandler)
    assert isinstance(journal.handler({}), logging.StreamHandler)
    here = os.fstat(2)
    with contextlib.closing(journal.handler({"JOURNAL_STREAM": f"{here.st_dev}:{here.st_ino}"})) as handler:
        assert isinstance(handler, journal._Journal)
