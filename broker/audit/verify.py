"""Checks record files with public keys alone; needs no broker, no network and no secret.

Records are read one at a time, so a file may be longer than the memory. Files of one instance are read in the order of
their first record, so a file that was rotated away joins its successor; checkpoints found beside the files show where
the chain must at least reach.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from broker.audit.chain import RECORD_MAX, BrokenRecord, Head, Position, check, open_checkpoint, position_of
from broker.audit.reading import lines, record_files
from broker.keys.signing import KeySet

_CHECKPOINT_FILE = re.compile(r"checkpoints-(.+)\.jws")
# The beginning of a compact JWS with an Ed25519 signature, which is 86 characters long: what a kill leaves of one.
_TORN_CHECKPOINT = re.compile(rb"[\w-]*(\.[\w-]*(\.[\w-]{0,86})?)?", re.ASCII)
_TORN = "ends in half a record, as after a crash; nothing was handed out on it"


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong, and the sequence number of the first record that is not as it was written, where it is a record."""

    path: Path
    seq: int | None
    fault: str

    def __str__(self) -> str:
        number = "" if self.seq is None else f"first bad sequence number {self.seq}: "
        return f"{self.path}: {number}{self.fault}"


@dataclass(slots=True)
class Report:
    """The outcome over all files. ``remarks`` are no findings, but the reader should know them."""

    records: int = 0
    instances: int = 0
    checkpoints: int = 0
    findings: list[Finding] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Chain:
    """What there is of one instance. ``whole`` where a directory was named: its checkpoints must then be there."""

    instance: str
    files: list[tuple[int, Path]] = field(default_factory=list)
    checkpoint_files: set[Path] = field(default_factory=set)
    whole: bool = False

    @property
    def last_path(self) -> Path:
        return max(self.files)[1] if self.files else min(self.checkpoint_files)


def verify(roots: Sequence[Path], *, jwks: Mapping[str, Any]) -> Report:
    """Check every record of every file, and every checkpoint that lies beside them.

    Args:
        roots: Record files and audit directories, of one instance or several, in any order.
        jwks: The broker's public keys (RFC 7517).

    Raises:
        UnusableKeySet: The JWKS cannot verify anything.
        OSError: A file or directory cannot be read.
    """
    keys = KeySet(jwks=jwks)
    report = Report()
    for chain in _chains(roots, report):
        report.instances += 1
        checkpoints = _checkpoints(chain, keys, report)
        _verify_chain(chain, keys, checkpoints, report)
        if not checkpoints:
            missing = f"no checkpoint beside it: records cut off its end would not be missed ({chain.instance})"
            if chain.whole:
                report.findings.append(Finding(chain.last_path, None, missing))
            else:
                report.remarks.append(f"{chain.last_path}: {missing}")
    return report


def _verify_chain(chain: _Chain, keys: KeySet, checkpoints: dict[int, Head], report: Report) -> None:
    head = Head()
    for _, path in sorted(chain.files):
        for line in lines(path):
            try:
                if line.endswith(b"\n"):
                    head = _next(line[:-1], chain, after=head, keys=keys, checkpoints=checkpoints)
                    report.records += 1
                else:
                    _require_torn(line, after=head, keys=keys)
                    report.remarks.append(f"{path}: {_TORN}")
            except BrokenRecord as error:
                report.findings.append(Finding(path, head.seq + 1, str(error)))
                return
    reached = max(checkpoints, default=0)
    if reached > head.seq:
        fault = f"a checkpoint says that {reached} records were written: the rest is missing"
        report.findings.append(Finding(chain.last_path, head.seq + 1, fault))


def _next(line: bytes, chain: _Chain, *, after: Head, keys: KeySet, checkpoints: Mapping[int, Head]) -> Head:
    record, head = check(line, after=after, keys=keys)
    if record.get("instance") != chain.instance:
        raise BrokenRecord("a record of another instance")
    if checkpoints.get(head.seq, head) != head:
        raise BrokenRecord("not the record that a checkpoint saw here")
    return head


def _require_torn(line: bytes, *, after: Head, keys: KeySet) -> None:
    """Tell half a record from a whole one whose line feed was changed, and from what no broker writes."""
    if len(line) >= RECORD_MAX:
        raise BrokenRecord("longer than any record")
    try:
        check(line[:-1], after=after, keys=keys)
    except BrokenRecord:
        return
    raise BrokenRecord("does not end in a line feed")


def _chains(roots: Sequence[Path], report: Report) -> list[_Chain]:
    chains: dict[str, _Chain] = {}
    for root in roots:
        whole = root.is_dir()
        for path in record_files(root) if whole else [root]:
            position = _first_position(path, report)
            if position is not None:
                chain = chains.setdefault(position.instance, _Chain(position.instance))
                chain.files.append((position.head.seq, path))
                chain.whole |= whole
                beside = path.with_name(f"checkpoints-{position.instance}.jws")
                chain.checkpoint_files |= {beside} if beside.exists() else set()
        # A checkpoint without records speaks of a file that is gone.
        for path in sorted(root.iterdir()) if whole else ():
            if name := _CHECKPOINT_FILE.fullmatch(path.name):
                chains.setdefault(name[1], _Chain(name[1], whole=True)).checkpoint_files.add(path)
    return list(chains.values())


def _first_position(path: Path, report: Report) -> Position | None:
    """Whose file it is and where it begins, by the first line that says so; what is wrong with the others shows later."""
    before, line = 0, b""
    for before, line in enumerate(lines(path)):
        try:
            found = position_of(line.rstrip(b"\n"))
        except BrokenRecord:
            continue
        return Position(instance=found.instance, head=Head(seq=found.head.seq - before))
    if before == 0 and line and not line.endswith(b"\n") and len(line) < RECORD_MAX:
        report.remarks.append(f"{path}: {_TORN}")
    else:
        report.findings.append(Finding(path, 1, "holds no records"))
    return None


def _checkpoints(chain: _Chain, keys: KeySet, report: Report) -> dict[int, Head]:
    """Every position that is stated; of each file the first fault is reported."""
    found: dict[int, Head] = {}
    for path in sorted(chain.checkpoint_files):
        faulty = False
        for number, line in enumerate(lines(path), start=1):
            try:
                head = _checkpoint(line, chain.instance, keys)
            except BrokenRecord as error:
                if not faulty and (line.endswith(b"\n") or not _TORN_CHECKPOINT.fullmatch(line)):
                    report.findings.append(Finding(path, None, f"line {number}: {error}"))
                    faulty = True
                continue
            if found.setdefault(head.seq, head) != head:
                report.findings.append(Finding(path, head.seq, f"line {number}: contradicts another checkpoint"))
            report.checkpoints += 1
    return found


def _checkpoint(line: bytes, instance: str, keys: KeySet) -> Head:
    position = open_checkpoint(line.removesuffix(b"\n").decode("ascii", "replace"), keys=keys)
    if position.instance != instance:
        raise BrokenRecord(f"a checkpoint of another instance, {position.instance!r}")
    return position.head
