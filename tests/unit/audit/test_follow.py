"""Whoever follows the records sees each once, in order, whatever becomes of the files meanwhile."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from broker.audit import follow
from broker.audit.follow import Follower
from broker.audit.search import Found
from tests.fakes.audit import NOON, Directory, Log


def everything(_: Found) -> bool:
    return True


def numbers(found: list[Found]) -> list[tuple[str, int]]:
    return [(one.says["instance"], one.says["seq"]) for one in found]


def append(path: Path, lines: list[bytes]) -> None:
    with path.open("ab") as file:
        file.write(b"".join(line + b"\n" for line in lines))


@pytest.mark.parametrize("block", [1, 300, 1 << 20])
def test_the_last_ones_of_all_instances_come_in_the_order_of_time(
    directory: Directory, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "_BLOCK", block)
    one, other = Log(), Log(instance="host-2")
    for minute in range(6):
        one.add(1, timestamp=NOON + timedelta(minutes=2 * minute))
        other.add(1, timestamp=NOON + timedelta(minutes=2 * minute + 1))
    (directory.path / "audit-host-1.jsonl-1").write_bytes(b"".join(line + b"\n" for line in one.lines[:4]))
    directory.records(b"".join(line + b"\n" for line in one.lines[4:]))
    directory.records(other.records(), instance="host-2")
    follower = Follower([directory.path], everything)
    assert numbers(follower.last(5)) == [("host-2", 4), ("host-1", 5), ("host-2", 5), ("host-1", 6), ("host-2", 6)]
    assert follower.new() == []
    assert len(Follower([directory.path], everything).last(100)) == 12
    assert Follower([directory.path], everything).last(0) == []


def test_only_what_is_wanted_counts_as_the_last(directory: Directory) -> None:
    directory.records(Log().add(2, success=False).add(50).records())
    follower = Follower([directory.path], lambda found: found.says["success"] is False)
    assert numbers(follower.last(5)) == [("host-1", 1), ("host-1", 2)]


def test_what_comes_comes_once_and_half_a_line_when_it_is_whole(directory: Directory) -> None:
    log = Log().add(6)
    path = directory.records(log.lines[0] + b"\n")
    follower = Follower([directory.path], everything)
    assert numbers(follower.last(1)) == [("host-1", 1)]
    append(path, log.lines[1:3])
    with path.open("ab") as file:
        file.write(log.lines[3][:100])
    assert numbers(follower.new()) == [("host-1", 2), ("host-1", 3)]
    assert follower.new() == []
    with path.open("ab") as file:
        file.write(log.lines[3][100:] + b"\n")
    assert numbers(follower.new()) == [("host-1", 4)]


def test_a_torn_line_at_the_beginning_is_never_shown_as_one_of_the_last(directory: Directory) -> None:
    log = Log().add(3)
    directory.records(log.lines[0] + b"\n" + log.lines[1][:50])
    follower = Follower([directory.path], everything)
    assert numbers(follower.last(5)) == [("host-1", 1)]
    directory.records(log.lines[0] + b"\n" + log.lines[1] + b"\n")
    assert numbers(follower.new()) == [("host-1", 2)]


def test_a_file_that_is_renamed_is_read_to_its_end_and_the_next_from_its_beginning(directory: Directory) -> None:
    log = Log().add(6)
    path = directory.records(log.lines[0] + b"\n")
    follower = Follower([directory.path], everything)
    follower.last(1)
    append(path, log.lines[1:3])
    path.rename(directory.path / "audit-host-1.jsonl-20260131")
    directory.records(log.lines[3] + b"\n")
    assert numbers(follower.new()) == [("host-1", 2), ("host-1", 3), ("host-1", 4)]
    append(path, log.lines[4:])
    assert numbers(follower.new()) == [("host-1", 5), ("host-1", 6)]


def test_a_file_that_is_copied_and_emptied_in_its_place_is_followed_on(directory: Directory) -> None:
    log = Log().add(6)
    path = directory.records(log.records()[: sum(len(line) + 1 for line in log.lines[:3])])
    follower = Follower([directory.path], everything)
    follower.last(1)
    (directory.path / "audit-host-1.jsonl.1").write_bytes(path.read_bytes())
    # Longer than what was read of the old one: its length alone would not show it.
    directory.records(b"".join(line + b"\n" for line in log.lines[3:]))
    assert numbers(follower.new()) == [("host-1", 4), ("host-1", 5), ("host-1", 6)]


def test_a_name_that_another_file_has_taken_in_between_is_not_read_as_the_old_one(
    directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log().add(6)
    path = directory.records(log.lines[0] + b"\n")
    follower = Follower([directory.path], everything)
    follower.last(1)
    seen = follower._present()
    directory.records(b"".join(line + b"\n" for line in log.lines[2:]))
    monkeypatch.setattr(follower, "_present", lambda: seen)
    assert (list(seen.values()), follower.new()) == ([path], [])


def test_an_instance_that_starts_later_is_followed_from_its_first_record(directory: Directory) -> None:
    directory.records(Log().add(2).records())
    follower = Follower([directory.path], everything)
    follower.last(1)
    directory.records(Log(instance="host-2").add(2).records(), instance="host-2")
    assert numbers(follower.new()) == [("host-2", 1), ("host-2", 2)]


def test_a_directory_that_is_not_there_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Follower([tmp_path / "none"], everything).last(1)
