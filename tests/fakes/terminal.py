"""A pseudo-terminal: what a program prints where somebody sits before it."""

from __future__ import annotations

import os
import pty
import subprocess
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_CHUNK = 65536
_SECONDS = 60.0


def on_terminal(
    command: Sequence[str | Path],
    env: Mapping[str, str],
    *,
    cwd: Path | None = None,
    out: bool = True,
    err: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run a command with stdout, stderr or both on a terminal; the line ends in what comes back are plain."""
    master, slave = pty.openpty()
    read: list[bytes] = []
    reader = threading.Thread(target=_read, args=(master, read))
    reader.start()
    pipe = subprocess.PIPE
    with subprocess.Popen(
        list(command),
        env=dict(env),
        cwd=cwd,
        stdin=slave,
        stdout=slave if out else pipe,
        stderr=slave if err else pipe,
        text=True,
    ) as process:
        os.close(slave)
        said, talked = process.communicate(timeout=_SECONDS)
    reader.join(_SECONDS)
    os.close(master)
    shown = b"".join(read).decode().replace("\r\n", "\n")
    return subprocess.CompletedProcess(
        process.args, process.returncode, shown if out else said, shown if err else talked
    )


def _read(master: int, into: list[bytes]) -> None:
    while True:
        try:
            part = os.read(master, _CHUNK)
        except OSError:  # EIO: nobody holds the other end any more
            return
        if not part:
            return
        into.append(part)
