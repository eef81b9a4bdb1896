"""stdout and stderr, past Python's buffers: what could not be written must neither be lost nor come after an error."""

from __future__ import annotations

import os
import sys

from zerotrust_kerberos.failures import EXIT_INTERRUPTED, Failure, line
from zerotrust_kerberos.watch import Watch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

    from zerotrust_kerberos.failures import Place

_STDOUT, _STDERR = 1, 2
CLOSED = "it is closed"


def printed(place: Place, command: Callable[[Watch], str]) -> int:
    """Do something under a watch of its own, and print what comes of it, or why nothing does; the exit status."""

    def report(failure: Failure) -> None:
        say(f"{line(failure, place)}\n")

    watch = Watch(report, is_seen=True)
    try:
        text = command(watch)
    except Failure as failure:
        watch.speak()
        report(failure)
        return failure.exit_status
    except KeyboardInterrupt:  # before the watch had taken over
        return EXIT_INTERRUPTED
    watch.speak()
    try:
        put(f"{text}\n" if text else "")
    except OSError as error:
        broken = Failure("output_failed", error.strerror or "")
        report(broken)
        return broken.exit_status
    return 0


def put(text: str) -> None:
    """Data, whole.

    Raises:
        OSError: Not all of it was taken.
    """
    _write(sys.stdout, _STDOUT, text)


def say(text: str) -> None:
    """Talk. Where nobody listens, the exit status still tells."""
    try:
        _write(sys.stderr, _STDERR, text)
    except OSError:
        return


def tell(text: str) -> None:
    """Talk that is for somebody at a terminal, and noise in a script's log."""
    if os.isatty(_STDERR):
        say(f"{text}\n")


def _write(stream: TextIO | None, descriptor: int, text: str) -> None:
    if stream is None:
        # Closed since the start, so the number may belong to our own connection by now.
        raise OSError(CLOSED)
    rest = text.encode("utf-8", "replace")
    while rest:
        rest = rest[os.write(descriptor, rest) :]
