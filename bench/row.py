"""A line of the table, and what each part of the benchmark hands in. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.ratios import Estimate, estimate, ratios

_SEED = 1  # Any; the same for all rows.
# From here on a decimal says nothing.
_WHOLE = 100


@dataclass(frozen=True, slots=True)
class Row:
    """What was measured, held against its goal.

    Attributes:
        number: Of the goal, as docs/performance.md counts them.
        unit: Of ``ours`` and ``peer``, which are medians and for orientation.
        peer: None where the goal is about our own figure.
        value: What the goal is about: the ratio to the peer, or our own figure.
        is_floor: The goal is the least, not the most.
    """

    number: int
    what: str
    unit: str
    ours: float
    peer: float | None
    value: Estimate
    goal: float
    is_floor: bool = False

    @property
    def reached(self) -> bool:
        """Whether the median keeps the goal."""
        return self.value.value >= self.goal if self.is_floor else self.value.value <= self.goal

    def cells(self) -> tuple[str, ...]:
        """As text, in the order of ``report.HEADINGS``."""
        return (
            str(self.number),
            self.what,
            _figure(self.ours, self.unit),
            "" if self.peer is None else _figure(self.peer, self.unit),
            "" if self.peer is None else f"{self.value.value:.2f}",
            f"{self.value.low:.2f} to {self.value.high:.2f}",
            f"{'>=' if self.is_floor else '<='} {self.goal:.2f}",
            "yes" if self.reached else "no",
        )


@dataclass(frozen=True, slots=True)
class Part:
    """What one part of the benchmark found: its rows, what must be known to read them, and every single number (for JSON)."""

    rows: Sequence[Row]
    numbers: Any
    remarks: Sequence[str] = field(default=())


def compared(
    number: int,
    what: str,
    unit: str,
    *,
    ours: Sequence[float],
    peer: Sequence[float],
    goal: float,
    is_floor: bool = False,
) -> Row:
    """Ours over the peer's, round by round.

    Raises:
        ValueError: Not the same number of rounds, or none.
    """
    return Row(
        number=number,
        what=what,
        unit=unit,
        ours=statistics.median(ours),
        peer=statistics.median(peer),
        value=estimate(ratios(ours, peer), seed=_SEED),
        goal=goal,
        is_floor=is_floor,
    )


def alone(number: int, what: str, unit: str, *, ours: Sequence[float], goal: float) -> Row:
    """Our own figure, where there is nobody to compare it with.

    Raises:
        ValueError: No rounds.
    """
    found = estimate(ours, seed=_SEED)
    return Row(number=number, what=what, unit=unit, ours=found.value, peer=None, value=found, goal=goal)


def _figure(value: float, unit: str) -> str:
    return f"{value:.3g} {unit}" if value < _WHOLE else f"{value:,.0f} {unit}"
