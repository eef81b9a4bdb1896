"""What a server holds while it works: memory, descriptors, threads, and what lies in Redis; and whether that grows.

Pure but for ``look``.
"""

from __future__ import annotations

import os
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# Of all requests: caches fill, pages of code are read, the allocator settles.
WARM_UP = 0.2
# A server that gives nothing back loses far more a request than this, and a million requests of it are 16 MB: what the
# allocator's own unrest comes to.
FLAT_BYTES = 16.0
_KIB = 1024


@dataclass(frozen=True, slots=True)
class Point:
    """One look. Memory in octets; ``requests`` were answered before it.

    ``own`` is what it has allocated (RssAnon): what it reads of files, and how much of that others read too, is none of it.
    """

    requests: int
    seconds: float
    rss: int
    pss: int
    own: int
    descriptors: int
    threads: int
    redis_bytes: int = 0
    redis_keys: int = 0


def look(pid: int, *, requests: int, seconds: float, redis: tuple[int, int] = (0, 0)) -> Point:
    """What ``/proc`` says of a process now (proc(5)); of ours only root may ask."""
    status = Path(f"/proc/{pid}/status").read_text()
    memory = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return Point(
        requests=requests,
        seconds=seconds,
        rss=_kib(memory, "Rss") * _KIB,
        pss=_kib(memory, "Pss") * _KIB,
        own=_kib(status, "RssAnon") * _KIB,
        descriptors=len(os.listdir(f"/proc/{pid}/fd")),  # noqa: PTH208  # a number is all that is wanted
        threads=_kib(status, "Threads"),
        redis_bytes=redis[0],
        redis_keys=redis[1],
    )


def settled(points: Sequence[Point]) -> list[Point]:
    """Those after the warm-up."""
    whole = points[-1].requests
    return [point for point in points if point.requests >= WARM_UP * whole]


def growth(points: Sequence[Point]) -> float:
    """Octets that each request leaves behind after the warm-up: the median of the slopes over a quarter of it at a time.

    A step, such as the arena of one more thread, is in a third of them and moves it little; a leak is in every one.

    Raises:
        ValueError: Fewer than three points after the warm-up say nothing.
    """
    counted = settled(points)
    if len(counted) < 3:  # noqa: PLR2004  # two are always on a line
        raise ValueError("too few looks after the warm-up")
    pairs = zip(counted, counted[max(1, len(counted) // 4) :], strict=False)
    return statistics.median((after.own - before.own) / (after.requests - before.requests) for before, after in pairs)


def _kib(text: str, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+)", text, re.MULTILINE)
    if found is None:
        raise ValueError(f"/proc says nothing of {name}")
    return int(found[1])
