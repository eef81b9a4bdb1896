"""How much room there is on the disks that the broker writes to. Looked at beside requests: a disk that hangs holds nobody up."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Self

from broker.core.workers import Workers
from broker.watch.metrics import Metrics

_LOOK_EVERY = timedelta(seconds=15)


@dataclass(frozen=True, slots=True)
class Disk:
    """Bytes and files, ``free`` and ``files`` as far as an ordinary account may use them."""

    free: int
    size: int
    files: float
    is_read_only: bool

    @classmethod
    def of(cls, directory: Path) -> Self:
        """The one that a directory is on; may hang with it.

        Raises:
            OSError: The kernel does not say.
        """
        said = os.statvfs(directory)
        # A file system without a table of files (btrfs) has as many as fit: it says 0 of 0.
        files = said.f_favail if said.f_files else float("inf")
        return cls(
            said.f_bavail * said.f_frsize, said.f_blocks * said.f_frsize, files, bool(said.f_flag & os.ST_RDONLY)
        )


class Disks:
    """Of each directory, by what it is for."""

    def __init__(self, *, directories: Mapping[str, Path], metrics: Metrics) -> None:
        self._directories = directories
        self._disks: dict[str, Disk] = {}
        self._worker = Workers(name="disks", number=1)
        for name, text, member in (
            ("broker_disk_free_bytes", "Room on the disk of a directory", "free"),
            ("broker_disk_size_bytes", "Size of the disk of a directory", "size"),
            ("broker_disk_free_files", "Files that may still be made on the disk of a directory", "files"),
        ):
            metrics.of_each(name, text, "directory", partial(self._each, member))

    def _each(self, member: str) -> dict[str, float]:
        return {name: float(getattr(disk, member)) for name, disk in self._disks.items()}

    async def keep_looking(self) -> None:
        """Runs until cancelled."""
        while True:
            self._disks = await self._worker.do(self._look)
            await asyncio.sleep(_LOOK_EVERY.total_seconds())

    def _look(self) -> dict[str, Disk]:
        found = {}
        for name, directory in self._directories.items():
            try:
                found[name] = Disk.of(directory)
            except OSError:
                continue  # Whoever writes there says so.
        return found
