"""What must not be lost with a primary: a write counts when so many replicas have it, too.

Redis acknowledges a write before any replica has heard of it; a primary that dies, or is cut off with whoever still speaks to it,
takes such writes along. WAIT says how many have what this connection wrote. With more than half of all servers having it, whoever
becomes the primary next has it, and a primary that was cut off from the others finds out at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

# On one network a replica answers in less than a millisecond. Redis looks ten times a second whether a WAIT has ended, and its
# clients give up after 0.2 s.
PATIENCE = timedelta(milliseconds=80)


class NotReplicated(TimeoutError):
    """Too few replicas have it, yet: it may be lost."""


@dataclass(frozen=True, slots=True)
class Replicas:
    """How many must have it; 0 where there are none."""

    number: int
    patience: timedelta = PATIENCE

    def wait(self, pipeline: Any) -> None:
        """Put the question behind the writes of a pipeline, which goes over one connection."""
        if self.number:
            pipeline.wait(self.number, int(self.patience.total_seconds() * 1000))

    def answered(self, answers: list[Any]) -> tuple[list[Any], bool]:
        """The pipeline's other answers, and whether enough have what it wrote."""
        if not self.number:
            return answers, True
        *others, number = answers
        return others, isinstance(number, int) and number >= self.number

    def kept(self, answers: list[Any]) -> list[Any]:
        """The pipeline's other answers.

        Raises:
            NotReplicated: What it wrote may be lost.
        """
        others, is_kept = self.answered(answers)
        if not is_kept:
            raise NotReplicated
        return others
