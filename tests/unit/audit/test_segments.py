"""Segments: a file that is long or of yesterday is closed and another begun; no crash and no fault on the way loses a record."""

from __future__ import annotations

import base64
import errno
import fcntl
import json
import logging
import os
import socket
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from broker.audit.regrow import regrown
from broker.audit.signer import signer_of
from broker.audit.tree import LOST, Frontier, leaf_hash
from broker.audit.writer import Writer
from tests.fakes.audit import MASTER, Directory, Log, SetClock, an_event

TOMORROW = timedelta(days=1)
# Every call by which a segment begins, and the record behind it is written.
CALLS = ("open", "ftruncate", "link", "rename", "fsync", "write", "fdatasync")

MakeWriter = Callable[[], Writer]


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def writer(directory: Directory, clock: SetClock, monkeypatch: pytest.MonkeyPatch) -> MakeWriter:
    monkeypatch.setattr(socket, "gethostname", lambda: "host")
    return lambda: Writer(directory=directory.path, signer=signer_of(MASTER), clock=clock)


def write(writer: Writer, *numbers: int) -> None:
    for number in numbers:
        writer.commit([an_event(number).members()])


def state(writer: Writer) -> None:
    """What the log does twice a minute."""
    if draft := writer.draft():
        writer.publish(draft)


def current(directory: Directory) -> Path:
    return directory.path / "audit-host-1.jsonl"


