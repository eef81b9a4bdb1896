"""What is wrong with a value, in words for the operator: a predicate and a fix.

A fault names the offending value only through ``shown``, and a report quotes that only where the value stands in the
configuration file for all its readers to see. Faults of secrets show nothing.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from pydantic_core import PydanticCustomError

# A fault is one line of a terminal, not a copy of the file.
_SHOWN_MAX_CHARS = 80

# difflib's ratio: "passwort" is near to "password" (0.88), "tls" is not to "rules" (0.75).
_NEAR = 0.8

FAULT, ABSENCE = "fault", "absence"


@dataclass(frozen=True, slots=True)
class Problem:
    """One line of the report: ``PLACE: key.path: what — fix: what to do``."""

    place: str
    path: tuple[str | int, ...]
    what: str
    fix: str

    def __str__(self) -> str:
        key = f"{dotted(self.path)}: " if self.path else ""
        line = f"{self.place}: {key}{self.what} — fix: {self.fix}"
        # Keys and file names may hold anything; a problem is one line of a terminal all the same.
        return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in line)


def fault(what: str, fix: str, *, shown: str | None = None) -> PydanticCustomError:
    """An error for a validator to raise; ``what`` is a predicate, e.g. "is not a duration"."""
    return PydanticCustomError(FAULT, "fault", {"what": what, "fix": fix, "shown": shown})


def absence(what: str, fix: str) -> PydanticCustomError:
    """The same where nothing is wrong with what is there: a broker has to have it, a program that reads its file need not."""
    return PydanticCustomError(ABSENCE, "absence", {"what": what, "fix": fix, "shown": None})


def quoted(shown: str) -> str:
    """The value's beginning, to put before the predicate."""
    return repr(shown if len(shown) <= _SHOWN_MAX_CHARS else shown[:_SHOWN_MAX_CHARS] + "...")


def dotted(path: tuple[str | int, ...]) -> str:
    """``roles.developer.chain[0].arn``."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part[:_SHOWN_MAX_CHARS]}" for part in path)
    return "".join(parts).removeprefix(".")


def nearest(word: str, words: Iterable[str], *, behind: str = "") -> str:
    """``write "server", or ``: the beginning of a fix, or nothing where no word comes near. ``behind``: a prefix of all."""
    candidates = [candidate.removeprefix(behind) for candidate in words]
    found = difflib.get_close_matches(word.removeprefix(behind)[:_SHOWN_MAX_CHARS], candidates, n=1, cutoff=_NEAR)
    return f'write "{behind}{found[0]}", or ' if found else ""
