"""What an operator gets for a revocation, and sees in the list of all: values with their JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from broker.core.clock import rfc3339


@dataclass(frozen=True, slots=True)
class Revocation:
    """One that is known. ``user`` None: everybody. ``role`` None: all roles.

    ``state``: ``held`` (until it is restored), ``restored`` (at that time), ``ended`` (what was made before that time). Of denies
    at AWS, whose ``role`` is an ARN: ``aws_denied`` (``until`` then), ``aws_pending`` (this instance has not seen that it is so),
    ``aws_removing``, ``aws_removed``; ``why`` says what stands in the way.
    """

    user: str | None
    role: str | None
    at: datetime
    by: str
    state: str
    until: datetime | None = None
    why: str | None = None

    def members(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "user": self.user,
            "role": self.role,
            "at": rfc3339(self.at),
            "by": self.by,
            "state": self.state,
            "until": rfc3339(self.until) if self.until else None,
            "why": self.why,
        }


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was done, and what it does not reach.

    ``aws`` is how far AWS denies what it has handed out, by role (``denied.told``); empty where it was not asked to.
    ``stopped`` and ``runs_on`` are sentences. ``aws_until`` is when the last credentials that AWS may have handed out before have
    expired. ``told`` is False where Redis did not take the news; ``not_heard`` are instances that have not said within a second
    that they know.
    """

    user: str | None
    role: str | None
    dry_run: bool
    at: datetime
    stopped: tuple[str, ...]
    runs_on: tuple[str, ...]
    aws_until: datetime | None
    told: bool
    not_heard: tuple[str, ...]
    aws: Sequence[Mapping[str, Any]] = ()

    def members(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "user": self.user,
            "role": self.role,
            "dry_run": self.dry_run,
            "at": rfc3339(self.at),
            "stopped": list(self.stopped),
            "runs_on": list(self.runs_on),
            "aws_until": rfc3339(self.aws_until) if self.aws_until else None,
            "told": self.told,
            "not_heard": list(self.not_heard),
            "aws": list(self.aws),
        }
