"""What a check found out about a live role."""

from __future__ import annotations

import enum
from dataclasses import asdict, dataclass


class Level(enum.StrEnum):
    """``UNSEEN`` is no verdict: nobody looked, so it is never counted as good."""

    OK = "ok"
    WARN = "warn"
    BAD = "bad"
    UNSEEN = "unseen"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report; ``fix`` is empty where there is nothing to do. Neither holds an external ID."""

    level: Level
    arn: str
    what: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.level} {self.arn}: {self.what}" + (f" — fix: {self.fix}" if self.fix else "")

    def as_json(self) -> dict[str, str]:
        """Its members, for programs."""
        return {**asdict(self), "level": str(self.level)}
