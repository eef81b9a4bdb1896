"""One time for everything that is given out: the commit's (reproducible-builds.org/specs/source-date-epoch)."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

# Where there is neither a variable nor git: the first day that a zip archive can name.
_NO_TIME = 315_532_800


def epoch(root: Path) -> int:
    """Seconds since 1970: ``SOURCE_DATE_EPOCH``, else the last commit's."""
    if given := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(given)
    asked = subprocess.run(
        ["git", "-C", root, "log", "-1", "--format=%ct"],
        capture_output=True,
        text=True,
        check=False,
    )
    return int(asked.stdout) if asked.returncode == 0 else _NO_TIME


def set_all(tree: Path, time: int) -> None:
    """Give every file and folder of a tree, links too, this time."""
    for path in [tree, *tree.rglob("*")]:
        os.utime(path, (time, time), follow_symlinks=False)
