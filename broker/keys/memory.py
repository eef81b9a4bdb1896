"""What can be read of this process: nothing in a core file or in swap, no secret in its environment, and /proc only by root.

What is freed is overwritten by the C library where the unit tells it to. Erasure is not promised all the same: the interpreter
copies what it works with (docs/memory.md). Root can read memory as it is.
"""

from __future__ import annotations

import ctypes
import logging
import os
import resource
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from broker.core.happening import Happening

# prctl(2).
_PR_SET_DUMPABLE = 4
# core(5): none of the kinds of mappings. gdb's gcore heeds it, too.
_NO_MEMORY = "0x0"
_COREDUMP_FILTER = Path("/proc/self/coredump_filter")

# capabilities(7).
_CAP_IPC_LOCK = 14
# mlockall(2): all there is and will be, as it is touched. Without the last the whole address space would become resident.
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4

_log = logging.getLogger(__name__)


class Noted(Mapping[str, str]):
    """An environment that notes which of its variables were looked at (``read``)."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> str:
        value = self._environ[name]
        self.read.add(name)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._environ)

    def __len__(self) -> int:
        return len(self._environ)


def keep_out_of_core_files() -> None:
    """Never leave memory on a disk, and let nobody of the same account attach a debugger or read /proc/PID of us.

    What the kernel refuses is logged: a sandbox without /proc is no reason not to serve.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Before the next: /proc/self belongs to root from then on.
    try:
        _COREDUMP_FILTER.write_text(_NO_MEMORY)
    except OSError as error:
        _log.warning("core files may hold memory: %s: %s", _COREDUMP_FILTER, error)
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        _log.warning("others of this account may read this process: prctl: %s", os.strerror(ctypes.get_errno()))


def keep_out_of_swap() -> bool:
    """Lock all memory, where all of it may be locked (LimitMEMLOCK=infinity, CAP_IPC_LOCK); whether that was so.

    With a limit nothing is locked here, for what reached it later would fail to allocate: the process key has a page of its own.
    """
    if resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] != resource.RLIM_INFINITY and not _may_lock():
        return False
    if ctypes.CDLL(None, use_errno=True).mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT) == 0:
        return True
    _log.warning(
        "memory may be swapped: mlockall: %s",
        os.strerror(ctypes.get_errno()),
        extra=Happening.MEMORY_MAY_BE_SWAPPED.said(),
    )
    return False


def _may_lock() -> bool:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return False
    effective = next((int(line.split()[1], 16) for line in lines if line.startswith("CapEff:")), 0)
    return bool(effective >> _CAP_IPC_LOCK & 1)


def wipe_environment(names: Collection[str]) -> None:
    """Overwrite the values of these variables where the kernel put them at the start, which is what /proc/PID/environ shows.

    ``os.environ`` keeps its own copies; children that inherit the environment get empty values.
    """
    variables = ctypes.POINTER(ctypes.c_char_p).in_dll(ctypes.CDLL(None), "environ")
    for variable in _entries(variables):
        name, separator, value = ctypes.string_at(variable).partition(b"=")
        if separator and os.fsdecode(name) in names:
            ctypes.memset(variable + len(name) + 1, 0, len(value))


def _entries(variables: ctypes._Pointer[ctypes.c_char_p]) -> Iterator[int]:
    pointers = ctypes.cast(variables, ctypes.POINTER(ctypes.c_void_p))
    number = 0
    while pointers[number]:
        yield int(pointers[number])
        number += 1
