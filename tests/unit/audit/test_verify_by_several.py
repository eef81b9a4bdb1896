"""Several processes find what one finds, also while the log grows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from broker.audit.inspector import Inspector, Result
from broker.audit.verify import verify
from tests.fakes.audit import Directory, Log


@pytest.fixture(autouse=True)
def _several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.audit.verify.WORTH_PROCESSES_BYTES", 0)
    monkeypatch.setattr("broker.audit.inspector._BATCH", 7)


@pytest.mark.parametrize("bad", [None, 1, 7, 8, 33, 100])
def test_the_first_bad_record_is_the_same_wherever_it_is_in_the_batches(directory: Directory, bad: int | None) -> None:
    directory.put(Log().add(60).checkpoint().add(40).checkpoint())
    path = directory.path / "audit-host-1.jsonl"
    if bad is not None:
        lines = path.read_bytes().split(b"\n")
        lines[bad - 1] = lines[bad - 1].replace(b"alice", b"mallo")
        path.write_bytes(b"\n".join(lines))
    one, two = (verify([directory.path], jwks=directory.jwks, processes=number) for number in (1, 2))
    assert two == one
    assert [finding.seq for finding in two.findings] == ([bad] if bad else [])
    assert two.records == (bad - 1 if bad else 100)


def test_what_is_written_while_it_reads_is_no_finding(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several processes read ahead: a checkpoint that comes then speaks of records behind what was read."""
    log = Log().add(20).checkpoint()
    directory.put(log)
    inspected = Inspector.inspected

    def grows(self: Inspector, items: Iterable[tuple[Path, bytes]]) -> Iterator[tuple[Path, Result]]:
        found = list(inspected(self, items))
        directory.put(log.add(5).checkpoint())
        return iter(found)

    monkeypatch.setattr(Inspector, "inspected", grows)
    report = verify([directory.path], jwks=directory.jwks, processes=2)
    assert (report.findings, report.records, report.checkpoints) == ([], 20, 1)
