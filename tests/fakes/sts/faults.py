"""Faults on demand: how a real STS, or what stands before it, misbehaves.

A fault is set by name, may be limited to one role and to a number of firings, and is gone when cleared. Setting one that
does not exist, or that cannot apply, is an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# What replaces the whole answer, before the request is even looked at.
INSTEAD = frozenset({"html", "empty", "throttle", "error500", "hang", "clock_skew", "expired_base"})
# What refuses a request whose signature was right: the refusal names the caller.
REFUSING = frozenset({"deny"})
# What spoils the answer to an AssumeRole that was rightly allowed.
SPOILING = frozenset(
    {
        "missing_token",
        "missing_expiration",
        "past",
        "far",
        "other_account",
        "other_role",
        "other_source_identity",
    }
)
DELAYING = frozenset({"latency"})
KINDS = INSTEAD | REFUSING | SPOILING | DELAYING
ISSUING = frozenset({"AssumeRole", "AssumeRoleWithWebIdentity"})
ACTIONS = ISSUING | {"GetCallerIdentity", "getSigninToken"}

# A hang ends by itself, so that a forgotten one cannot hold a test run for ever.
DEFAULT_HANG_SECONDS = 30.0
LONGEST_SECONDS = 300.0


@dataclass(slots=True)
class Fault:
    """One fault that was asked for. ``left`` counts down; None fires for ever."""

    kind: str
    left: int | None = None
    role_arn: str | None = None
    seconds: float | None = None
    action: str = "AssumeRole"
    region: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind {self.kind!r} is none of {', '.join(sorted(KINDS))}")
        if self.action not in ACTIONS or (self.action not in ISSUING and (self.kind in SPOILING or self.role_arn)):
            raise ValueError(f"{self.kind} cannot apply to {self.action}")
        if self.left is not None and self.left < 1:
            raise ValueError("count must be 1 or more")
        if self.kind in DELAYING and self.seconds is None:
            raise ValueError("latency needs seconds")
        if self.seconds is not None and not 0 <= self.seconds <= LONGEST_SECONDS:
            raise ValueError(f"seconds must be 0 to {LONGEST_SECONDS:g}")


class Faults:
    """The faults that are set now."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def add(self, request: Mapping[str, Any]) -> None:
        """Set a fault from its JSON form ``{kind, count?, role_arn?, seconds?, action?, region?}``.

        Raises:
            ValueError: No such fault, an unknown member, or a value out of bounds.
        """
        known = {"count": "left"} | {name: name for name in ("kind", "role_arn", "seconds", "action", "region")}
        if "kind" not in request or set(request) - set(known):
            raise ValueError(f"expected kind and at most {', '.join(known)}")
        self._faults.append(Fault(**{known[name]: value for name, value in request.items()}))

    def clear(self) -> None:
        """No faults any more."""
        self._faults.clear()

    def fire(self, *, action: str, role_arn: str | None, region: str | None = None) -> list[Fault]:
        """The faults of this request, oldest first; each firing is counted, used or not."""
        firing = [
            fault
            for fault in self._faults
            if fault.action == action and fault.role_arn in (None, role_arn) and fault.region in (None, region)
        ]
        for fault in firing:
            if fault.left is not None:
                fault.left -= 1
        self._faults = [fault for fault in self._faults if fault.left != 0]
        return firing
