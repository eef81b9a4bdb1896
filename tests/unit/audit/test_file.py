"""The record file: what a crash, a rotation or a foreign hand leaves, and who may write beside us."""

from __future__ import annotations

import base64
import json
import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from broker.audit.signer import signer_of
from broker.audit.sinks.durable import NotOurs
from broker.audit.sinks.file import RecordFile
from broker.audit.writer import Writer
from tests.fakes.audit import MASTER, Directory, SetClock, an_event

MakeWriter = Callable[[], Writer]


@pytest.fixture
def writer(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> MakeWriter:
    monkeypatch.setattr(socket, "gethostname", lambda: "host")
    return lambda: Writer(directory=directory.path, signer=signer_of(MASTER), clock=SetClock())


def record_path(directory: Directory) -> Path:
    return directory.path / "audit-host-1.jsonl"


def write(writer: Writer, *numbers: int) -> None:
    for number in numbers:
        writer.commit([an_event(number).members()])


def killed(writer: Writer) -> None:
    """The kernel closes what a killed process held; nothing else happens."""
    assert writer._file is not None
    writer._file.close()
    writer._file = None


def good(directory: Directory) -> int:
    report = directory.verify()
    assert report.findings == []
    return report.records


def test_a_successor_goes_on_where_the_last_one_ended(directory: Directory, writer: MakeWriter) -> None:
    first = writer()
    write(first, 1, 2)
    first.close()
    second = writer()
    write(second, 3)
    second.close()
    assert good(directory) == 3


def test_a_torn_tail_of_any_length_is_sealed_with_all_its_bytes(directory: Directory, writer: MakeWriter) -> None:
    first = writer()
    write(first, 1, 2, 3)
    killed(first)
    content = record_path(directory).read_bytes()
    start = content.rindex(b"\n", 0, -1) + 1
    for end in range(start + 1, len(content), 37):
        record_path(directory).write_bytes(content[:end])
        assert directory.verify().findings == [], "before the restart"
        second = writer()
        write(second, 4)
        killed(second)
        lines = record_path(directory).read_bytes().splitlines()
        recovery = json.loads(lines[2])
        assert (recovery["event"], recovery["seq"], recovery["torn_bytes"]) == ("recovery", 3, end - start)
        assert base64.b64decode(recovery["torn"]) == content[start:end]
        assert good(directory) == 4


def test_a_torn_tail_stays_until_the_record_that_seals_it_is_written(
    directory: Directory, writer: MakeWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = writer()
    write(first, 1)
    killed(first)
    torn = record_path(directory).read_bytes() + b'{"access'
    record_path(directory).write_bytes(torn)
    second = writer()

    def full(descriptor: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space"):
            write(second, 2)
    write(second, 2)
    killed(second)
    lines = record_path(directory).read_bytes().splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["issued", "recovery", "issued"]
    assert json.loads(lines[1])["torn_bytes"] == 8
    assert good(directory) == 3


def test_a_tail_longer_than_a_record_is_sealed_by_its_hash(directory: Directory, writer: MakeWriter) -> None:
    """Some file systems leave zeros where a power cut hit; there may be many."""
    first = writer()
    write(first, 1)
    killed(first)
    with record_path(directory).open("ab") as file:
        file.write(bytes(900_000))
    second = writer()
    write(second, 2)
    killed(second)
    assert json.loads(record_path(directory).read_bytes().splitlines()[1])["torn_bytes"] == 900_000
    assert good(directory) == 3


def test_half_a_checkpoint_is_replaced_by_the_next(directory: Directory, writer: MakeWriter) -> None:
    first = writer()
    write(first, 1)
    first.publish(first.draft())
    killed(first)
    path = directory.path / "checkpoints-host-1.notes"
    path.write_bytes(path.read_bytes()[:-30])
    second = writer()
    write(second, 2)
    second.close()
    assert good(directory) == 2


def test_a_checkpoint_for_which_there_is_no_space_leaves_nothing(
    directory: Directory, writer: MakeWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = writer()
    write(first, 1)
    path = directory.path / "checkpoints-host-1.notes"
    before, original = path.read_bytes(), os.write
    calls = 0

    def short(descriptor: int, data: bytes) -> int:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise OSError(28, "No space left on device")
        return original(descriptor, data[:50])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", short)
        with pytest.raises(OSError, match="No space"):
            first.publish(first.draft())
    assert path.read_bytes() == before
    first.close()
    assert good(directory) == 1


def test_a_rotated_file_and_its_successor_are_one_chain_without_a_lost_record(
    directory: Directory, writer: MakeWriter
) -> None:
    """logrotate renames; it tells nobody."""
    running = writer()
    write(running, 1, 2)
    record_path(directory).rename(directory.path / "audit-host-1.jsonl-20260131")
    write(running, 3)
    running.close()
    assert good(directory) == 3


@pytest.mark.parametrize("clean", [True, False])
def test_a_broker_that_starts_after_a_rotation_continues_the_chain(
    directory: Directory, writer: MakeWriter, *, clean: bool
) -> None:
    first = writer()
    write(first, 1, 2)
    first.close() if clean else killed(first)
    record_path(directory).rename(directory.path / "audit-host-1.jsonl-20260131")
    second = writer()
    write(second, 3)
    second.close()
    assert good(directory) == 3


def test_logrotates_copytruncate_keeps_the_chain_too(directory: Directory, writer: MakeWriter) -> None:
    running = writer()
    write(running, 1, 2)
    (directory.path / "audit-host-1.jsonl.1").write_bytes(record_path(directory).read_bytes())
    os.truncate(record_path(directory), 0)
    write(running, 3)
    running.close()
    assert good(directory) == 3


@pytest.mark.parametrize("restart", [True, False])
def test_a_deleted_file_is_missed_for_ever_and_nothing_stops(
    directory: Directory, writer: MakeWriter, *, restart: bool
) -> None:
    running = writer()
    write(running, 1, 2)
    running.publish(running.draft())
    record_path(directory).unlink()
    if restart:
        killed(running)
        running = writer()
    write(running, 3)
    running.close()
    assert directory.first_bad() == 1
    assert json.loads(record_path(directory).read_bytes().splitlines()[0])["seq"] == 3


@pytest.mark.parametrize("restart", [True, False])
@pytest.mark.parametrize("within_a_record", [True, False])
def test_a_cut_file_shows_its_first_missing_record_for_ever_and_nothing_stops(
    directory: Directory,
    writer: MakeWriter,
    caplog: pytest.LogCaptureFixture,
    *,
    restart: bool,
    within_a_record: bool,
) -> None:
    running = writer()
    write(running, 1, 2, 3, 4)
    running.publish(running.draft())
    second_ends = [i for i, byte in enumerate(record_path(directory).read_bytes()) if byte == 0x0A][1] + 1
    os.truncate(record_path(directory), second_ends + (100 if within_a_record else 0))
    if restart:
        killed(running)
        running = writer()
    with caplog.at_level(logging.WARNING):
        write(running, 5, 6)
    running.close()
    assert directory.first_bad() == 3
    assert "it was cut" in caplog.text


def test_what_somebody_else_appended_is_kept_as_evidence(directory: Directory, writer: MakeWriter) -> None:
    running = writer()
    write(running, 1)
    with record_path(directory).open("ab") as file:
        file.write(b"I was here")
    write(running, 2)
    running.close()
    recovery = json.loads(record_path(directory).read_bytes().splitlines()[1])
    assert base64.b64decode(recovery["torn"]) == b"I was here"
    assert good(directory) == 3


@pytest.mark.parametrize(
    "foreign", [b"a line\n", b'{"seq":7,"instance":"host-1"}\n', b'{"seq":1,"instance":"host-2"}\n']
)
def test_nothing_is_appended_to_lines_that_are_not_ours(
    directory: Directory, writer: MakeWriter, foreign: bytes
) -> None:
    running = writer()
    write(running, 1)
    with record_path(directory).open("ab") as file:
        file.write(foreign)
    for _ in range(2):
        with pytest.raises(NotOurs):
            write(running, 2)
    assert record_path(directory).read_bytes().endswith(foreign)
    record_path(directory).rename(directory.path / "away")
    write(running, 2)
    running.close()
    assert json.loads(record_path(directory).read_bytes().splitlines()[0])["seq"] == 2


def test_a_symbolic_link_in_the_place_of_the_file_is_not_followed(
    directory: Directory, writer: MakeWriter, tmp_path: Path
) -> None:
    target = tmp_path / "elsewhere"
    target.touch()
    running = writer()
    write(running, 1)
    record_path(directory).rename(directory.path / "audit-host-1.jsonl-20260131")
    record_path(directory).symlink_to(target)
    with pytest.raises(NotOurs, match="symbolic link"):
        write(running, 2)
    assert target.read_bytes() == b""
    record_path(directory).unlink()
    write(running, 2)
    running.close()
    assert good(directory) == 2


@pytest.mark.parametrize("kind", ["pipe", "directory", "socket"])
def test_what_is_no_regular_file_is_refused(directory: Directory, writer: MakeWriter, kind: str) -> None:
    path = record_path(directory)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    else:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(os.path.relpath(path))
    with pytest.raises(OSError, match=r"regular file|directory|No such device"):
        write(writer(), 1)


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o1777, 0o757])
def test_a_directory_that_others_may_write_to_is_not_used(directory: Directory, writer: MakeWriter, mode: int) -> None:
    directory.path.chmod(mode)
    with pytest.raises(NotOurs, match="writable by others; run: chmod"):
        write(writer(), 1)
    directory.path.chmod(0o755)
    write(writer(), 1)


def test_a_file_that_others_may_write_to_is_not_used(directory: Directory, writer: MakeWriter) -> None:
    record_path(directory).touch()
    record_path(directory).chmod(0o666)
    with pytest.raises(NotOurs, match="writable by others"):
        write(writer(), 1)


def test_a_file_or_directory_of_somebody_else_is_not_used(
    directory: Directory, writer: MakeWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    somebody = os.geteuid() + 1
    if os.geteuid() == 0:
        os.chown(directory.path, somebody, -1)
        with pytest.raises(NotOurs, match=f"user id {somebody}"):
            write(writer(), 1)
        os.chown(directory.path, 0, -1)
        record_path(directory).touch()
        os.chown(record_path(directory), somebody, -1)
        with pytest.raises(NotOurs, match=f"user id {somebody}"):
            write(writer(), 1)
    else:  # Without root nothing can be given away, so we become the somebody.
        monkeypatch.setattr(os, "geteuid", lambda: somebody)
        with pytest.raises(NotOurs, match="belongs to user id"):
            write(writer(), 1)


def test_two_writers_on_one_directory_take_a_slot_each(directory: Directory, writer: MakeWriter) -> None:
    one, two = writer(), writer()
    for number in range(3):
        write(one, number)
        write(two, number)
    one.close()
    two.close()
    report = directory.verify()
    assert (report.findings, report.instances, report.records) == ([], 2, 6)


@pytest.mark.parametrize("trouble", ["link", "foreign", "checkpoint", "readonly"])
def test_a_thousand_failed_attempts_leave_no_descriptor_open(
    directory: Directory, writer: MakeWriter, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    running = writer()
    if trouble == "link":
        record_path(directory).symlink_to("nowhere")
    elif trouble == "foreign":
        record_path(directory).write_bytes(b"a line\n")
    elif trouble == "checkpoint":
        (directory.path / "checkpoints-host-1.notes").symlink_to("nowhere")
    else:
        monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(30, "Read-only file system")))
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(200):
        with pytest.raises(OSError, match=r"."):
            write(running, 1)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert len(list(directory.path.glob("audit-*"))) == 1


def test_a_directory_that_vanishes_is_made_anew(directory: Directory, writer: MakeWriter) -> None:
    running = writer()
    write(running, 1)
    directory.path.rename(directory.path.with_name("moved"))
    write(running, 2)
    running.close()
    assert json.loads(record_path(directory).read_bytes())["seq"] == 2
    assert directory.path.stat().st_mode & 0o777 == 0o750


def test_records_are_readable_by_the_group_and_by_nobody_else(directory: Directory, writer: MakeWriter) -> None:
    old = os.umask(0)
    try:
        write(writer(), 1)
    finally:
        os.umask(old)
    assert {path.stat().st_mode & 0o777 for path in directory.path.iterdir()} == {0o640}


def test_when_every_slot_is_taken_nothing_is_written(
    directory: Directory, writer: MakeWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.audit.sinks.file._SLOTS", 2)
    one, two = writer(), writer()
    write(one, 1)
    write(two, 1)
    with pytest.raises(OSError, match="held by other processes"):
        RecordFile.claim(directory.path)
