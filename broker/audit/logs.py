"""Which files make up whose log: the first step of every reader who has to know all of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from broker.audit.chain import RECORD_MAX, BrokenRecord, Head, Position, position_of
from broker.audit.checkpoint import Checkpoint
from broker.audit.reading import lines, record_files
from broker.keys.signing import KeySet

_CHECKPOINT_FILE = re.compile(r"checkpoints-(.+)\.(?:notes|jws)")
TORN = "ends in half a record, as after a crash; nothing was handed out on it"


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
class InstanceLog:
    """What there is of one instance: record files by their first number, and checkpoints.

    ``keys`` are those that its records and checkpoints are believed with; ``whole`` where a directory was named: its checkpoints
    must then be there. ``elsewhere`` are checkpoints that were kept elsewhere, and in which file.
    """

    instance: str
    keys: KeySet
    files: list[tuple[int, Path]] = field(default_factory=list)
    checkpoint_files: set[Path] = field(default_factory=set)
    whole: bool = False
    elsewhere: list[tuple[Path, Checkpoint]] = field(default_factory=list)

    @property
    def paths(self) -> list[Path]:
        """Its record files, in their order."""
        return [path for _, path in sorted(self.files)]

    @property
    def last_path(self) -> Path:
        """Where it ends; of a log without records where that is said."""
        return self.paths[-1] if self.files else min(self.checkpoint_files)


def logs_of(roots: Sequence[Path], keys: KeySet, report: Report) -> list[InstanceLog]:
    """The logs that lie in directories and files; what belongs to none is reported.

    Raises:
        OSError: A file or directory cannot be read.
    """
    chains: dict[str, InstanceLog] = {}
    seen: set[tuple[int, int]] = set()
    for root in roots:
        whole = root.is_dir()
        for path in record_files(root) if whole else [root]:
            # A crash while a segment began leaves one file with two names.
            file = path.stat().st_dev, path.stat().st_ino
            position = None if file in seen else _first_position(path, report)
            seen.add(file)
            if position is not None:
                chain = chains.setdefault(position.instance, InstanceLog(position.instance, keys))
                chain.files.append((position.head.seq, path))
                chain.whole |= whole
                beside = {path.with_name(f"checkpoints-{position.instance}.{suffix}") for suffix in ("notes", "jws")}
                chain.checkpoint_files |= {path for path in beside if path.exists()}
        # A checkpoint without records speaks of a file that is gone.
        for path in sorted(root.iterdir()) if whole else ():
            if name := _CHECKPOINT_FILE.fullmatch(path.name):
                chains.setdefault(name[1], InstanceLog(name[1], keys, whole=True)).checkpoint_files.add(path)
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
        report.remarks.append(f"{path}: {TORN}")
    else:
        report.findings.append(Finding(path, 1, "holds no records"))
    return None
