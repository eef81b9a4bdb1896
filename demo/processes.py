"""The processes of a demo, written down so that another run can end them, and nobody else's.

A process is its number and its start time: numbers are used again, the pair is not. The first one in the file is the owner,
the Python process whose children the others are. A killed owner leaves its children behind; the file finds them.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from pathlib import Path

# The broker drains for up to 10 s; what has not ended after this is killed.
END_SECONDS = 15.0

_FILE = "processes"
_STATE, _PARENT, _START_TIME = 0, 1, 19  # fields 3, 4 and 22 of proc_pid_stat(5), counted behind the name
_ENDED = {"Z", "X"}


def record(folder: Path) -> None:
    """Writes down this process as the owner, and its children of this moment."""
    lines = [f"{pid} {started}\n" for pid in (os.getpid(), *_children()) if (started := _started(pid))]
    whole = folder / f"{_FILE}.new"
    whole.write_text("".join(lines))
    whole.rename(folder / _FILE)


def owner_lives(folder: Path) -> bool:
    """Whether the Python process that owns the demo in this folder runs."""
    return any(_started(pid) == started for pid, started in _recorded(folder)[:1])


def end(folder: Path) -> int:
    """Ends every process recorded for the folder and returns how many it found alive, the owner's own doing aside."""
    return sum(_end(pid, started) for pid, started in _recorded(folder))


def end_children() -> int:
    """Ends every child of this process that is left, which a start that was interrupted may leave; returns how many."""
    pids = _children()
    for pid in pids:
        _end(pid, _started(pid))
        os.waitpid(pid, 0)
    return len(pids)


def _recorded(folder: Path) -> list[tuple[int, str]]:
    with contextlib.suppress(FileNotFoundError):
        return [(int(pid), started) for pid, started in map(str.split, (folder / _FILE).read_text().splitlines())]
    return []


def _end(pid: int, started: str) -> bool:
    """Ends one process if it is still the one that was recorded; returns whether it was."""
    try:
        # A pidfd (Linux 5.3) stays with the process: its number cannot pass to another one between look and signal.
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        if _started(pid) != started:
            return False
        gone = select.poll()
        gone.register(descriptor, select.POLLIN)
        for number in (signal.SIGTERM, signal.SIGKILL):
            signal.pidfd_send_signal(descriptor, number)
            if gone.poll(END_SECONDS * 1000):
                break
    finally:
        os.close(descriptor)
    return True


def _children() -> list[int]:
    pids = (int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal())
    return sorted(pid for pid in pids if _stat(pid)[_PARENT : _PARENT + 1] == [str(os.getpid())])


def _started(pid: int) -> str:
    """Start time in clock ticks since boot; empty for a process that has ended."""
    fields = _stat(pid)
    return "" if not fields or fields[_STATE] in _ENDED else fields[_START_TIME]


def _stat(pid: int) -> list[str]:
    try:
        # The name, in parentheses, may itself hold blanks and parentheses.
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []
