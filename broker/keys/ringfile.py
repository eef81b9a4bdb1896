"""The keyring on the disk of one host, shared by its instances: lines of text, replaced as a whole and merged with what is there.

What it holds is sealed entry by entry, and the first line is the digest of all others: a bit that flipped is named as what it
is, and is never taken for a ring that is empty or that nobody can open. Nobody makes new keys over a file that is there.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
import stat
from collections.abc import Callable
from pathlib import Path

from broker.core.stable_file import one_writer, open_lock, replace_file
from broker.keys.keyring import Entry, Ring, decoded, encoded

NAME = "keyring"
_HEAD = b"zerotrust keyring v1 sha256:"
_DIRECTORY_MODE = 0o700
# Bytes. A year of daily versions with their tombstones takes two hundred thousand.
_SIZE_MAX = 16 << 20

_log = logging.getLogger(__name__)


class RingDamaged(Exception):
    """The file is there and cannot be believed."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(f"{path} {what}")


class RingFile:
    """For one thread at a time."""

    def __init__(self, *, directory: Path) -> None:
        self.path = directory / NAME
        self._seen: tuple[int, int] | None = None
        self._use = -1

    def read(self) -> list[Entry]:
        """What it says; nothing where there is none.

        Raises:
            RingDamaged: It was altered, or cut short.
            OSError: It cannot be read.
        """
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            self._seen = None
            return []
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise RingDamaged(self.path, "is not a regular file")
            head, _, body = file.read(_SIZE_MAX).partition(b"\n")
        if head != _HEAD + hashlib.sha256(body).hexdigest().encode():
            raise RingDamaged(self.path, "was altered or cut short")
        try:
            entries = [decoded(line) for line in body.splitlines()]
        except ValueError as error:
            raise RingDamaged(self.path, "is of another version") from error
        self._seen = (status.st_ino, status.st_mtime_ns)
        return entries

    def claim(self) -> None:
        """Use the folder until ``close``, so that nobody else of this host believes to be alone."""
        with contextlib.suppress(OSError):  # a folder that takes nothing has nothing to be destroyed in it
            self.path.parent.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
            self._use = open_lock(self.path.with_suffix(".use"))
            fcntl.flock(self._use, fcntl.LOCK_SH)

    def is_ours_alone(self) -> bool:
        """Whether nobody else of this host has claimed it at this moment."""
        if self._use < 0:
            return False
        try:
            fcntl.flock(self._use, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            fcntl.flock(self._use, fcntl.LOCK_SH)
        return True

    def close(self) -> None:
        """Let go."""
        if self._use >= 0:
            os.close(self._use)
            self._use = -1

    def is_changed(self) -> bool:
        """Whether it is not as we last read or wrote it."""
        try:
            status = self.path.stat(follow_symlinks=False)
        except FileNotFoundError:
            return self._seen is not None
        return (status.st_ino, status.st_mtime_ns) != self._seen

    def change(self, alter: Callable[[Ring], Ring]) -> Ring:
        """Put in its place what ``alter`` makes of what is there, while nobody else of this host does; returns that.

        A file that was damaged while we ran is put aside: who runs knows all that it held.

        Raises:
            OSError: What was there is.
        """
        self.path.parent.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
        with one_writer(self.path):
            try:
                there = Ring.of(self.read())
                is_there = self._seen is not None
            except RingDamaged as error:
                _log.error("keys: %s; it is put aside and written anew", error)
                self.path.rename(self.path.with_suffix(".damaged"))
                there, is_there = Ring(), False
            wanted = alter(there)
            if wanted != there or not is_there:
                # Until it is written, what others put there has reached nobody here: the next look must find it changed.
                self._seen = None
                self._replace(wanted)
            return wanted

    def _replace(self, ring: Ring) -> None:
        body = b"".join(encoded(entry) + b"\n" for entry in sorted(ring, key=lambda entry: entry.name))
        status = replace_file(self.path, _HEAD + hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
        self._seen = (status.st_ino, status.st_mtime_ns)
