"""``zerotrust`` as somebody runs it: as a process with an environment of its own, by pipes or at a terminal."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import subprocess
import time
from typing import TYPE_CHECKING

from tests.fakes.broker import PROGRAMS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self

PATIENCE = 60.0  # seconds; many times what anything here takes, for a loaded machine
_COLUMNS = "200"  # so that no line is broken
_CHUNK = 65536


def zerotrust(environment: Mapping[str, str], *words: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run it to its end, without a terminal."""
    return subprocess.run(
        [str(PROGRAMS / "zerotrust"), *words], env=_whole(environment), input=text or "", capture_output=True, text=True,
        check=False, timeout=PATIENCE, start_new_session=True,
    )  # fmt: skip


def _whole(environment: Mapping[str, str]) -> dict[str, str]:
    return {"PATH": f"{PROGRAMS}:{os.environ['PATH']}", "HOME": os.environ["HOME"], **environment}


class Terminal:
    """A command at a terminal of its own, stdout and stderr together on it unless ``stdout`` is a pipe.

    Attributes:
        seen: Everything that was on the screen so far.
        status: The exit status once it has ended, negative for a signal; before that None.
    """

    def __init__(self, environment: Mapping[str, str], *words: str, program: str | None = None) -> None:
        self.seen = ""
        self.status: int | None = None
        command = [program or str(PROGRAMS / "zerotrust"), *words]
        whole = {"TERM": "dumb", "COLUMNS": _COLUMNS, **_whole(environment)}
        self.pid, self._screen = pty.fork()
        if self.pid == 0:
            try:
                os.execvpe(command[0], command, whole)  # noqa: S606  what is under test
            finally:
                os._exit(126)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.status is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self._screen)

    def until(self, text: str) -> str:
        """Wait until it stands on the screen; all that came up to its end and was not returned before."""
        before = len(self.seen) if not hasattr(self, "_read") else self._read
        ends = time.monotonic() + PATIENCE
        while (found := self.seen.find(text, before)) < 0:
            assert self._more(ends), f"not seen: {text!r} in {self.seen[before:]!r}"
        self._read = found + len(text)
        return self.seen[before : self._read]

    def type(self, text: str) -> None:
        """What somebody types."""
        os.write(self._screen, text.encode())

    def end(self) -> int:
        """Wait for the end; the exit status."""
        ends = time.monotonic() + PATIENCE
        while self._more(ends):
            pass
        self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.status

    def _more(self, ends: float) -> bool:
        """Read what comes; False once nobody has the terminal open any more."""
        ready, _, _ = select.select([self._screen], [], [], max(0.0, ends - time.monotonic()))
        assert ready, f"nothing more came: {self.seen!r}"
        try:
            part = os.read(self._screen, _CHUNK)
        except OSError:  # EIO: Linux's way to say that the other side is closed
            return False
        self.seen += part.decode(errors="replace")
        return bool(part)
