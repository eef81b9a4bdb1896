"""No more log than a disk can take: what strangers cause to be written is counted out, and what was left out is said.

Whatever fails on behalf of somebody unknown is written by the door, by aiohttp or by the event loop. An attacker who finds a way
to make one of them write would fill the disk with it. What the other rooms write is said once for each change of state and
is not capped: it must not be lost in somebody's flood.
"""

from __future__ import annotations

import logging
from datetime import timedelta

from broker.core.clock import Clock

# A trace is at most some 10 kB, so that a minute's lines stay under 1 MiB, the first minute's too.
BURST = 30
_ONE_EVERY = timedelta(seconds=2)

_DOOR = ("aiohttp", "asyncio", "broker.web")


class LogCap(logging.Filter):
    """For a handler: a token bucket over the records of the door."""

    def __init__(self, *, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._tokens = float(BURST)
        self._at = clock.boottime()
        self._left_out = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record may pass; the first one after a gap says how many are missing."""
        if not record.name.startswith(_DOOR):
            return True
        now = self._clock.boottime()
        self._tokens = min(float(BURST), self._tokens + (now - self._at) / _ONE_EVERY.total_seconds())
        self._at = now
        if self._tokens < 1:
            self._left_out += 1
            return False
        self._tokens -= 1
        said = []
        if self._left_out:
            said.append(f"{self._left_out} before this were left out")
        if self._tokens < 1:
            said.append("too many at once: the next are left out")
        if said:
            record.msg, record.args = f"{record.getMessage()} [{'; '.join(said)}]", ()
        self._left_out = 0
        return True
