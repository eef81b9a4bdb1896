"""How much is known of somebody, and what each detector needs before it speaks: at a cold start all are quiet."""

from __future__ import annotations

from typing import NamedTuple


class History(NamedTuple):
    """``days`` on which somebody was let in, and how often that was in all (``used``)."""

    days: int = 0
    used: int = 0


class Enough(NamedTuple):
    """What a detector needs."""

    days: int
    used: int

    def is_met(self, history: History) -> bool:
        """Whether it may speak."""
        return history.days >= self.days and history.used >= self.used


# A working week and a half shows most of what is regular about people; a batch job shows it sooner, in requests, not in days.
FOR_VOLUME = Enough(days=7, used=30)
FOR_HOURS = Enough(days=10, used=60)
FOR_NETWORKS = Enough(days=7, used=30)
FOR_ROLES = Enough(days=7, used=30)
FOR_TRAVEL = Enough(days=3, used=10)
FOR_DENIALS = Enough(days=7, used=30)
