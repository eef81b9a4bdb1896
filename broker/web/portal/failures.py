"""``/problems``: what each code means, for whoever got it and for the broker's administrator; RFC 9457 section 3.1.1.

Needs no ticket: who is refused for having none can read it. The same words are ``zerotrust help CODE`` and ``docs/failures/``.
"""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from broker import wire
from broker.core.errors import NotFound
from broker.web.operators_notes import NOTES
from broker.web.portal.render import Templates
from broker.web.problems import TABLE, Answer
from zerotrust_kerberos.meanings import MEANINGS
from zerotrust_kerberos.meanings.meaning import Meaning


@dataclass(frozen=True, slots=True)
class Failure:
    """One code: the answer that carries it, what it means to who gets it, and what its operator does."""

    code: str
    answer: Answer
    meaning: Meaning
    operator: tuple[str, ...]


# Several errors of the house may have one code; they share status and title.
_ANSWERS = {error.code: answer for error, answer in reversed(TABLE.items())}
FAILURES = {
    code: Failure(code, _ANSWERS[code], MEANINGS[code], tuple(NOTES[code]))
    for code in sorted(wire.PROBLEM_CODES, key=lambda code: (_ANSWERS[code].status, code))
}


class Failures:
    """The handlers."""

    def __init__(self, *, templates: Templates) -> None:
        self._templates = templates

    async def listing(self, _: web.Request) -> web.Response:
        """All of them."""
        return self._templates.page("failures.html", failures=list(FAILURES.values()))

    async def one(self, request: web.Request) -> web.Response:
        """One of them."""
        found = FAILURES.get(request.match_info["code"])
        if found is None:
            raise NotFound(hint=f"{wire.PROBLEMS_PATH} shows which codes there are")
        return self._templates.page("failure.html", failure=found)
