"""The record file: append only, one writer, whole lines or nothing.

Every instance that shares a directory takes a slot of its own, ``audit-HOST-N.jsonl``, held by a lock that the kernel drops
when the process dies. ``append`` returns when the bytes are on stable storage; where it raises, the file ends where it
ended before. What a killed predecessor left half-written stays where it is until the record that seals it is appended.

A file that is long enough, or of an earlier day, becomes a closed segment, ``audit-HOST-N.FIRST.jsonl`` by the number of its
first record, and a new one takes its place. At no moment is the place empty or unlocked.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
from datetime import datetime
from pathlib import Path

import orjson

from broker.audit.chain import RECORD_MAX, BrokenRecord, Head, position_of
from broker.audit.sinks.durable import (
    NotOurs,
    append_or_nothing,
    is_at,
    open_locked,
    require_closed_to_others,
    sync_directory,
)

_DIRECTORY_MODE = 0o750
# More instances than this never share one directory; past it the locks are somebody else's.
_SLOTS = 64
# Some 75,000 records: a minute's work for `audit verify`, and a start reads no more than this to know where the tree stands.
_SEGMENT_BYTES = 64 << 20


class RecordFile:
    """One instance's records. For one thread at a time.

    ``head`` is the position of the last whole record when the file was opened, taken at its word; ``torn`` are the bytes
    behind it, to be cut off by the next ``append``.
    """

    def __init__(self, *, path: Path, descriptor: int, instance: str) -> None:
        """Take over an open, locked file; see ``claim``."""
        self.path = path
        self.instance = instance
        self._descriptor = descriptor
        self._size, self.head, self.torn = _read_tail(descriptor, path, instance)
        # Whether bytes behind _size are known: torn ones, or what a failed append could not take back.
        self._leftover = bool(self.torn)

    @classmethod
    def claim(cls, directory: Path) -> RecordFile:
        """Open the first file of this host that no other process holds, making directory and file where missing.

        Raises:
            OSError: The directory or file cannot be used; ``NotOurs`` where others may write to it, or where the file
                does not end in a record of this instance.
        """
        directory.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
        require_closed_to_others(directory.stat(), directory)
        host = re.sub(r"[^A-Za-z0-9.-]", "_", socket.gethostname())
        for slot in range(1, _SLOTS + 1):
            path = directory / f"audit-{host}-{slot}.jsonl"
            descriptor = open_locked(path)
            if descriptor is not None:
                try:
                    file = cls(path=path, descriptor=descriptor, instance=f"{host}-{slot}")
                    file._forget_half_a_segment()
                    sync_directory(directory)
                except OSError:
                    os.close(descriptor)
                    raise
                return file
        raise OSError(errno.EBUSY, f"all {_SLOTS} audit files of {host} are held by other processes", str(directory))

    @property
    def disk(self) -> int:
        """The number of its file system."""
        return os.fstat(self._descriptor).st_dev

    def is_as_we_left_it(self) -> bool:
        """False once the file was unlinked, renamed, replaced or changed in length: writing on would write into nothing."""
        size = os.fstat(self._descriptor).st_size
        same_length = size == self._size or (self._leftover and size > self._size)
        return same_length and is_at(self._descriptor, self.path)

    def append(self, data: bytes) -> None:
        """Put whole lines at the end, on stable storage.

        Raises:
            OSError: Nothing of ``data`` remains in the file, or it is cut off before the next append.
        """
        if self._leftover:
            os.ftruncate(self._descriptor, self._size)
        self._leftover = True
        append_or_nothing(self._descriptor, data, end=self._size)
        self._size += len(data)
        self._leftover = False
        self.torn = b""

    def is_due(self, now: datetime) -> bool:
        """Whether a new segment should begin: this one is long enough, or its first record is of an earlier day (UTC)."""
        first = self._first()
        return self._size >= _SEGMENT_BYTES or (first is not None and first[1] < now.date().isoformat())

    def begin_segment(self) -> RecordFile:
        """Close this file under the name of a segment and put an empty one in its place; the caller closes this one.

        Three steps, and a crash after any of them loses nothing: the new file lies ready and locked; the records get their
        second name; the new file takes the first. With the second undone, nothing was ever begun.

        Raises:
            OSError: It was not begun, or perhaps begun and not durable: ``is_as_we_left_it`` tells.
        """
        first = self._first()
        if first is None:
            raise OSError(errno.EINVAL, "does not begin with a record", str(self.path))
        closed = self._segment(first[0])
        ready = self.path.with_name(f"audit-{self.instance}.next")
        descriptor = open_locked(ready)
        if descriptor is None:
            raise OSError(errno.EBUSY, "is held by another process", str(ready))
        try:
            self._forget_half_a_segment()
            os.ftruncate(descriptor, 0)
            # Not rename(): that would do away with whatever has this name.
            os.link(self.path, closed, follow_symlinks=False)
            ready.rename(self.path)
            sync_directory(self.path.parent)
            return RecordFile(path=self.path, descriptor=descriptor, instance=self.instance)
        except OSError:
            os.close(descriptor)
            raise

    def behind(self) -> list[Path]:
        """The files beside this one that hold earlier records: closed segments, and what an administrator renamed."""
        rotated = re.compile(rf"audit-{re.escape(self.instance)}\.\d+\.jsonl.*|{re.escape(self.path.name)}.+")
        found = [path for path in self.path.parent.iterdir() if rotated.fullmatch(path.name) and path.is_file()]
        return sorted(found)

    def last_segment(self) -> Path | None:
        """The file that ``begin_segment`` closed last."""
        name = re.compile(rf"audit-{re.escape(self.instance)}\.(\d{{12,}})\.jsonl")
        found = {int(match[1]): path for path in self.behind() if (match := name.fullmatch(path.name))}
        return found[max(found)] if found else None

    def ends_behind(self) -> list[Path]:
        """The files behind this one that may hold the record before its first: those that were renamed, of segments the last."""
        last = self.last_segment()
        renamed = [path for path in self.behind() if path.name.startswith(self.path.name)]
        return [*renamed, *([last] if last else [])]

    def close(self) -> None:
        """Let go of the file and its lock."""
        os.close(self._descriptor)

    def _forget_half_a_segment(self) -> None:
        """A crash or a fault came between the second and the third step of ``begin_segment``: one file has both names."""
        first = self._first()
        closed = self._segment(first[0]) if first else None
        if closed is not None and is_at(self._descriptor, closed):
            closed.unlink()

    def _segment(self, first: int) -> Path:
        return self.path.with_name(f"audit-{self.instance}.{first:012d}.jsonl")

    def _first(self) -> tuple[int, str] | None:
        """Number and day of the first record, taken at its word."""
        line, line_feed, _ = os.pread(self._descriptor, RECORD_MAX, 0).partition(b"\n")
        try:
            seq = position_of(line).head.seq if line_feed else None
        except BrokenRecord:
            return None
        return None if seq is None else (seq, str(orjson.loads(line).get("timestamp"))[:10])


def head_of(path: Path, instance: str) -> Head:
    """Where a file of an instance ends; nowhere where it is compressed, damaged or foreign."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return _read_tail(descriptor, path, instance)[1]
        finally:
            os.close(descriptor)
    return Head()


def _read_tail(descriptor: int, path: Path, instance: str) -> tuple[int, Head, bytes]:
    """Where whole lines end, the head they stand for, and what lies torn behind them."""
    size = os.fstat(descriptor).st_size
    tail = os.pread(descriptor, RECORD_MAX, max(0, size - RECORD_MAX))
    whole, line_feed, torn = tail.rpartition(b"\n")
    if not line_feed and size > len(torn):
        raise _damaged(path, "longer than any record")
    if not line_feed:
        return 0, Head(), torn
    try:
        position = position_of(whole.rpartition(b"\n")[2])
    except BrokenRecord as error:
        raise _damaged(path, str(error)) from error
    if position.instance != instance:
        raise _damaged(path, f"of another instance, {position.instance!r}")
    return size - len(torn), position.head, torn


def _damaged(path: Path, why: str) -> NotOurs:
    text = f"the last audit record is {why}; run `zerotrust-admin audit verify`, then move the file away"
    return NotOurs(errno.EINVAL, text, str(path))
