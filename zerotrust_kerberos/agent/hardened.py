"""What a process that keeps credentials asks of the kernel."""

from __future__ import annotations

import ctypes
import os
import resource

# prctl(2).
_DUMPABLE, _NO_NEW_PRIVILEGES = 4, 38
# capset(2): _LINUX_CAPABILITY_VERSION_3, and its two halves of three sets each.
_CAPABILITY_VERSION, _CAPABILITY_WORDS = 0x20080522, 6


def hide() -> None:
    """No core file, and no other process of the same user that reads our memory (ptrace(2), /proc/PID/mem)."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _prctl(_DUMPABLE, 0)


def gain_nothing() -> None:
    """Nothing that is run from here on has more rights than this process."""
    _prctl(_NO_NEW_PRIVILEGES, 1)


def without_capabilities() -> None:
    """Root by number alone, as any other user in all that is not root's own; with ``gain_nothing`` for good."""
    libc = ctypes.CDLL(None, use_errno=True)
    header, none = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0), (ctypes.c_uint32 * _CAPABILITY_WORDS)()
    if libc.capset(ctypes.byref(header), ctypes.byref(none)) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
