"""The leaves of an instance's tree, read from its record files a line at a time, and on from where the last reading ended.

Nothing is checked here: a proof made of wrong leaves convinces nobody.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from broker.audit.chain import RECORD_MAX, BrokenRecord, position_of
from broker.audit.checkpoint import read_checkpoint
from broker.audit.sinks.notes import last_notes, notes_path
from broker.audit.tree import Frontier, leaf_hash


class Leaves:
    """For one thread at a time."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        # Of the file read last: which it is, how far, and the number of the record there.
        self._read: tuple[tuple[int, int], int, int] | None = None

    def between(self, instance: str, old: int, new: int) -> Iterator[bytes]:
        """The leaf hashes of the records behind number ``old`` up to ``new``.

        Raises:
            ValueError: Some of them are in none of the files.
            OSError: A file cannot be read.
        """
        found, wanted = self._files(instance), old + 1
        for place, (first, path) in enumerate(found):
            if place + 1 < len(found) and found[place + 1][0] <= wanted:
                continue
            if first > wanted or wanted > new:
                break
            for number, line in self._numbered(path, first, wanted):
                if number > new:
                    break
                yield leaf_hash(line)
                wanted = number + 1
        if wanted <= new:
            raise ValueError(f"record {wanted} is in none of the files")

    def tree_of(self, instance: str, size: int) -> Frontier | None:
        """The tree over the first ``size`` records: of a late checkpoint, else of all the records; None where neither has it.

        Raises:
            OSError: A file cannot be read.
        """
        for note in reversed(last_notes(notes_path(self._directory, instance))):
            with suppress(BrokenRecord):
                checkpoint = read_checkpoint(note)
                if (checkpoint.instance, checkpoint.size) == (instance, size):
                    return checkpoint.tree
        tree = Frontier()
        try:
            for leaf in self.between(instance, 0, size):
                tree = tree.with_leaf(leaf)
        except ValueError:
            return None
        return tree

    def _files(self, instance: str) -> list[tuple[int, Path]]:
        found = []
        for path in self._directory.glob(f"audit-{instance}.*"):
            with suppress(BrokenRecord), path.open("rb") as file:
                position = position_of(file.readline(RECORD_MAX).removesuffix(b"\n"))
                if position.instance == instance:
                    found.append((position.head.seq, path))
        return sorted(found)

    def _numbered(self, path: Path, first: int, wanted: int) -> Iterator[tuple[int, bytes]]:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            which, offset, number = (status.st_dev, status.st_ino), 0, first
            if self._read and self._read[0] == which and self._read[2] <= wanted and self._read[1] <= status.st_size:
                _, offset, number = self._read
            file.seek(offset)
            while (line := file.readline(RECORD_MAX)).endswith(b"\n"):
                if number >= wanted:
                    # Kept for the next reading, which begins behind what this one yields last.
                    yield number, line[:-1]
                offset, number = offset + len(line), number + 1
                self._read = (which, offset, number)
