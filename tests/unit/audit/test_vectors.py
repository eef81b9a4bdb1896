"""What was written by an earlier version verifies and opens for ever. The files are frozen; only their reader may change."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from broker.audit.verify import verify
from broker.keys.envelope import Envelope
from broker.keys.hierarchy import KeyHierarchy, Use
from tests.vectors.audit import build

FOLDER = build.FOLDER
JWKS = json.loads((FOLDER / "jwks.json").read_text())

# Whoever changes a frozen file has to change this too, and to think about it.
FROZEN = {
    "records/audit-broker.example.com-1.jsonl": "41a2ad2c85757716507e53979cbfcdfce9d41903fb40be09e035a936de5c0ddc",
    "records/checkpoints-broker.example.com-1.jws": "ea1b028d620dd973d0489861b48a4e2364a60cb3dc3dc5cd912a888df6a55a22",
    "jwks.json": "246bd4ef825b93ddd254fc1878a2a8dff6b6e9ed96de102ce62fcb0b9728a110",
    "sealed.hex": "4680005de5eed16879adf9066461572a3578eba7a7f65ed2d3169c79c3940957",
}


def test_the_frozen_files_are_as_they_were_frozen() -> None:
    files = [path for path in FOLDER.rglob("*") if path.is_file()]
    assert {str(path.relative_to(FOLDER)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files} == FROZEN


def test_the_frozen_records_and_checkpoints_verify() -> None:
    report = verify([build.RECORDS], jwks=JWKS)
    assert (report.findings, report.remarks) == ([], [])
    assert (report.records, report.instances, report.checkpoints) == (9, 1, 3)


@pytest.mark.parametrize("number", range(9))
def test_a_frozen_record_that_is_changed_is_found(tmp_path: Path, number: int) -> None:
    for path in build.RECORDS.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    path = tmp_path / "audit-broker.example.com-1.jsonl"
    lines = path.read_bytes().split(b"\n")
    lines[number] = lines[number].replace(b'"timestamp":"2026', b'"timestamp":"2027')
    path.write_bytes(b"\n".join(lines))
    assert verify([tmp_path], jwks=JWKS).findings[0].seq == number + 1


def test_the_same_events_make_the_same_bytes_today() -> None:
    lines, statements = build.records()
    assert lines == (build.RECORDS / "audit-broker.example.com-1.jsonl").read_bytes()
    assert statements == (build.RECORDS / "checkpoints-broker.example.com-1.jws").read_bytes()


def test_the_frozen_envelope_opens() -> None:
    envelope = Envelope(keys=[KeyHierarchy(master=build.MASTER).derive(Use.CACHE_SEAL)])
    sealed = bytes.fromhex((FOLDER / "sealed.hex").read_text())
    assert envelope.open(sealed, context=build.CONTEXT) == build.PLAINTEXT
