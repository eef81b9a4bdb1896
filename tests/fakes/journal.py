"""A real systemd-journald with sockets and a journal of its own, whatever else runs on this machine.

It lives in a mount namespace of its own in which `/run` is empty but for two folders of the test, with its sockets and its
journal. Needs root, as the tests of disks do.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from types import TracebackType

_JOURNALD = "/lib/systemd/systemd-journald"
_START_SECONDS = 10.0
_SCRIPT = """
set -e
# Nothing of this is seen outside. In a chroot / is no mount point; what holds it is out of reach and, but rarely, private.
mount --make-rprivate / 2>/dev/null || ! mountpoint -q /
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/journal /run/log/journal
mount --bind "$1" /run/systemd/journal
mount --bind "$2" /run/log/journal
exec "$3"
"""


class Journal:
    """Use as a context manager; ``socket`` is where it listens."""

    def __init__(self, folder: Path) -> None:
        self._sockets = folder / "sockets"
        self._log = folder / "log"
        self._output = folder / "journald.log"
        self.socket = self._sockets / "socket"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        for folder in (self._sockets, self._log):
            folder.mkdir(exist_ok=True)
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        self.socket.unlink(missing_ok=True)
        command = [
            "unshare",
            "--mount",
            "--propagation",
            "unchanged",
            "sh",
            "-c",
            _SCRIPT,
            "sh",
            str(self._sockets),
            str(self._log),
            _JOURNALD,
        ]
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=output)
        deadline = time.monotonic() + _START_SECONDS
        while not self.socket.exists():
            assert self._process.poll() is None, self._output.read_text()
            assert time.monotonic() < deadline, self._output.read_text()
            time.sleep(0.01)

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
            self._process.wait(10)
            self._process = None
        self.socket.unlink(missing_ok=True)

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def entries(self, *matches: str) -> list[dict[str, Any]]:
        """What journalctl reads back, in the journal's order."""
        command = ["journalctl", "--directory", str(self._log), "--output=json", "--all", "--no-pager", *matches]
        env = {"PATH": os.environ["PATH"], "SYSTEMD_LOG_LEVEL": "err"}
        done = subprocess.run(command, capture_output=True, check=False, env=env)
        assert done.returncode in (0, 1), done.stderr
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith(b"{")]
