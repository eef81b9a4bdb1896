"""The memory of another process, as root or a debugger sees it, searched for octets."""

from __future__ import annotations

import contextlib
from pathlib import Path

_PIECE = 1 << 20


def count(pid: int, *wanted: bytes) -> int:
    """How often any of ``wanted`` lies in memory that can be read."""
    found = 0
    overlap = max(map(len, wanted)) - 1
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for start, end in _mappings(pid):
            before = b""
            for at in range(start, end, _PIECE):
                try:
                    memory.seek(at)
                    piece = before + memory.read(min(_PIECE, end - at))
                except (OSError, ValueError):
                    break  # not to be read by anybody: secret pages, the kernel's own
                found += sum(piece.count(one) for one in wanted)
                before = piece[-overlap:] if overlap else b""
    return found


def mapping(pid: int, name: str) -> dict[str, str]:
    """What smaps says of the mapping whose line holds ``name``."""
    found: dict[str, str] = {}
    is_it = False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        key, colon, value = line.partition(":")
        if not colon or "-" in key:
            is_it = name in line
        elif is_it:
            found[key] = value.strip()
    return found


def status(pid: int, key: str) -> str:
    """A line of /proc/PID/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.partition(":")[2].strip() for line in lines if line.startswith(f"{key}:"))


def _mappings(pid: int) -> list[tuple[int, int]]:
    found = []
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        where, rights = line.split()[:2]
        if rights.startswith("r"):
            start, _, end = where.partition("-")
            found.append((int(start, 16), int(end, 16)))
    return found


def copy(pid: int) -> bytes:
    """All memory that can be read and written."""
    found = []
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for start, end in _mappings(pid):
            with contextlib.suppress(OSError, ValueError):
                memory.seek(start)
                found.append(memory.read(end - start))
    return b"".join(found)
