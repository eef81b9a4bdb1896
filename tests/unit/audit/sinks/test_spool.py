"""What is read for a sink: what is durable and nothing else, from wherever it lies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.audit.sinks import spool as spool_module
from broker.audit.sinks.spool import Spool
from tests.fakes.audit import Log


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    made = Spool.claim(directory=tmp_path, sink="siem", instance="host-1")
    assert made is not None
    yield made
    made.close()


def put(folder: Path, log: Log, name: str = "audit-host-1.jsonl") -> Path:
    path = folder / name
    path.write_bytes(log.records())
    return path


def read(spool: Spool, upto: int | None, *, records: int = 1000, size: int = 1 << 20) -> list[int]:
    return [seq for seq, _ in spool.read(upto=upto, records=records, size=size).lines]


def test_what_is_not_durable_yet_is_not_read_and_what_took_its_place_is(tmp_path: Path, spool: Spool) -> None:
    log = Log().add(2)
    kept = log.records()
    path = put(tmp_path, log.add(1, action="taken_back"))
    assert read(spool, 2) == [1, 2]
    assert read(spool, 2) == []
    # The writer took the third one back, for the disk did not keep it, and wrote another.
    other = Log().add(2).add(1, action="written_anew")
    assert other.records().startswith(kept)
    path.write_bytes(other.records())
    (line,) = spool.read(upto=3, records=10, size=1 << 20).lines
    assert json.loads(line[1])["action"] == "written_anew"


def test_a_batch_is_as_large_as_it_may_be_and_at_least_one_record(tmp_path: Path, spool: Spool) -> None:
    put(tmp_path, Log().add(5))
    assert read(spool, 5, records=2) == [1, 2]
    assert read(spool, 5, size=1) == [3]
    assert read(spool, 5) == [4, 5]


def test_half_a_record_at_the_end_is_left_to_whoever_seals_it(tmp_path: Path, spool: Spool) -> None:
    log = Log().add(3)
    path = tmp_path / "audit-host-1.jsonl"
    path.write_bytes(log.records()[:-10])
    assert read(spool, None) == [1, 2]
    path.write_bytes(log.records())
    assert read(spool, None) == [3]


def test_a_long_file_is_entered_at_the_cursor(tmp_path: Path, spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_module, "_LINEAR_BYTES", 3000)
    put(tmp_path, Log().add(200))
    for seq in (0, 1, 50, 117, 198, 199):
        spool.save(seq)
        spool.rewind()
        assert read(spool, 200) == [*range(seq + 1, 201)]


def test_a_damaged_record_is_missing_and_those_behind_it_are_read(tmp_path: Path, spool: Spool) -> None:
    log = Log().add(5)
    log.lines[2] = b"x" * 400
    put(tmp_path, log)
    found = spool.read(upto=5, records=10, size=1 << 20)
    assert [seq for seq, _ in found.lines] == [1, 2, 4, 5]
    assert found.missing == [(3, 3)]


def test_records_of_another_instance_are_not_read(tmp_path: Path, spool: Spool) -> None:
    put(tmp_path, Log(instance="host-2").add(3), "audit-host-2.jsonl")
    put(tmp_path, Log().add(1))
    assert read(spool, None) == [1]
