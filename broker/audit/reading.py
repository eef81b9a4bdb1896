"""Which files of an audit directory hold records, and what is in them, piece by piece: a log may be longer than the memory.

Nothing is checked here: whoever has to believe a record asks ``verify``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from broker.audit.chain import RECORD_MAX

# How a signature line of a note begins.
_SIGNATURE = "— ".encode()


def record_files(directory: Path) -> list[Path]:
    """The record files of an audit directory: those that begin with ``{``, and those that should."""
    found = []
    for path in sorted(directory.iterdir()):
        if path.is_file():
            with path.open("rb") as file:
                first = file.read(1)
            named = path.name.startswith("audit-") and path.suffix == ".jsonl"
            if first == b"{" or (first and named):
                found.append(path)
    return found


def lines(path: Path) -> Iterator[bytes]:
    """Its lines, with their line feeds; of one that is longer than any record, pieces."""
    with path.open("rb") as file:
        while line := file.readline(RECORD_MAX):
            yield line


def notes(path: Path) -> Iterator[tuple[bytes, bool]]:
    """The checkpoints of a file, and whether each is whole: it ends where an empty line stands behind a signature line."""
    note, signed = b"", False
    for line in lines(path):
        if signed and line == b"\n":
            yield note, True
            note, signed = b"", False
            continue
        note, signed = note + line, line.startswith(_SIGNATURE)
        if len(note) > RECORD_MAX:
            yield note, True
            note = b""
    if note:
        yield note, False
