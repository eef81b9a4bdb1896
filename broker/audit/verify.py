"""Checks record files with public keys alone; needs no broker, no network and no secret.

Memory stays flat whatever the length. Files of one instance are read in the order of their first record, so a file that was
rotated away joins its successor; checkpoints found beside the files show where the chain must at least reach.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from broker.audit.chain import BrokenRecord, Head, check, open_checkpoint, position_of
from broker.keys.signing import KeySet

# A line longer than any record: reading stops there instead of filling the memory.
_LINE_MAX = 1 << 20
_LOWEST_ALLOWED = 0x20


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong, and the sequence number of the first record that is not as it was written."""

    path: Path
    seq: int
    fault: str

    def __str__(self) -> str:
        return f"{self.path}: first bad sequence number {self.seq}: {self.fault}"


@dataclass(slots=True)
class Report:
    """The outcome over all files. ``remarks`` are no findings, but the reader should know them."""

    records: int = 0
    instances: int = 0
    checkpoints: int = 0
    findings: list[Finding] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def record_files(directory: Path) -> list[Path]:
    """The record files of an audit directory: those that begin with ``{``."""
    return [path for path in sorted(directory.iterdir()) if path.is_file() and _begins_with_brace(path)]


def verify(files: Sequence[Path], *, jwks: Mapping[str, Any], checkpoints_required: bool) -> Report:
    """Check every record of every file, and every checkpoint that lies beside them.

    Args:
        files: Record files, of one instance or several, in any order.
        jwks: The broker's public keys (RFC 7517).
        checkpoints_required: True where the files are a whole audit directory: a missing checkpoint is then a finding.

    Raises:
        UnusableKeySet: The JWKS cannot verify anything.
    """
    keys = KeySet(jwks=jwks)
    report = Report()
    for instance, paths in _by_instance(files, report).items():
        report.instances += 1
        checkpoints = _checkpoints(instance, paths, keys, report)
        if not checkpoints:
            missing = f"no checkpoint beside it: records cut off its end would not be missed ({instance})"
            if checkpoints_required:
                report.findings.append(Finding(paths[-1], 1, missing))
            else:
                report.remarks.append(f"{paths[-1]}: {missing}")
        _verify_instance(instance, paths, keys, checkpoints, report)
    return report


def _verify_instance(
    instance: str, paths: Sequence[Path], keys: KeySet, checkpoints: dict[int, Head], report: Report
) -> None:
    head = Head()
    for path in paths:
        for line in _lines(path):
            if not line.endswith(b"\n"):
                report.remarks.append(f"{path}: ends in half a record, as after a crash; the next start seals it")
                break
            try:
                head = _checked(line[:-1], after=head, instance=instance, keys=keys, checkpoints=checkpoints)
            except BrokenRecord as error:
                report.findings.append(Finding(path, head.seq + 1, str(error)))
                return
            report.records += 1
    reached = max(checkpoints, default=0)
    if reached > head.seq:
        fault = f"a checkpoint says {reached} records were written: the end was cut off"
        report.findings.append(Finding(paths[-1], head.seq + 1, fault))


def _checked(line: bytes, *, after: Head, instance: str, keys: KeySet, checkpoints: dict[int, Head]) -> Head:
    if any(byte < _LOWEST_ALLOWED for byte in line):
        raise BrokenRecord("a control character")
    record, head = check(line, after=after, keys=keys)
    if record.get("instance") != instance:
        raise BrokenRecord("a record of another instance")
    if checkpoints.get(head.seq, head) != head:
        raise BrokenRecord("not the record that a checkpoint saw here")
    return head


def _by_instance(files: Iterable[Path], report: Report) -> dict[str, list[Path]]:
    """Group by the instance that the first line names; order within by the first sequence number."""
    groups: dict[str, list[tuple[int, Path]]] = {}
    for path in files:
        first = next(_lines(path), b"").rstrip(b"\n")
        try:
            position = position_of(first)
        except BrokenRecord as error:
            report.findings.append(Finding(path, 1, str(error)))
            continue
        groups.setdefault(position.instance, []).append((position.head.seq, path))
    return {instance: [path for _, path in sorted(group)] for instance, group in groups.items()}


def _checkpoints(instance: str, paths: Sequence[Path], keys: KeySet, report: Report) -> dict[int, Head]:
    found: dict[int, Head] = {}
    for path in sorted({record.with_name(f"checkpoints-{instance}.jws") for record in paths}):
        if not path.exists():
            continue
        for number, line in enumerate(path.read_text(encoding="ascii", errors="replace").splitlines(), start=1):
            try:
                head = open_checkpoint(line, keys=keys).head
            except BrokenRecord as error:
                report.findings.append(Finding(path, number, str(error)))
                break
            found[head.seq] = head
            report.checkpoints += 1
    return found


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while line := file.readline(_LINE_MAX):
            yield line


def _begins_with_brace(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(1) == b"{"
