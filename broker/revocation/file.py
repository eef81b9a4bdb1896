"""The ledger on the disk of one host: sealed, replaced as a whole, and merged with what is there.

It is a line of base64, for it may lie among the records, whose readers expect text.

What is written is there after a crash at any moment: a new file is synced before it takes the old one's name, and the name is
synced before anybody hears of it. Instances of one host may share a folder; each reads what the others wrote before it writes.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from broker.core.stable_file import one_writer, replace_file
from broker.keys.envelope import CannotOpen, Envelope, armoured, unarmoured
from broker.revocation.ledger import Entry, Ledger, decoded, encoded

_NAME = "revocations"
_CONTEXT = b"revocations/v1"
_DIRECTORY_MODE = 0o700
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
# Bytes. A hundred thousand entries take fourteen million.
_SIZE_MAX = 64 << 20

# Inode and time of change (ns): which file it was.
_Seen = tuple[int, int]

_log = logging.getLogger(__name__)


class Damaged(Exception):
    """The file is there and cannot be believed."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(f"{path} {what}")
        self.path = path
        self.what = what


class LedgerFile:
    """For one thread at a time."""

    def __init__(self, *, directory: Path, envelope: Envelope) -> None:
        self.path = directory / _NAME
        self._envelope = envelope
        self._seen: _Seen | None = None

    def read(self) -> list[Entry]:
        """What it holds; nothing where there is none.

        Raises:
            Damaged: It is altered, cut, or sealed with another key.
            OSError: It cannot be read.
        """
        entries, _, seen = self._read()
        self._seen = seen or self._seen
        return entries

    def reseal(self) -> frozenset[str]:
        """Seal it with the newest key, where an older one did; the ids of the versions that are needed to read it.

        It counts as unread by us all the same: what somebody else wrote into it nobody here has heard yet.

        Raises:
            Damaged, OSError: As ``read``.
        """
        if not self.path.exists():
            return frozenset()
        with one_writer(self.path):
            entries, blob, _ = self._read()
            if blob and not self._envelope.is_newest(blob):
                self._replace(encoded(sorted(entries)))
            return frozenset(filter(None, [self._envelope.version_of(self._read()[1])]))

    def _read(self) -> tuple[list[Entry], bytes, _Seen | None]:
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return [], b"", None
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise Damaged(self.path, "is not a regular file")
            text = file.read(_SIZE_MAX)
        try:
            blob = unarmoured(text)
            entries = decoded(self._envelope.open(blob, context=_CONTEXT))
        except CannotOpen as error:
            what = "was sealed with another key" if error.reason == "unknown_key" else "was altered or cut short"
            raise Damaged(self.path, what) from error
        return entries, blob, (status.st_ino, status.st_mtime_ns)

    def is_changed(self) -> bool:
        """Whether it is not as we last read or wrote it: somebody else wrote it, or took it away."""
        try:
            status = self.path.stat(follow_symlinks=False)
        except FileNotFoundError:
            return self._seen is not None
        return (status.st_ino, status.st_mtime_ns) != self._seen

    def keep(self, entries: Iterable[Entry], *, now: int) -> list[Entry]:
        """Bring these to stable storage, beside what is there and not over (``now``: Unix seconds); returns all of it.

        A file that was damaged while we ran is put aside: who runs knows all that it held, or its neighbours do.

        Raises:
            OSError: They are not there, and what was there is.
        """
        self.path.parent.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
        with one_writer(self.path):
            try:
                ledger = Ledger(self.read())
                is_new = not self.path.exists()
            except Damaged as error:
                _log.error("revocations: %s; it is put aside and written anew", error)
                self.path.rename(self.path.with_suffix(".damaged"))
                ledger, is_new = Ledger(), True
            ledger.forget(now)
            if ledger.take(entries) or is_new:
                self._seen = self._replace(encoded(sorted(ledger)))
            return list(ledger)

    def _replace(self, plaintext: bytes) -> _Seen:
        sealed = armoured(self._envelope.seal(plaintext, context=_CONTEXT))
        status = replace_file(self.path, sealed)
        return status.st_ino, status.st_mtime_ns


def problems_of(file: LedgerFile, *, must_be_writable: bool) -> list[str]:
    """Why a broker must not start with this file: it would forget revocations, or could keep none."""
    return (_folder_problems(file) if must_be_writable else []) or _file_problems(file)


def _folder_problems(file: LedgerFile) -> list[str]:
    directory = file.path.parent
    place = next(folder for folder in (directory, *directory.parents) if os.path.exists(folder))  # noqa: PTH110  # never raises
    if not os.access(place, os.W_OK | os.X_OK):
        return [f"state.directory: {directory} cannot be written — fix: let the account of the broker write there"]
    if place == directory and directory.stat().st_mode & _OTHERS_WRITE:
        return [f"state.directory: others may write to {directory} — fix: chmod 700 {directory}"]
    return []


def _file_problems(file: LedgerFile) -> list[str]:
    try:
        file.read()
    except Damaged as error:
        fix = "put back a copy or the key; or move it away and revoke again what it held"
        return [f"state.directory: {error}, so nobody knows what was revoked — fix: {fix}"]
    except OSError as error:
        return [f"state.directory: {file.path} cannot be read ({error.strerror}) — fix: let the account of the broker"]
    return []
