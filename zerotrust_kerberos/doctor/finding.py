"""What a check says."""

from __future__ import annotations

from dataclasses import dataclass

from zerotrust_kerberos.failures import TABLE, Failure, line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from zerotrust_kerberos.failures import Place

# Verdicts. UNSEEN is no fault: something that is needed to look was not there, or was found at fault already.
OK, WARN, BAD, UNSEEN = "ok", "warn", "bad", "unseen"


@dataclass(frozen=True)
class Finding:
    """One.

    Attributes:
        verdict: One of the four.
        evidence: What was seen, in a line.
        fix: A command that mends it, or shows more of it; empty where nothing is wrong.
        code: Of ``failures.TABLE``, for BAD; what the command ends with.
        repair: Does what ``fix`` says, where that harms nobody whatever the reason was; for ``--fix``.
    """

    verdict: str
    evidence: str
    fix: str = ""
    code: str = ""
    repair: Callable[[], None] | None = None

    @property
    def exit_status(self) -> int:
        """Of the command, if nothing else is wrong."""
        return TABLE[self.code][0] if self.verdict == BAD else 0


def ok(evidence: str) -> Finding:
    """Nothing wrong."""
    return Finding(OK, evidence)


def unseen(evidence: str) -> Finding:
    """Could not look."""
    return Finding(UNSEEN, evidence)


def failed(failure: Failure, place: Place, *, saying: str = "") -> Finding:
    """What a command would have failed with, and ``saying`` what else there is to it."""
    what, _, fix = line(failure, place).partition(" — run: ")
    return Finding(BAD, f"{what.removesuffix(f' [{failure.code}]')}{saying}", fix=fix, code=failure.code)
