"""callgrind counts the instructions that a server executes in user space, in all its threads.

Neither the machine's speed nor its neighbours are in such a number. Hardware counters would be simpler; virtual machines
rarely have them.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

_TOTALS = re.compile(r"^totals: (\d+)", re.MULTILINE)
_PATIENCE = 120.0


class Uncounted(RuntimeError):
    """callgrind did not do what it was told; the message holds what it said."""


class Counter:
    """callgrind around one server."""

    def __init__(self, folder: Path) -> None:
        """Nothing is written before the server counts.

        Args:
            folder: The server, as whichever user it runs, may write here.
        """
        self._out = folder / "callgrind"

    def inside(self, *command: str) -> list[str]:
        """The command line that is counted; nothing is, before ``counting``."""
        return self._valgrind("--instr-atstart=no", *command)

    def throughout(self, *command: str) -> list[str]:
        """The command line that is counted from its start to its end, with what it forks; nothing can be told to it."""
        return self._valgrind("--vgdb=no", *command)

    def _valgrind(self, *arguments: str) -> list[str]:
        # A file a process: one that forks would write over its child's.
        options = ("--quiet", "--tool=callgrind", f"--callgrind-out-file={self._out}.%p")
        return [_program("valgrind"), *options, *arguments]

    @contextlib.contextmanager
    def counting(self, pid: int) -> Iterator[None]:
        """Count what happens inside, in all threads of this process."""
        _control("--instr=on", pid)
        yield
        _control("--instr=off", pid)
        _control("--dump", pid)

    def instructions(self) -> int:
        """All that were counted.

        Raises:
            Uncounted: There is no number.
        """
        found = [total(path.read_text()) for path in self._out.parent.glob(f"{self._out.name}.*")]
        if not any(found):
            raise Uncounted(f"nothing in {self._out}.*")
        return sum(found)


def total(profile: str) -> int:
    """The instructions of one profile (callgrind's format, "totals"): each dump begins anew, none is counted twice."""
    return sum(map(int, _TOTALS.findall(profile)))


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise Uncounted(f"{name} is not installed; run: make bench-gate")
    return found


def _control(what: str, pid: int) -> None:
    command = [_program("callgrind_control"), what, str(pid)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    if done.returncode or "Error" in done.stdout:
        raise Uncounted(f"{what}: {done.stdout}{done.stderr}")
