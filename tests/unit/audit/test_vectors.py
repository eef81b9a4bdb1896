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

RECORDS_FILE = f"audit-{build.INSTANCE}.jsonl"

# Whoever changes a frozen file has to change this too, and to think about it.
FROZEN = {
    "v1/records/audit-broker.example.com-1.jsonl": "41a2ad2c85757716507e53979cbfcdfce9d41903fb40be09e035a936de5c0ddc",
    "v1/records/checkpoints-broker.example.com-1.jws": "ea1b028d620dd973d0489861b48a4e2364a60cb3dc3dc5cd912a888df6a55a22",
    "v1/jwks.json": "246bd4ef825b93ddd254fc1878a2a8dff6b6e9ed96de102ce62fcb0b9728a110",
    "v1/sealed.hex": "4680005de5eed16879adf9066461572a3578eba7a7f65ed2d3169c79c3940957",
    "v2/records/audit-broker.example.com-1.jsonl": "0441e0b6ee8bb4b6e8cb5524889044f21817785810fa5ddf4e0e7f73c020fb25",
    "v2/records/checkpoints-broker.example.com-1.jws": "91932f0c3f0b4f00ae23574f0a4753fda23964da18157051fe5517a34367cb38",
    "v2/jwks.json": "246bd4ef825b93ddd254fc1878a2a8dff6b6e9ed96de102ce62fcb0b9728a110",
    "v2/sealed.hex": "589b23828ac18f100605bbde849d3fe2a2c7a27b36382878d79305d7da158340",
    "v3/records/audit-broker.example.com-1.jsonl": "22e91912c09763b0b8f3db61f4490ad427a13f3263f49334760fcce4e5937864",
    "v3/records/checkpoints-broker.example.com-1.notes": "f903c6ac3fde58feec60802041040583c848801e34cb229fb35ef420f2d94ac9",
    "v3/jwks.json": "246bd4ef825b93ddd254fc1878a2a8dff6b6e9ed96de102ce62fcb0b9728a110",
    "v3/sealed.hex": "d32eb42be250ea870eb07e7240842244d5fe740b59b1a1f8007291a4e893b132",
}
# Records, instances, checkpoints.
HELD = {"v1": (9, 1, 3), "v2": (12, 1, 3), "v3": (14, 1, 4)}
VERSIONS = sorted(HELD)


def jwks(version: str) -> dict[str, object]:
    found: dict[str, object] = json.loads((build.ALL / version / "jwks.json").read_text())
    return found


def test_the_frozen_files_are_as_they_were_frozen() -> None:
    files = [path for version in VERSIONS for path in (build.ALL / version).rglob("*") if path.is_file()]
    found = {str(path.relative_to(build.ALL)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    assert found == FROZEN
    assert {path.name for path in build.ALL.glob("v*")} == set(VERSIONS)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_frozen_records_and_checkpoints_verify(version: str) -> None:
    report = verify([build.ALL / version / "records"], jwks=jwks(version))
    assert (report.findings, len(report.remarks)) == ([], version == "v3")
    assert (report.records, report.instances, report.checkpoints) == HELD[version]


@pytest.mark.parametrize(
    ("version", "number"), [(version, number) for version in VERSIONS for number in range(HELD[version][0])]
)
def test_a_frozen_record_that_is_changed_is_found(tmp_path: Path, version: str, number: int) -> None:
    for path in (build.ALL / version / "records").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    path = tmp_path / RECORDS_FILE
    lines = path.read_bytes().split(b"\n")
    lines[number] = lines[number].replace(b'"timestamp":"2026', b'"timestamp":"2027')
    path.write_bytes(b"\n".join(lines))
    assert verify([tmp_path], jwks=jwks(version)).findings[0].seq == number + 1


def test_the_same_events_make_the_same_bytes_today() -> None:
    lines, statements = build.records()
    assert lines == (build.RECORDS / RECORDS_FILE).read_bytes()
    assert statements == (build.RECORDS / f"checkpoints-{build.INSTANCE}.notes").read_bytes()


@pytest.mark.parametrize("version", VERSIONS)
def test_the_frozen_envelope_opens(version: str) -> None:
    envelope = Envelope(keys=[KeyHierarchy(master=build.MASTER).derive(Use.CACHE_SEAL)])
    sealed = bytes.fromhex((build.ALL / version / "sealed.hex").read_text())
    assert envelope.open(sealed, context=build.CONTEXT) == build.PLAINTEXT
