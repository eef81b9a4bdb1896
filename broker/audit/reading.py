"""Which files of an audit directory hold records, and what is in them, piece by piece: a log may be longer than the memory.

Nothing is checked here: whoever has to believe a record asks ``verify``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from broker.audit.chain import RECORD_MAX

# How a signature line of a note begins.
_SIGNATURE = "— ".encode()
# Read at once where bytes are searched and few lines parsed.
_BLOCK = 4 << 20


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


def lines(path: Path, *, end: int | None = None) -> Iterator[bytes]:
    """Its lines, with their line feeds, as far as ``end``; of one that is longer than any record, pieces."""
    left = RECORD_MAX if end is None else end
    with path.open("rb") as file:
        while line := file.readline(min(RECORD_MAX, left)):
            left -= 0 if end is None else len(line)
            yield line


def notes(path: Path, *, end: int | None = None) -> Iterator[tuple[bytes, bool]]:
    """The checkpoints of a file, and whether each is whole: it ends where an empty line stands behind a signature line."""
    note, signed = b"", False
    for line in lines(path, end=end):
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


def blocks(path: Path) -> Iterator[bytes]:
    """Its lines, with their line feeds, some megabytes at a time: to search bytes before anything is parsed."""
    rest = b""
    with path.open("rb") as file:
        while piece := file.read(_BLOCK):
            whole, line_feed, tail = piece.rpartition(b"\n")
            if line_feed:
                yield rest + whole + line_feed
                rest = tail
            elif len(rest := rest + piece) > RECORD_MAX:
                yield rest
                rest = b""
    if rest:
        yield rest


def last_line(path: Path) -> bytes:
    """Its last whole line, without its line feed; empty where there is none, or none as short as a record."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        start = file.seek(max(0, size - RECORD_MAX - 1))
        whole, line_feed, _ = file.read().rpartition(b"\n")
    _, before, line = whole.rpartition(b"\n")
    return line if line_feed and (before or start == 0) else b""
