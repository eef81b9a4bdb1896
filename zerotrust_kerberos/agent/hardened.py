"""What a process that keeps credentials asks of the kernel."""

from __future__ import annotations

import ctypes
import os
import resource

# prctl(2).
_DUMPABLE, _NO_NEW_PRIVILEGES = 4, 38


def hide() -> None:
    """No core file, and no other process of the same user that reads our memory (ptrace(2), /proc/PID/mem)."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _prctl(_DUMPABLE, 0)


def gain_nothing() -> None:
    """Nothing that is run from here on has more rights than this process."""
    _prctl(_NO_NEW_PRIVILEGES, 1)


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
