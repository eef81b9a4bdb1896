"""A log that is verified while the broker writes: a segment that begins in between is no finding, and hides none."""

from __future__ import annotations

import socket
from collections.abc import Callable
from datetime import timedelta

import pytest

from broker.audit import verify as verifier
from broker.audit.logs import InstanceLog
from broker.audit.signer import signer_of
from broker.audit.writer import Writer
from tests.fakes.audit import MASTER, Directory, SetClock, an_event


@pytest.fixture
def writer(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> Writer:
    monkeypatch.setattr(socket, "gethostname", lambda: "host")
    clock = SetClock()
    made = Writer(directory=directory.path, signer=signer_of(MASTER), clock=clock)
    for number in range(1, 6):
        made.commit([an_event(number).members()])
    state(made)
    clock.time += timedelta(days=1)
    return made


def state(writer: Writer) -> None:
    if draft := writer.draft():
        writer.publish(draft)


def begin_a_segment(writer: Writer) -> None:
    writer.commit([an_event(6).members()])
    state(writer)
    writer.commit([an_event(7).members()])


def meanwhile(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> list[int]:
    """Do something whenever the verifier has just looked which files there are; the list grows by one each time."""
    looked: list[int] = []
    look = verifier.logs_of

    def look_and_wait(*arguments: object) -> list[InstanceLog]:
        found = look(*arguments)  # type: ignore[arg-type]
        looked.append(len(found))
        happens()
        return found

    monkeypatch.setattr(verifier, "logs_of", look_and_wait)
    return looked


def test_a_segment_that_begins_while_it_is_verified_is_no_finding(
    directory: Directory, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = iter([True])
    looked = meanwhile(monkeypatch, lambda: next(begun, False) and begin_a_segment(writer))
    report = directory.verify()
    assert report.findings == []
    assert report.records > 7
    assert len(looked) == 2, "it looked once more"
    assert len(list(directory.path.glob("audit-*"))) == 2


def test_what_is_wrong_is_found_although_files_change_all_the_time(
    directory: Directory, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path,) = directory.path.glob("audit-*")
    path.write_bytes(path.read_bytes().replace(b"alice@", b"carol@", 1))
    changing = directory.path / "changing"

    def change() -> None:
        (directory.path / "next").touch()
        (directory.path / "next").rename(changing)

    changing.touch()
    kept = [changing.open("rb")]
    looked = meanwhile(monkeypatch, lambda: (change(), kept.append(changing.open("rb"))))
    assert directory.first_bad() == 1
    assert len(looked) == 3
    for file in kept:
        file.close()


def test_what_is_wrong_with_files_that_stay_is_found_at_the_first_look(
    directory: Directory, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path,) = directory.path.glob("audit-*")
    path.write_bytes(path.read_bytes().replace(b"alice@", b"carol@", 1))
    looked = meanwhile(monkeypatch, lambda: None)
    assert directory.first_bad() == 1
    assert len(looked) == 1
