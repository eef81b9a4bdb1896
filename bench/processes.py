"""Processes under the microscope: on which core they run, and how much CPU time they and their children have used."""

from __future__ import annotations

import contextlib
import ctypes
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_libc = ctypes.CDLL(None)


@dataclass(frozen=True, slots=True)
class Cores:
    """One core for the servers, another for whatever asks them."""

    server: int
    load: int

    @classmethod
    def of_this_machine(cls) -> Cores:
        """The first two cores that this process may use.

        Raises:
            SystemExit: There is one only; a server that shares its core with the load shows the load's cache misses.
        """
        usable = sorted(os.sched_getaffinity(0))
        if len(usable) == 1:
            raise SystemExit("bench: two cores are needed, one for the server and one for the load")
        return cls(server=usable[0], load=usable[1])


@contextlib.contextmanager
def on_core(core: int) -> Iterator[None]:
    """Run this process, and what it starts meanwhile, on one core: children inherit it (sched_setaffinity(2))."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def tree(pid: int) -> frozenset[int]:
    """The process and all its descendants (proc(5), ``/proc/PID/task/TID/children``)."""
    found = {pid}
    for listing in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in listing.read_text().split():
            found |= tree(int(child))
    return frozenset(found)


def cpu_seconds(pid: int) -> float:
    """User and system time of one process, all its threads, ended ones too.

    By its CPU clock (clock_getcpuclockid(3)), which counts nanoseconds; ``/proc/PID/stat`` counts in ticks of 10 ms, a tenth
    of what a round of 500 requests takes.

    Raises:
        ProcessLookupError: It is gone.
    """
    clock = ctypes.c_int()
    if _libc.clock_getcpuclockid(pid, ctypes.byref(clock)):
        raise ProcessLookupError(pid)
    return time.clock_gettime(clock.value)


class Meter:
    """How much CPU time a tree of processes used between two looks."""

    def __init__(self, pid: int) -> None:
        self._root = pid
        self._pids = tree(pid)
        self._before = self._total()

    def seconds(self) -> float:
        """Since the meter was made.

        Raises:
            RuntimeError: A process came or went meanwhile, so the difference would mean nothing.
        """
        if tree(self._root) != self._pids:
            raise RuntimeError("the server started or lost a process while it was measured")
        return self._total() - self._before

    def _total(self) -> float:
        return sum(cpu_seconds(pid) for pid in self._pids)
