"""The record file: append only, one writer, whole lines or nothing.

Every instance that shares a directory takes a slot of its own, ``audit-HOST-N.jsonl``, held by a lock that the kernel drops
when the process dies. ``append`` returns when the bytes are on stable storage; where it raises, the file ends where it
ended before. What a killed predecessor left half-written is cut off when the file is opened and handed to the
caller, who seals it into the chain.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import socket
import stat
from pathlib import Path

from broker.audit.chain import BrokenRecord, Head, position_of

_FILE_MODE = 0o640
_DIRECTORY_MODE = 0o750
# More instances than this never share one directory; past it the locks are somebody else's.
_SLOTS = 64
# Longer than any record: the last line is found by reading this much from the end.
_TAIL_BYTES = 1 << 20


class NotOurs(OSError):
    """What stands at the path is not what this process wrote: nothing is appended to it."""


class RecordFile:
    """One instance's records and, beside them, its checkpoints. For one thread at a time."""

    def __init__(self, *, path: Path, descriptor: int, instance: str) -> None:
        """Take over an open, locked file; see ``claim``."""
        self.path = path
        self.instance = instance
        self._descriptor = descriptor
        self._size, self.head, self.torn = _read_tail(descriptor, path)
        if self.torn:
            os.ftruncate(descriptor, self._size)

    @classmethod
    def claim(cls, directory: Path) -> RecordFile:
        """Open the first file of this host that no other process holds, making directory and file where missing.

        Raises:
            OSError: The directory or file cannot be used; ``NotOurs`` where the file does not end in a record.
        """
        directory.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
        host = re.sub(r"[^A-Za-z0-9.-]", "_", socket.gethostname())
        for slot in range(1, _SLOTS + 1):
            path = directory / f"audit-{host}-{slot}.jsonl"
            descriptor = _open_locked(path)
            if descriptor is not None:
                try:
                    _sync_directory(directory)
                    return cls(path=path, descriptor=descriptor, instance=f"{host}-{slot}")
                except OSError:
                    os.close(descriptor)
                    raise
        raise OSError(errno.EBUSY, f"all {_SLOTS} audit files of {host} are held by other processes", str(directory))

    def append(self, data: bytes) -> None:
        """Put whole lines at the end, on stable storage.

        Raises:
            OSError: Nothing of ``data`` remains in the file, or it is cut off before the next append.
        """
        self._check_still_ours()
        if os.fstat(self._descriptor).st_size != self._size:
            os.ftruncate(self._descriptor, self._size)
        try:
            _write_whole(self._descriptor, data)
            os.fdatasync(self._descriptor)
        except OSError:
            os.ftruncate(self._descriptor, self._size)
            raise
        self._size += len(data)

    def append_checkpoint(self, text: str) -> None:
        """Put one checkpoint into the file beside the records, on stable storage."""
        path = self.path.with_name(f"checkpoints-{self.instance}.jws")
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(path, flags, _FILE_MODE)
        try:
            _write_whole(descriptor, text.encode() + b"\n")
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Let go of the file and its lock."""
        os.close(self._descriptor)

    def _check_still_ours(self) -> None:
        """Notice a file that was unlinked, renamed or replaced under us; writing on would be writing into nothing."""
        ours = os.fstat(self._descriptor)
        there = self.path.stat(follow_symlinks=False)
        if (ours.st_dev, ours.st_ino) != (there.st_dev, there.st_ino):
            raise NotOurs(errno.ESTALE, "the audit file was replaced while in use", str(self.path))


def _open_locked(path: Path) -> int | None:
    """A descriptor with the exclusive lock, or None where another process has it."""
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, _FILE_MODE)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise NotOurs(errno.EINVAL, "the audit file is not a regular file", str(path))
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _read_tail(descriptor: int, path: Path) -> tuple[int, Head, bytes]:
    """Where whole lines end, the head they stand for, and what lies torn behind them."""
    size = os.fstat(descriptor).st_size
    tail = os.pread(descriptor, _TAIL_BYTES, max(0, size - _TAIL_BYTES))
    whole, line_feed, torn = tail.rpartition(b"\n")
    if not line_feed and size > len(torn):
        raise NotOurs(errno.EINVAL, "the audit file does not end in records", str(path))
    if not line_feed:
        return 0, Head(), torn
    try:
        head = position_of(whole.rpartition(b"\n")[2]).head
    except BrokenRecord as error:
        text = (
            f"the last audit record is damaged ({error}); run `zerotrust-admin audit verify`, then move the file away"
        )
        raise NotOurs(errno.EINVAL, text, str(path)) from error
    return size - len(torn), head, torn


def _write_whole(descriptor: int, data: bytes) -> None:
    # A short write raises nothing in Python, and on a full disk it is the first sign.
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
