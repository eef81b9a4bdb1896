"""Bytes on stable storage, in files that nobody else may write to."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from errno import EINVAL, ELOOP, EPERM
from pathlib import Path

FILE_MODE = 0o640
APPENDING = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


class NotOurs(OSError):
    """What stands at the path is not what this process may write to: nothing is appended to it."""


def open_locked(path: Path) -> int | None:
    """A descriptor of the file at the path, made where missing, with its exclusive lock; None where another process has it.

    Raises:
        OSError: It cannot be used; ``NotOurs`` where others may write to it or where it is no regular file.
    """
    try:
        descriptor = os.open(path, APPENDING | os.O_NONBLOCK, FILE_MODE)
    except OSError as error:
        if error.errno == ELOOP:
            raise NotOurs(ELOOP, "is a symbolic link; remove it", str(path)) from error
        raise
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise NotOurs(EINVAL, "is not a regular file; remove it", str(path))
        require_closed_to_others(status, path)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        os.close(descriptor)
        raise
    # Between opening and locking, whoever held it may have renamed it and let it go.
    if is_at(descriptor, path):
        return descriptor
    os.close(descriptor)
    return None


def is_at(descriptor: int, path: Path) -> bool:
    """Whether the file that is open is still the one that has this name."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat(follow_symlinks=False))
    except FileNotFoundError:
        return False


def require_closed_to_others(status: os.stat_result, path: Path) -> None:
    """Whoever else can write could make a record vanish before anybody verifies.

    Raises:
        NotOurs: Somebody else can.
    """
    if status.st_uid not in (0, os.geteuid()):
        raise NotOurs(EPERM, f"belongs to user id {status.st_uid}; run: chown {os.geteuid()} {path}", str(path))
    if status.st_mode & _OTHERS_WRITE:
        raise NotOurs(EPERM, f"is writable by others; run: chmod go-w {path}", str(path))


def append_or_nothing(descriptor: int, data: bytes, *, end: int) -> None:
    """Write all of it, or cut the file off at ``end`` and raise.

    Raises:
        OSError: It is not on stable storage.
    """
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


def sync_directory(directory: Path) -> None:
    """Make names durable: a file whose name is lost is lost."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
