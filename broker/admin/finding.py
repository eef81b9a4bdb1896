"""What a check of the server's doctor says; in JSON the members are those of the client's (docs/doctor.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from broker.core.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report; it holds no secret.

    Attributes:
        verdict: One of the four.
        evidence: What was seen.
        fix: A command that mends it, or shows more of it; empty where there is nothing to do.
        code: Of docs/server-doctor.md, for what is bad and what is going to be.
    """

    verdict: Verdict
    evidence: str
    fix: str = ""
    code: str = ""

    def as_json(self, check: str) -> dict[str, str]:
        """Its members, for programs; what is empty is left out."""
        members = {"check": check, "verdict": str(self.verdict), "evidence": self.evidence}
        return members | {name: text for name, text in (("fix", self.fix), ("code", self.code)) if text}


def ok(evidence: str) -> Finding:
    """Nothing is wrong."""
    return Finding(Verdict.OK, evidence)


def warn(code: str, evidence: str, fix: str) -> Finding:
    """Nothing fails yet, or perhaps it is meant so."""
    return Finding(Verdict.WARN, evidence, fix, code)


def bad(code: str, evidence: str, fix: str) -> Finding:
    """Something fails, or is open to somebody."""
    return Finding(Verdict.BAD, evidence, fix, code)


def unseen(evidence: str, fix: str = "") -> Finding:
    """Could not look."""
    return Finding(Verdict.UNSEEN, evidence, fix)


class UnknownCheck(Exception):
    """There is no check of that name."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        super().__init__(f"{name!r} is no check — fix: name some of: {', '.join(known)}")


# Of one check after the other, as each is found; the arguments are the configuration's path, the checks that are wanted (empty:
# all), and whether roles may be assumed.
Examine = Callable[[Path, Sequence[str], bool], Iterator[tuple[str, Finding]]]