def records(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def names(directory: Directory) -> list[str]:
    return sorted(path.name for path in directory.path.glob("audit-*"))


def good(directory: Directory) -> int:
    report = directory.verify()
    assert (report.findings, report.remarks) == ([], [])
    return report.records


def test_a_file_of_yesterday_is_closed_and_the_first_record_of_the_next_names_it(
    directory: Directory, writer: MakeWriter, clock: SetClock
) -> None:
    running = writer()
    write(running, 1, 2, 3)
    state(running)
    assert names(directory) == ["audit-host-1.jsonl"]
    clock.time += TOMORROW
    write(running, 4)
    state(running)
    write(running, 5)
    running.close()
    closed = directory.path / "audit-host-1.000000000001.jsonl"
    assert names(directory) == [closed.name, "audit-host-1.jsonl"]
    tree = Frontier()
    for line in closed.read_bytes().splitlines():
        tree = tree.with_leaf(leaf_hash(line))
    first, second = records(current(directory))
    assert (first["event"], first["seq"], second["seq"]) == ("segment_begun", 5, 6)
    assert first["segment"] == {
        "file": closed.name,
        "bytes": closed.stat().st_size,
        "records": 4,
        "root": base64.b64encode(tree.root()).decode(),
    }
    assert good(directory) == 6


def test_a_file_that_is_long_enough_is_closed_and_the_chain_goes_on_through_many(
    directory: Directory, writer: MakeWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.audit.sinks.file._SEGMENT_BYTES", 2000)
    for start in range(0, 40, 10):
        running = writer()
        for number in range(start, start + 10):
            write(running, number)
            state(running)
        running.close()
    assert len(names(directory)) > 10
    assert all((directory.path / name).stat().st_size < 4000 for name in names(directory))
    number = good(directory)
    for name in names(directory)[:-1]:
        path = directory.path / name
        content = path.read_bytes()
        path.unlink()
        assert directory.first_bad() == json.loads(content.splitlines()[0])["seq"]
        path.write_bytes(content)
    assert good(directory) == number


def test_bytes_behind_the_end_of_a_closed_segment_are_found(
    directory: Directory, writer: MakeWriter, clock: SetClock
) -> None:
    running = writer()
    write(running, 1)
    clock.time += TOMORROW
    state(running)
    write(running, 2)
    running.close()
    closed = directory.path / "audit-host-1.000000000001.jsonl"
    closed.write_bytes(closed.read_bytes() + b'{"half')
    assert "bytes when it was closed" in directory.verify().findings[0].fault


@pytest.mark.parametrize("between", ["write", "checkpoint", "restart", "kill"])
def test_a_new_segment_begins_with_its_record_whatever_comes_between(
    directory: Directory, writer: MakeWriter, clock: SetClock, between: str
) -> None:
    running = writer()
    write(running, 1, 2)
    clock.time += TOMORROW
    state(running)
    assert current(directory).read_bytes() == b""
    if between == "checkpoint":
        state(running)
    elif between == "restart":
        running.close()
        running = writer()
    elif between == "kill":
        assert running._file is not None
        running._file.close()
        running = writer()
    write(running, 3)
    running.close()
    assert [record["event"] for record in records(current(directory))] == ["segment_begun", "issued"]
    assert good(directory) == 4


def fail() -> None:
    raise OSError(errno.EIO, "Input/output error")


def at_call(
    number: int, original: Callable[..., object], do: Callable[[], None], count: list[int]
) -> Callable[..., object]:
    """The original, but where the count of calls comes to the number, something is done first."""

    def call(*arguments: object, **named: object) -> object:
        count[0] += 1
        if count[0] == number:
            do()
        return original(*arguments, **named)

    return call


def begin_anew(directory: Directory, writer: MakeWriter, clock: SetClock) -> None:
    """The part that is broken off at every call."""
    running = writer()
    write(running, 3)
    clock.time += TOMORROW
    state(running)
    write(running, 4)


def test_killed_at_any_call_a_new_segment_loses_nothing(
    writer: MakeWriter, clock: SetClock, directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = [0]
    for fatal in range(1, 100):
        for path in directory.path.iterdir():
            path.unlink()
        first = writer()
        write(first, 1, 2)
        first.close()
        if (pid := os.fork()) == 0:
            try:
                for name in CALLS:
                    monkeypatch.setattr(os, name, at_call(fatal, getattr(os, name), lambda: os._exit(9), count))
                begin_anew(directory, writer, clock)
                os._exit(0)
            finally:
                os._exit(1)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert code in {0, 9}
        assert directory.verify().findings == [], fatal
        before = {record["request_id"] for path in directory.path.glob("*.jsonl") for record in records(path)}
        successor = writer()
        write(successor, 5)
        successor.close()
        assert good(directory) >= len(before) + 1, fatal
        assert not [path for path in directory.path.glob("*.jsonl") if path.stat().st_nlink > 1]
        if code == 0:
            break
    assert fatal > 15
    assert before >= {"request-1", "request-2", "request-3", "request-4"}


@pytest.mark.parametrize("name", CALLS)
def test_a_fault_at_any_call_of_a_new_segment_loses_nothing_and_the_next_try_succeeds(
    directory: Directory,
    writer: MakeWriter,
    clock: SetClock,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    running = writer()
    write(running, 1, 2)
    state(running)
    clock.time += TOMORROW
    write(running, 3)
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    for broken in range(1, 5):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, at_call(broken, getattr(os, name), fail, [0]))
            try:
                state(running)
                write(running, 10 + broken)
            except OSError:
                pass  # Refused, then, and the next is written.
        write(running, 20 + broken)
        assert directory.verify().findings == []
    state(running)
    write(running, 30)
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors
    running.close()
    assert len(names(directory)) == 2
    assert {f"request-{number}" for number in (1, 2, 3, 21, 22, 23, 24, 30)} <= {
        str(record["request_id"]) for path in directory.path.glob("*.jsonl") for record in records(path)
    }
    assert directory.verify().findings == []


def test_what_has_the_name_of_the_segment_already_is_not_overwritten(
    directory: Directory, writer: MakeWriter, clock: SetClock, caplog: pytest.LogCaptureFixture
) -> None:
    running = writer()
    write(running, 1)
    taken = directory.path / "audit-host-1.000000000001.jsonl"
    taken.write_bytes(b"something of value\n")
    clock.time += TOMORROW
    with caplog.at_level(logging.WARNING):
        state(running)
    write(running, 2)
    assert taken.read_bytes() == b"something of value\n"
    assert "no new file could be begun" in caplog.text
    assert len(records(current(directory))) == 2


def test_another_process_that_looks_for_a_slot_never_finds_this_one_free(
    directory: Directory, writer: MakeWriter, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = writer()
    write(running, 1)
    claimed: list[str] = []
    original = os.rename

    def while_it_happens(*arguments: object, **named: object) -> None:
        for step in (lambda: None, lambda: original(*arguments, **named)):  # type: ignore[arg-type]
            step()
            other = writer()
            write(other, 100)
            claimed.append(str(other.instance))
            other.close()

    clock.time += TOMORROW
    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", while_it_happens)
        state(running)
    write(running, 2)
    running.close()
    assert claimed == ["host-2", "host-2"]
    assert directory.verify().findings == []


def test_a_start_reads_only_what_came_after_the_last_checkpoint(
    directory: Directory, writer: MakeWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = writer()
    write(first, *range(50))
    state(first)
    write(first, 50, 51)
    assert first._file is not None
    first._file.close()
    hashed: list[bytes] = []

    def counting(line: bytes) -> bytes:
        hashed.append(line)
        return leaf_hash(line)

    monkeypatch.setattr("broker.audit.regrow.leaf_hash", counting)
    second = writer()
    write(second, 52)
    assert len(hashed) == 2
    second.close()
    assert good(directory) == 53


@pytest.mark.parametrize("lost", ["checkpoints", "another key"])
def test_without_a_checkpoint_to_go_on_from_the_tree_is_grown_from_all_files(
    directory: Directory, writer: MakeWriter, clock: SetClock, lost: str
) -> None:
    first = writer()
    write(first, 1, 2, 3)
    clock.time += TOMORROW
    state(first)
    write(first, 4)
    first.close()
    stated = directory.path / "checkpoints-host-1.notes"
    before = stated.read_bytes()
    stated.write_bytes(b"" if lost == "checkpoints" else before.replace(b"host-1", b"host-9"))
    second = writer()
    write(second, 5)
    second.close()
    stated.write_bytes(before + stated.read_bytes()[0 if lost == "checkpoints" else len(before) :])
    assert good(directory) == 6


def test_a_file_that_is_renamed_between_opening_and_locking_is_not_taken(
    directory: Directory, writer: MakeWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever held it may have begun a segment just then: what is open is the closed one."""
    first = writer()
    write(first, 1)
    first.close()
    original = fcntl.flock

    def late(descriptor: int, operation: int) -> None:
        if current(directory).stat().st_size:
            current(directory).rename(directory.path / "audit-host-1.000000000001.jsonl")
            current(directory).touch(mode=0o640)
        original(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    second = writer()
    write(second, 2)
    second.close()
    assert second.instance == "host-2"
    assert len(records(directory.path / "audit-host-1.000000000001.jsonl")) == 1


def test_a_record_that_was_lost_keeps_its_place_in_the_tree(directory: Directory) -> None:
    log = Log().add(5)
    first = directory.records(b"".join(line + b"\n" for line in log.lines[:2]))
    second = first.with_name("b")
    second.write_bytes(b"".join(line + b"\n" for line in log.lines[3:]))
    expected = Frontier()
    for leaf in (
        leaf_hash(log.lines[0]),
        leaf_hash(log.lines[1]),
        LOST,
        leaf_hash(log.lines[3]),
        leaf_hash(log.lines[4]),
        LOST,
    ):
        expected = expected.with_leaf(leaf)
    assert regrown(Frontier(), [second, first], size=6) == expected
