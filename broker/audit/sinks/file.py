"""The record file: append only, one writer, whole lines or nothing.

Every instance that shares a directory takes a slot of its own, ``audit-HOST-N.jsonl``, held by a lock that the kernel drops
when the process dies. ``append`` returns when the bytes are on stable storage; where it raises, the file ends where it
ended before. What a killed predecessor left half-written stays where it is until the record that seals it is appended.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import socket
import stat
from pathlib import Path

from broker.audit.chain import RECORD_MAX, BrokenRecord, Head, position_of

_FILE_MODE = 0o640
_DIRECTORY_MODE = 0o750
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
# More instances than this never share one directory; past it the locks are somebody else's.
_SLOTS = 64
# A checkpoint takes half a kilobyte.
_CHECKPOINT_TAIL_BYTES = 4096
_APPENDING = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


class NotOurs(OSError):
    """What stands at the path is not what this process may write to: nothing is appended to it."""


class RecordFile:
    """One instance's records and, beside them, its checkpoints. For one thread at a time.

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
        _require_closed_to_others(directory.stat(), directory)
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

    def is_as_we_left_it(self) -> bool:
        """False once the file was unlinked, renamed, replaced or changed in length: writing on would write into nothing."""
        ours = os.fstat(self._descriptor)
        try:
            there = self.path.stat(follow_symlinks=False)
        except FileNotFoundError:
            return False
        same_length = ours.st_size == self._size or (self._leftover and ours.st_size > self._size)
        return same_length and (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino)

    def append(self, data: bytes) -> None:
        """Put whole lines at the end, on stable storage.

        Raises:
            OSError: Nothing of ``data`` remains in the file, or it is cut off before the next append.
        """
        if self._leftover:
            os.ftruncate(self._descriptor, self._size)
        self._leftover = True
        _append_or_nothing(self._descriptor, data, end=self._size)
        self._size += len(data)
        self._leftover = False
        self.torn = b""

    def append_checkpoint(self, text: str) -> None:
        """Put one checkpoint into the file beside the records, on stable storage.

        Raises:
            OSError: It is not there.
        """
        descriptor = os.open(self._checkpoints, _APPENDING, _FILE_MODE)
        try:
            # A kill may have cut the last one short; the new one covers more than it would have.
            end, _ = _whole_checkpoints(descriptor, self._checkpoints)
            os.ftruncate(descriptor, end)
            _append_or_nothing(descriptor, text.encode() + b"\n", end=end)
        finally:
            os.close(descriptor)
        if end == 0:
            _sync_directory(self.path.parent)

    def last_checkpoint(self) -> str:
        """The last whole checkpoint as it stands there; empty where there is none."""
        try:
            descriptor = os.open(self._checkpoints, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return ""
        try:
            _, lines = _whole_checkpoints(descriptor, self._checkpoints)
        finally:
            os.close(descriptor)
        return lines.rpartition(b"\n")[2].decode("ascii", "replace")

    def rotated_heads(self) -> list[Head]:
        """Where the files end that were renamed away from this one and lie beside it (``audit-HOST-N.jsonl-20260131``)."""
        heads = []
        for path in self.path.parent.glob(f"{self.path.name}?*"):
            with contextlib.suppress(OSError):  # Compressed, damaged or foreign: it says nothing about the chain.
                descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
                try:
                    heads.append(_read_tail(descriptor, path, self.instance)[1])
                finally:
                    os.close(descriptor)
        return heads

    def close(self) -> None:
        """Let go of the file and its lock."""
        os.close(self._descriptor)

    @property
    def _checkpoints(self) -> Path:
        return self.path.with_name(f"checkpoints-{self.instance}.jws")


def _open_locked(path: Path) -> int | None:
    """A descriptor with the exclusive lock, or None where another process has it."""
    try:
        descriptor = os.open(path, _APPENDING | os.O_NONBLOCK, _FILE_MODE)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise NotOurs(errno.ELOOP, "is a symbolic link; remove it", str(path)) from error
        raise
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise NotOurs(errno.EINVAL, "is not a regular file; remove it", str(path))
        _require_closed_to_others(status, path)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _require_closed_to_others(status: os.stat_result, path: Path) -> None:
    """Whoever else can write could make a record vanish before anybody verifies."""
    if status.st_uid not in (0, os.geteuid()):
        raise NotOurs(errno.EPERM, f"belongs to user id {status.st_uid}; run: chown {os.geteuid()} {path}", str(path))
    if status.st_mode & _OTHERS_WRITE:
        raise NotOurs(errno.EPERM, f"is writable by others; run: chmod go-w {path}", str(path))


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


def _whole_checkpoints(descriptor: int, path: Path) -> tuple[int, bytes]:
    """Where whole checkpoints end, and the last of them, without the last line feed."""
    size = os.fstat(descriptor).st_size
    tail = os.pread(descriptor, _CHECKPOINT_TAIL_BYTES, max(0, size - _CHECKPOINT_TAIL_BYTES))
    whole, line_feed, torn = tail.rpartition(b"\n")
    if not line_feed and size > len(torn):
        raise NotOurs(errno.EINVAL, "does not end in a checkpoint; move the file away", str(path))
    return size - len(torn), whole


def _append_or_nothing(descriptor: int, data: bytes, *, end: int) -> None:
    try:
        # A short write raises nothing in Python, and on a full disk it is the first sign.
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fdatasync(descriptor)
    except OSError:
        with contextlib.suppress(OSError):  # The first error is the one that says what is wrong.
            os.ftruncate(descriptor, end)
        raise


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
