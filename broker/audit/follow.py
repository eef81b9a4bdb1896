"""The records of a directory as they come: the last ones first, then each new one, of every instance, across rotation.

A file is known by its first record, not by its name nor by its inode: one that is renamed away is read to its end, one that takes
its name, or is emptied in its place, from its beginning. Only whole lines count: half a line is one that a kill may take back.
"""

from __future__ import annotations

import contextlib
import heapq
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from broker.audit.reading import lines, record_files
from broker.audit.search import Chain, Found, chains_of, found_in

# Read at once from the end of a file backwards.
_BLOCK = 1 << 20

Wanted = Callable[[Found], bool]


class Follower:
    """Reads on from where it is."""

    def __init__(self, roots: Sequence[Path], wanted: Wanted) -> None:
        """Take directories and files of records, and which of the records count."""
        self._roots = roots
        self._wanted = wanted
        # How far each file was read, by its first line.
        self._read: dict[bytes, int] = {}

    def last(self, number: int) -> list[Found]:
        """The last records so far, oldest first; from here on only what comes is new.

        Raises:
            OSError: A file or directory cannot be read.
        """
        for root in self._roots:
            root.stat()
        ends = {path: (first, _end_of_whole_lines(path)) for first, path in self._present().items()}
        self._read = dict(ends.values())
        chains = chains_of(ends)
        each = (self._last_of(chain, {path: end for path, (_, end) in ends.items()}, number) for chain in chains)
        found = (found for of_one in each for found in of_one)
        return heapq.nlargest(number, found, key=lambda found: found.order)[::-1]

    def new(self) -> list[Found]:
        """What has come since, oldest first.

        Raises:
            OSError: A directory cannot be read.
        """
        come: list[Found] = []
        for first, path in self._present().items():
            with contextlib.suppress(FileNotFoundError):  # Renamed meanwhile: next time it is there by its new name.
                come += self._read_on(path, first)
        return sorted(come, key=lambda found: found.order)

    def _present(self) -> Mapping[bytes, Path]:
        found = {}
        with contextlib.suppress(FileNotFoundError):  # As above; what it hides for now is read next time.
            for root in self._roots:
                for path in record_files(root) if root.is_dir() else [root]:
                    first = next(lines(path), b"")
                    if first.endswith(b"\n"):
                        found[first] = path
        return found

    def _read_on(self, path: Path, first: bytes) -> Iterator[Found]:
        with path.open("rb") as file:
            if file.readline() != first:
                return  # Another one has taken the name since.
            at = self._read.setdefault(first, 0)
            file.seek(at)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                at += len(line)
                self._read[first] = at
                found = found_in(path, line[:-1])
                if self._wanted(found):
                    yield found

    def _last_of(self, chain: Chain, ends: Mapping[Path, int], number: int) -> Iterator[Found]:
        """Of one instance, from its end backwards."""
        for path in reversed(chain) if number else ():
            for line in _backwards(path, ends[path]):
                found = found_in(path, line)
                if self._wanted(found):
                    yield found
                    number -= 1
                    if number == 0:
                        return


def _backwards(path: Path, end: int) -> Iterator[bytes]:
    """The lines of a file before ``end``, the last one first, without their line feeds."""
    with path.open("rb") as file:
        at, rest = end, b""
        while at > 0:
            start = max(0, at - _BLOCK)
            file.seek(start)
            first, *others = (file.read(at - start) + rest).split(b"\n")
            yield from (line for line in reversed(others) if line)
            at, rest = start, first
        if rest:
            yield rest


def _end_of_whole_lines(path: Path) -> int:
    with path.open("rb") as file:
        end = os.fstat(file.fileno()).st_size
        while end > 0:
            start = max(0, end - _BLOCK)
            file.seek(start)
            at = file.read(end - start).rfind(b"\n")
            if at >= 0:
                return start + at + 1
            end = start
    return 0
