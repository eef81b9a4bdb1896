"""What a check found out about a live role."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from broker.core.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report; ``fix`` is empty where there is nothing to do. Neither holds an external ID."""

    level: Verdict
    arn: str
    what: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.level} {self.arn}: {self.what}" + (f" — fix: {self.fix}" if self.fix else "")

    def as_json(self) -> dict[str, str]:
        """Its members, for programs."""
        return {**asdict(self), "level": str(self.level)}
