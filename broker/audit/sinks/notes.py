"""The file of checkpoints beside the records: signed notes, one after the other, an empty line behind each."""

from __future__ import annotations

import errno
import os
import re
from itertools import pairwise
from pathlib import Path

from broker.audit.sinks.durable import APPENDING, FILE_MODE, NotOurs, append_or_nothing, sync_directory

# Many notes fit, and the longest does: a note takes a kilobyte and a half, and some hundred bytes for each witness.
_TAIL_BYTES = 1 << 16
# A note ends with a signature line; the empty line within one stands behind its text.
_END = re.compile("^— [^\n]*\n\n".encode(), re.MULTILINE)


def notes_path(directory: Path, instance: str) -> Path:
    """Where the checkpoints of an instance are."""
    return directory / f"checkpoints-{instance}.notes"


def append_note(path: Path, note: str) -> None:
    """Put one more into the file, on stable storage.

    Raises:
        OSError: It is not there.
    """
    descriptor = os.open(path, APPENDING, FILE_MODE)
    try:
        # A kill may have cut the last one short; the new one covers more than it would have.
        end, _ = _whole(descriptor, path)
        os.ftruncate(descriptor, end)
        append_or_nothing(descriptor, f"{note}\n".encode(), end=end)
    finally:
        os.close(descriptor)
    if end == 0:
        sync_directory(path.parent)


def last_notes(path: Path) -> list[str]:
    """The last whole notes as they stand there, the newest last; empty where there are none.

    Raises:
        OSError: The file cannot be read, or does not hold notes.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return []
    try:
        return _whole(descriptor, path)[1]
    finally:
        os.close(descriptor)


def _whole(descriptor: int, path: Path) -> tuple[int, list[str]]:
    """Where whole notes end, and the last of them."""
    size = os.fstat(descriptor).st_size
    start = max(0, size - _TAIL_BYTES)
    tail = os.pread(descriptor, _TAIL_BYTES, start)
    ends = [found.end() for found in _END.finditer(tail)]
    if start and not ends:
        raise NotOurs(errno.EINVAL, "does not end in a checkpoint; move the file away", str(path))
    # Of a longer file the first end in the tail is that of a note whose beginning is not.
    bounds = ends if start else [0, *ends]
    notes = [tail[begin : end - 1].decode("utf-8", "replace") for begin, end in pairwise(bounds)]
    return start + ends[-1] if ends else 0, notes
