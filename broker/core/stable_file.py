"""Files that are replaced as a whole: after a crash at any moment there is the old one or the new one, never half of one."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

_FILE_MODE = 0o600


def open_lock(path: Path) -> int:
    """A descriptor to be locked, of a file beside the one that is replaced, which is another one each time. Raises OSError."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, _FILE_MODE)


@contextlib.contextmanager
def one_writer(path: Path) -> Iterator[None]:
    """Inside, no other process of this host that asks here writes to ``path``; waits for whoever does. Raises OSError."""
    lock = open_lock(path.with_suffix(".lock"))
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def replace_file(path: Path, content: bytes) -> os.stat_result:
    """Put a private file into the place of what is there. For one writer at a time: whoever calls holds a lock (``one_writer``).

    The new file is synced before it takes the old one's name, and the name is synced before this returns.

    Returns:
        The new file's status.

    Raises:
        OSError: The new content is not there, and what was there is.
    """
    new = path.with_suffix(".new")
    # What a killed writer left behind is nobody's: the lock is ours.
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, _FILE_MODE)
    # A buffered file writes until all is written, or raises.
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
        status = os.fstat(descriptor)
    new.rename(path)
    sync_directory(path.parent)
    return status


def sync_directory(directory: Path) -> None:
    """Names that were given in it are there after a crash. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
