"""The one clock of a command: it ends the process at the deadline and on Ctrl-C, whatever the process is waiting for.

libkrb5 blocks for up to half a minute on a silent KDC, a look-up of a name for as long, and neither can be told a total; a
Python signal handler would run only once they return. So a thread waits, and ends the process from outside. Either the
command or the watch gets to speak, never both (``speak``), so nothing follows a half-written line of credentials.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # signal itself loads enum: 3 ms
import _thread
import os
import select
import time

from zerotrust_kerberos.failures import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# Seconds kept for what the watch does not see: the interpreter's start and end, slow with a hundred helpers on two cores.
_RESERVE = 0.5
_LONGEST = 10.0 - _RESERVE

# Seconds. What is over sooner seems immediate to whoever typed it.
_PATIENCE = 0.3
_STDERR = 2
_ERASED = b"\r\x1b[K"


class Watch:
    """A thread that ends the process in time.

    Attributes:
        waiting_for: A code of ``failures.TABLE``: what it means when time runs out now.

    Args:
        report: Gets the failure that ends the process.
        is_seen: Whether somebody at a terminal is to be told that there is something to wait for, once it takes a while.
    """

    def __init__(self, report: Callable[[Failure], None], *, is_seen: bool = False) -> None:
        self.waiting_for = "kdc_unreachable"
        self._report = report
        self._is_seen = is_seen
        self._is_told = False
        self._speech = _thread.allocate_lock()
        self._is_over = False

    def start(self, seconds: float) -> None:
        """Count from now. From here on Ctrl-C is the watch's too."""
        ends, pipe = time.monotonic() + min(seconds, _LONGEST), os.pipe()
        os.set_blocking(pipe[1], False)
        _signal.set_wakeup_fd(pipe[1])
        _signal.signal(_signal.SIGINT, _ignore)
        _thread.start_new_thread(self._wait, (pipe[0], ends))

    def speak(self) -> None:
        """Take the right to speak, for good. Blocks for ever if the watch has it, until the process is gone."""
        if not self._is_over:
            self._take_speech()
            self._is_over = True

    def end(self) -> None:
        """From here on nothing ends the process in time, and Ctrl-C does what it does in any program."""
        self.speak()
        _signal.set_wakeup_fd(-1)
        _signal.signal(_signal.SIGINT, _signal.default_int_handler)

    def anew(self) -> Watch:
        """Another one that reports alike, for the next question of the same command."""
        return Watch(self._report, is_seen=self._is_seen)

    def _wait(self, pipe: int, ends: float) -> None:
        readable: list[int] = []
        if self._is_seen:
            readable, _, _ = select.select([pipe], [], [], max(0.0, min(_PATIENCE, ends - time.monotonic())))
            if not readable:
                self._tell()
        if not readable:
            readable, _, _ = select.select([pipe], [], [], max(0.0, ends - time.monotonic()))
        self._take_speech()
        failure = Failure("interrupted" if readable else self.waiting_for, "" if readable else "time is up")
        self._report(failure)
        # Not sys.exit: the main thread sits in C code and would never hear of it.
        os._exit(failure.exit_status)

    def _tell(self) -> None:
        """Say what is waited for, unless the command speaks already; whoever speaks next takes it away."""
        is_shown = os.isatty(_STDERR) and os.environ.get("TERM", "") not in {"", "dumb"}
        if is_shown and self._speech.acquire(blocking=False):
            whom = "the KDC" if self.waiting_for == "kdc_unreachable" else "the broker"
            self._is_told = _write(f"waiting for {whom}...".encode())
            self._speech.release()

    def _take_speech(self) -> None:
        self._speech.acquire()
        if self._is_told:
            self._is_told = False
            _write(_ERASED)


def _ignore(_number: int, _frame: object) -> None:
    """A handler of Python's own has to be there for the wake-up descriptor to be written; the watch does the rest."""


def _write(text: bytes) -> bool:
    """To the terminal; one that is gone is nobody's to wait for."""
    try:
        return os.write(_STDERR, text) > 0
    except OSError:
        return False
