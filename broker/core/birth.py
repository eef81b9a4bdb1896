"""How old something is by the clock that nobody can set.

A time of the wall clock that was sealed into something says when it ends, and whoever sets that clock back makes it end later. So
what we seal says beside it when it was made by the seconds since boot (CLOCK_BOOTTIME, clock_gettime(2)), and of which boot those
are: on the host that made it, it lives no longer than it was made for, whatever is done to the wall clock. On another host, or
after a restart of this one, those seconds say nothing, and the wall clock is all there is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, Self

from broker.core.clock import Clock

# Enough to tell a fleet's boots apart; a cookie has room for little more.
_BOOT_BYTES = 8
# As old as can be, and when that is.
_ENDLESS = timedelta.max
_NEVER = datetime.max.replace(tzinfo=UTC)
# Seconds; for what was rounded when it was written down.
_ROUNDED = 0.01


class Birth(NamedTuple):
    """A moment by the seconds since a boot."""

    boot: str
    booted: float

    @property
    def members(self) -> dict[str, Any]:
        """For what is sealed as JSON; ``of`` is the inverse."""
        return {"boot": self.boot, "booted": round(self.booted, 3)}

    @classmethod
    def of(cls, members: Mapping[str, Any]) -> Self | None:
        """None in what was sealed before there were such members."""
        return cls(members["boot"], members["booted"]) if "boot" in members else None


class Births:
    """Tells births of this boot of this host from others."""

    def __init__(self, *, clock: Clock, boot: str) -> None:
        """``boot`` is what ``boot_id`` says."""
        self._clock = clock
        self._boot = hashlib.blake2b(boot.encode(), digest_size=_BOOT_BYTES).hexdigest()

    def now(self) -> Birth:
        """This moment."""
        return Birth(self._boot, self._clock.boottime())

    def age(self, birth: Birth | None) -> timedelta | None:
        """How long ago it was; None where this host cannot say.

        A birth of this boot that is yet to come is of another time namespace (time_namespaces(7)), whose seconds are none of
        ours: it counts as old as can be.
        """
        if birth is None or birth.boot != self._boot:
            return None
        age = self._clock.boottime() - birth.booted
        return timedelta(seconds=max(0.0, age)) if age > -_ROUNDED else _ENDLESS

    def time_after(self, moment: datetime, birth: Birth | None) -> datetime:
        """The time, and where that cannot be: so long after the moment of a birth as this host knows to have passed since."""
        now, age = self._clock.now(), self.age(birth)
        if age is None:
            return now
        return max(now, moment + age) if age < _ENDLESS else _NEVER
