"""Folders for targets that need files: in memory where there is such a place, because a file is written for every input."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path

_IN_MEMORY = Path("/dev/shm")  # noqa: S108  the folder made in it has a name of its own and is ours alone


def folder() -> Path:
    """A new one, removed at the end of the process."""
    made = Path(tempfile.mkdtemp(prefix="zerotrust-fuzz-", dir=_IN_MEMORY if _IN_MEMORY.is_dir() else None))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made
