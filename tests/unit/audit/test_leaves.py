"""The leaves that proofs are made of, from the record files: in any order, across segments, and on from the last reading."""

from __future__ import annotations

import pytest

from broker.audit.leaves import Leaves
from broker.audit.tree import leaf_hash
from tests.fakes.audit import Directory, Log


@pytest.fixture
def log(directory: Directory) -> Log:
    """Three segments: two closed ones, of four records each, and two records in the file that is written to."""
    log = Log().add(10).checkpoint()
    for first in (1, 5):
        closed = directory.path / f"audit-host-1.{first:012d}.jsonl"
        closed.write_bytes(b"".join(line + b"\n" for line in log.lines[first - 1 : first + 3]))
    directory.records(b"".join(line + b"\n" for line in log.lines[8:]))
    directory.statements(log.statements())
    return log


def hashes(log: Log, old: int, new: int) -> list[bytes]:
    return [leaf_hash(line) for line in log.lines[old:new]]


def test_any_range_is_read_in_any_order(directory: Directory, log: Log) -> None:
    leaves = Leaves(directory.path)
    for old, new in ((0, 10), (9, 10), (2, 5), (4, 8), (0, 3), (8, 9), (3, 10), (10, 10), (5, 6), (4, 6)):
        assert list(leaves.between("host-1", old, new)) == hashes(log, old, new), (old, new)


def test_what_was_appended_since_is_read_on_from_there(directory: Directory, log: Log) -> None:
    leaves = Leaves(directory.path)
    assert list(leaves.between("host-1", 8, 10)) == hashes(log, 8, 10)
    log.add(3)
    with (directory.path / "audit-host-1.jsonl").open("ab") as file:
        file.write(b"".join(line + b"\n" for line in log.lines[10:]) + b'{"half of')
    assert list(leaves.between("host-1", 10, 13)) == hashes(log, 10, 13)


def test_what_is_in_no_file_is_no_leaf(directory: Directory, log: Log) -> None:
    leaves = Leaves(directory.path)
    with pytest.raises(ValueError, match="record 11 is in none of the files"):
        list(leaves.between("host-1", 8, 11))
    (directory.path / "audit-host-1.000000000005.jsonl").unlink()
    with pytest.raises(ValueError, match="record 5 is in none"):
        list(leaves.between("host-1", 2, 10))
    assert list(leaves.between("host-1", 8, 10)) == hashes(log, 8, 10)


def test_a_tree_of_a_size_is_that_of_a_checkpoint_or_of_the_records(directory: Directory, log: Log) -> None:
    leaves = Leaves(directory.path)
    assert leaves.tree_of("host-1", 10) == log.tree
    for size in (0, 1, 7):
        found = leaves.tree_of("host-1", size)
        assert found is not None
        assert found.root() == Log().add(size).tree.root()
    assert leaves.tree_of("host-1", 11) is None
