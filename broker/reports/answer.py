"""What a question is answered with: a verdict, a sentence, and what shows it."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Verdict(enum.StrEnum):
    """What can be said about a control."""

    PASS = "pass"  # noqa: S105  # no password
    FAIL = "fail"
    NOT_COVERED = "not covered"


@dataclass(frozen=True, slots=True)
class Answer:
    """A verdict, in one sentence, with the lines that show it."""

    verdict: Verdict
    sentence: str
    evidence: tuple[str, ...] = ()


def counted(number: int, noun: str) -> str:
    """``1 rule``, ``2 rules``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
