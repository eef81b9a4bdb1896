"""A role or user as it is in AWS, and why one cannot be shown."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any


class NotThere(Exception):
    """IAM knows no such role or user in this account."""


class Unreadable(Exception):
    """These credentials may not see it, or are none, or AWS does not answer. ``str()`` says which."""


@dataclass(frozen=True, slots=True)
class Live:
    """A role or user as it is. ``trust`` is None for a user, ``boundary`` where there is no permissions boundary."""

    arn: str
    trust: Any
    policies: tuple[Any, ...]
    boundary: Any
    max_session_duration: timedelta | None
