"""A pseudo-terminal: what a program prints where somebody sits before it."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import threading
import time
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


class Keyboard:
    """A shell on a terminal, and somebody who types."""

    def __init__(self, shell: Sequence[str | Path], env: Mapping[str, str], *, cwd: Path) -> None:
        self._master, slave = pty.openpty()
        # Wide, so that no shell folds a line.
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 400, 0, 0))
        # fish insists on a terminal that is its own.
        command = ["setsid", "--ctty", *shell]
        self._shell = subprocess.Popen(command, env=dict(env), cwd=cwd, stdin=slave, stdout=slave, stderr=slave)
        os.close(slave)
        self.shown = ""

    def types(self, text: str) -> None:
        """Press keys; ``\\t`` is TAB."""
        os.write(self._master, text.encode())

    def waits_for(self, file: Path) -> str:
        """What stands in a file, once it is there; what the shell shows meanwhile is kept in ``shown``.

        Raises:
            AssertionError: It does not come.
        """
        ends = time.monotonic() + _SECONDS
        while not file.exists():
            assert time.monotonic() < ends, self.shown[-2000:]
            if select.select([self._master], [], [], 0.05)[0]:
                self.shown += os.read(self._master, _CHUNK).decode("utf-8", "replace")
        return file.read_text(encoding="utf-8")

    def close(self) -> None:
        """Hang up."""
        self._shell.kill()
        self._shell.wait()
        os.close(self._master)
