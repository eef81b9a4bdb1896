"""What is still to be delivered, on the disk of one host: sealed, for it holds names, and replaced as a whole.

Each process has a file of its own, ``notifications-N``, held by a lock that the kernel drops when the process dies. What a dead
one left, and what a program that does not deliver itself put there (the probe of external IDs), is taken over by whoever looks
next. Between taking it over and removing it a crash leaves it in both files: it is delivered twice rather than never.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import json
import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from broker.core.stable_file import replace_file
from broker.keys.envelope import CannotOpen, Envelope, armoured, unarmoured
from broker.watch.notice import Notice, notice_of_members

_CONTEXT = b"notifications/v1"
_DIRECTORY_MODE = 0o700
_FILE_MODE = 0o600
# More instances than this never share one folder; past it the locks are somebody else's.
_SLOTS = 64
# Bytes. A thousand notices for each of ten channels take twenty million.
_SIZE_MAX = 64 << 20
_NAME = re.compile(r"notifications-[0-9]{1,2}")


@dataclass(slots=True)
class Letter:
    """A notice on its way to one channel; ``done`` are those of its recipients that have it."""

    channel: str
    notice: Notice
    attempts: int = 0
    done: frozenset[str] = frozenset()

    @property
    def key(self) -> tuple[str, str]:
        """The same for the same letter, wherever it was found."""
        return self.channel, self.notice.id


class LeftSpool:
    """The files of a host whose broker tells nobody anything now: their keys stay for the day when it does again."""

    name = "notifications"

    def __init__(self, *, spool: SpoolFile) -> None:
        self._spool = spool

    async def reseal(self) -> frozenset[str]:
        """See ``broker.keys.sealed``; nothing is sealed anew, for that is done by whoever takes the files over."""
        return frozenset(await asyncio.to_thread(self._spool.seals))


class SpoolFile:
    """For one thread at a time. ``damaged`` are the files that could not be believed, put aside under another name."""

    def __init__(self, *, directory: Path, envelope: Envelope) -> None:
        self._directory = directory
        self._envelope = envelope
        self._path: Path | None = None
        self._lock = -1
        self.damaged: list[str] = []

    def open(self) -> list[Letter]:
        """Claim the first file that nobody holds; returns what it holds.

        Raises:
            OSError: None can be had.
        """
        self._directory.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
        for slot in range(1, _SLOTS + 1):
            path = self._directory / f"notifications-{slot}"
            self._lock = _locked(path)
            if self._lock >= 0:
                self._path = path
                return self._read(path)
        raise OSError(f"all {_SLOTS} files of notifications in {self._directory} are held by other processes")

    def take_over(self, letters: Iterable[Letter]) -> list[Letter]:
        """These and what lies in files that nobody holds, written down together.

        Raises:
            OSError: Nothing was taken over, and nothing is lost.
        """
        found = {letter.key: letter for letter in letters}
        taken: list[tuple[Path, int]] = []
        try:
            for path in sorted(self._directory.iterdir()):
                if path == self._path or not _NAME.fullmatch(path.name):
                    continue
                lock = _locked(path)
                if lock >= 0:
                    taken.append((path, lock))
                    found = {letter.key: letter for letter in self._read(path)} | found
            if taken:
                self.write(found.values())
                for path, _ in taken:
                    path.unlink(missing_ok=True)
        finally:
            for _, lock in taken:
                os.close(lock)
        return list(found.values())

    def write(self, letters: Iterable[Letter]) -> None:
        """Bring these to stable storage in the place of what was there.

        Raises:
            OSError: They are not there, and what was there is.
        """
        if self._path is None:
            raise OSError("no file of notifications is open")
        text = json.dumps([_members(letter) for letter in letters]).encode()
        replace_file(self._path, armoured(self._envelope.seal(text, context=_CONTEXT)))

    def seals(self) -> dict[str, bool]:
        """The ids of the versions that the files of this folder need, whosever they are; whether each is the newest."""
        found: dict[str, bool] = {}
        for path in self._directory.iterdir() if self._directory.is_dir() else ():
            if _NAME.fullmatch(path.name):
                with contextlib.suppress(CannotOpen, OSError):  # is put aside by whoever reads it, or gone
                    blob = unarmoured(path.read_bytes()[:_SIZE_MAX])
                    version = self._envelope.version_of(blob)
                    # Of several files that one version sealed, one answer.
                    found |= {} if version is None else {version: self._envelope.is_newest(blob)}
        return found

    def close(self) -> None:
        """Let the file go: another process may take it over."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock, self._path = -1, None

    def _read(self, path: Path) -> list[Letter]:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return []
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            self._put_aside(path, "a symbolic link")
            return []
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            self._put_aside(path, "no regular file")
            return []
        with os.fdopen(descriptor, "rb") as file:
            text = file.read(_SIZE_MAX)
        try:
            found = json.loads(self._envelope.open(unarmoured(text), context=_CONTEXT))
            return [_letter(members) for members in found]
        except CannotOpen as error:
            self._put_aside(
                path, "sealed with another key" if error.reason == "unknown_key" else "altered or cut short"
            )
        except (ValueError, TypeError, KeyError):
            # Sealed by us, in a form that this version does not know.
            self._put_aside(path, "of another version")
        return []

    def _put_aside(self, path: Path, what: str) -> None:
        self.damaged.append(f"{path} is {what}")
        with contextlib.suppress(OSError):
            path.rename(path.with_suffix(".damaged"))


def _locked(path: Path) -> int:
    """A descriptor that holds the lock of this file; -1 where another process does."""
    lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, _FILE_MODE)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return -1
    except BaseException:
        os.close(lock)
        raise
    return lock


def _members(letter: Letter) -> dict[str, object]:
    return {
        "channel": letter.channel,
        "notice": letter.notice.members(),
        "attempts": letter.attempts,
        "done": sorted(letter.done),
    }


def _letter(members: dict[str, object]) -> Letter:
    notice, done, attempts = members["notice"], members["done"], members["attempts"]
    if not (isinstance(notice, dict) and isinstance(done, list) and isinstance(attempts, int)):
        raise TypeError("no letter")
    return Letter(
        channel=str(members["channel"]),
        notice=notice_of_members(notice),
        attempts=attempts,
        done=frozenset(map(str, done)),
    )
