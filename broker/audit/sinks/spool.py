"""What a sink has not got yet of one instance's records: read from the record files themselves, with a durable cursor.

There is no second copy of a record. The cursor is a file beside the records that holds the number of the last one that
the sink is known to have; who holds its lock is the one who sends this instance's records to this sink. For one
thread at a time.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from broker.audit.chain import RECORD_MAX, BrokenRecord, position_of
from broker.audit.reading import record_files

_CURSOR_MODE = 0o640
# Nineteen digits hold every number; one width, so that a new number covers the old one whole. No `{` begins it: it is no record.
_CURSOR = re.compile(rb"[0-9]{20}\n")
_CURSOR_BYTES = 21
# Below this a file is read from its beginning: a thousand records, some milliseconds.
_LINEAR_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Read:
    """Lines with their numbers, and the ranges of numbers between them of which there is no line any more."""

    lines: list[tuple[int, bytes]]
    missing: list[tuple[int, int]]


class Spool:
    """``sent`` is the number of the last record that the sink is known to have; ``seq`` of the last that was read here."""

    def __init__(self, *, directory: Path, instance: str, descriptor: int) -> None:
        """Take over an open, locked cursor; see ``claim``."""
        self.instance = instance
        self._directory = directory
        self._cursor = descriptor
        self.sent = _read_cursor(descriptor)
        self.seq = self.sent
        self._file: io.BufferedReader | None = None

    @classmethod
    def claim(cls, *, directory: Path, sink: str, instance: str) -> Self | None:
        """The spool of this sink and instance, or None where another process sends it.

        Raises:
            OSError: The cursor cannot be opened or made.
        """
        path = directory / f"sink-{sink}-{instance}.cursor"
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(path, flags, _CURSOR_MODE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return cls(directory=directory, instance=instance, descriptor=descriptor)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError:
            os.close(descriptor)
            raise

    def read(self, *, upto: int | None, records: int, size: int) -> Read:
        """The next lines, without their line feeds; at least one where there is one, then no more than ``size`` bytes.

        Args:
            upto: The last number that is durable; behind it lines may still be taken back. None: all whole lines are.
            records: How many at the most.
            size: Bytes.

        Raises:
            OSError: The files cannot be read.
        """
        found, taken = Read([], []), 0
        if self._file is not None:
            # Without what was read ahead: behind `upto` it may have been taken back and written anew.
            position = self._file.tell()
            self._file = io.BufferedReader(self._file.detach())
            self._file.seek(position)
        while len(found.lines) < records and taken < size and (upto is None or self.seq < upto):
            line = self._next_line()
            if line is None:
                if upto is not None and not found.lines:
                    # It was there, and no file has it any more, nor any later one.
                    found.missing.append((self.seq + 1, upto))
                    self.seq = upto
                break
            try:
                seq = position_of(line).head.seq
            except BrokenRecord:
                continue  # The number that is missing then says so.
            if seq <= self.seq:
                continue
            if seq > self.seq + 1:
                found.missing.append((self.seq + 1, seq - 1))
            found.lines.append((seq, line))
            self.seq = seq
            taken += len(line)
        return found

    def read_orphan(self, *, records: int, size: int) -> Read | None:
        """The same of a process that is gone; None where one has the instance again, and sends its records itself."""
        with _nobody_writes(self._directory / f"audit-{self.instance}.jsonl") as is_orphan:
            return self.read(upto=None, records=records, size=size) if is_orphan else None

    def last_sent(self) -> bytes | None:
        """The record that the sink is known to have had last, without its line feed; None where there is none any more.

        Raises:
            OSError: The files cannot be read.
        """
        file = self._open_behind(self.sent - 1) if self.sent else None
        if file is None:
            return None
        with file:
            line = file.readline(RECORD_MAX)
        return line[:-1] if line.endswith(b"\n") and _number(line) == self.sent else None

    def rewind(self) -> None:
        """Read again from the record behind the last one that the sink is known to have."""
        self.seq = self.sent
        self._let_go()

    def begin_anew(self) -> None:
        """The records were taken away and a new chain begins with number 1."""
        self.sent = self.seq = 0
        self._let_go()

    def save(self, seq: int) -> None:
        """Make it durable that the sink has everything up to here.

        Raises:
            OSError: It is not.
        """
        # In place: a full disk has room for that, and whoever holds the lock keeps holding it.
        os.pwrite(self._cursor, b"%020d\n" % seq, 0)
        os.fdatasync(self._cursor)
        self.sent = seq

    def close(self) -> None:
        """Let go of the records and of the lock."""
        self._let_go()
        os.close(self._cursor)

    def _next_line(self) -> bytes | None:
        """The next whole line, of the next file where this one is at its end."""
        while True:
            if self._file is None:
                self._file = self._open_behind(self.seq)
            if self._file is None:
                return None
            before = self._file.tell()
            line = self._file.readline(RECORD_MAX)
            if line.endswith(b"\n"):
                return line[:-1]
            if len(line) >= RECORD_MAX:
                continue  # No record; its pieces are skipped.
            # At the end, or in front of half a record. The next one may be in another file by now, or this one was cut.
            self._file.seek(before)
            following = self._open_behind(self.seq)
            if following is None:
                return None
            if os.path.sameopenfile(following.fileno(), self._file.fileno()) and following.tell() >= before:
                following.close()
                return None
            self._let_go()
            self._file = following

    def _open_behind(self, seq: int) -> io.BufferedReader | None:
        """The file that holds the record behind ``seq``, or the first one behind that, opened in front of it."""
        files = self._files()
        # The last file that begins at or before the next record, then those that begin later.
        start = max((index for index, (first, _) in enumerate(files) if first <= seq + 1), default=0)
        for _, path in files[start:]:
            file = path.open("rb")
            if _seek_behind(file, seq) or path == files[-1][1]:
                return file
            file.close()
        return None

    def _files(self) -> list[tuple[int, Path]]:
        """This instance's files by their first number.

        A listing that a file was renamed under may have neither its old name nor its new one: what it holds would seem lost.
        """
        while True:
            before = self._standing()
            files = sorted((seq, path) for path in record_files(self._directory) if (seq := self._first_seq(path)))
            if self._standing() == before:
                return files

    def _standing(self) -> tuple[int, int]:
        """What changes when a file is renamed: of the directory, and of the name under which records are written."""
        try:
            current = (self._directory / f"audit-{self.instance}.jsonl").stat(follow_symlinks=False).st_ino
        except FileNotFoundError:
            current = 0
        return self._directory.stat().st_mtime_ns, current

    def _first_seq(self, path: Path) -> int | None:
        with contextlib.suppress(OSError, BrokenRecord), path.open("rb") as file:
            position = position_of(file.readline(RECORD_MAX).rstrip(b"\n"))
            if position.instance == self.instance:
                return position.head.seq
        return None

    def _let_go(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def orphans(directory: Path, *, host: str) -> list[str]:
    """Instances of this host that have records here and whose process is gone.

    Raises:
        OSError: The directory cannot be read.
    """
    name = re.compile(rf"audit-({re.escape(host)}-[0-9]+)\.jsonl")
    found = []
    for path in sorted(directory.iterdir()):
        if match := name.fullmatch(path.name):
            with _nobody_writes(path) as is_orphan:
                if is_orphan:
                    found.append(match[1])
    return found


@contextlib.contextmanager
def _nobody_writes(path: Path) -> Iterator[bool]:
    """Whether no process has this record file; inside, none can get it: who starts then takes the next free number."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        yield True
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        is_free = True
    except BlockingIOError:
        is_free = False
    try:
        yield is_free
    finally:
        os.close(descriptor)


def _read_cursor(descriptor: int) -> int:
    """0 where there is none, or where what is there is no number of ours: then everything is sent once more."""
    text = os.pread(descriptor, _CURSOR_BYTES, 0)
    return int(text) if _CURSOR.fullmatch(text) else 0


def _seek_behind(file: io.BufferedReader, seq: int) -> bool:
    """To the first whole record behind ``seq``, and whether there is one; numbers ascend in a file."""
    low, high = 0, os.fstat(file.fileno()).st_size
    while high - low > _LINEAR_BYTES:
        middle = (low + high) // 2
        file.seek(middle)
        file.readline(RECORD_MAX)
        start = file.tell()
        if start < high and _number(file.readline(RECORD_MAX)) <= seq:
            low = start
        else:
            high = middle
    file.seek(low)
    while (line := file.readline(RECORD_MAX)).endswith(b"\n"):
        if _number(line) > seq:
            file.seek(file.tell() - len(line))
            return True
    file.seek(file.tell() - len(line))
    return False


def _number(line: bytes) -> int:
    """Of what is no record: 0, so that a search goes on behind it."""
    try:
        return position_of(line.rstrip(b"\n")).head.seq
    except BrokenRecord:
        return 0
