"""A report: the controls of one standard, each with its verdict. Made of the facts alone: the same facts make the same bytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from broker.core.clock import rfc3339
from broker.reports.answer import Answer, Verdict, counted
from broker.reports.facts import Facts
from broker.reports.standards import STANDARDS, Control

_NOTICE = (
    "This is evidence for an auditor and no certificate. It speaks of the credential broker alone; where a control asks for more "
    "than a broker can show, or where something did not happen or was not looked at, the verdict is: not covered."
)
# Rows of the list of who was given what: an access review of more than these wants the records themselves.
_GIVEN_MAX = 1000


@dataclass(frozen=True, slots=True)
class Finding:
    """What can be said about one control."""

    control: Control
    verdict: Verdict
    answers: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class Access:
    """Somebody was given a role so many times, the last time then."""

    user: str
    role: str
    times: int
    last: str


@dataclass(frozen=True, slots=True)
class Report:
    """The whole. ``omitted`` is how many rows ``access`` lacks; moments are RFC 3339 in UTC."""

    title: str
    as_of: str
    since: str
    records: int
    instances: int
    findings: tuple[Finding, ...]
    access: tuple[Access, ...]
    omitted: int
    notable: tuple[Mapping[str, str], ...]

    @property
    def verdicts(self) -> list[tuple[str, int]]:
        """How many controls have which verdict."""
        return [(one.value, sum(finding.verdict is one for finding in self.findings)) for one in Verdict]

    @property
    def extent(self) -> str:
        """How much it speaks of."""
        return f"{counted(self.records, 'record')} of {counted(self.instances, 'instance')}"

    @property
    def notice(self) -> str:
        """What must be read before the rest."""
        return _NOTICE

    def members(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "standard": self.title,
            "as_of": self.as_of,
            "since": self.since,
            "records": self.records,
            "instances": self.instances,
            "notice": self.notice,
            "summary": dict(self.verdicts),
            "controls": [_members(finding) for finding in self.findings],
            "access": [
                {"user": row.user, "role": row.role, "times": row.times, "last": row.last} for row in self.access
            ],
            "access_omitted": self.omitted,
            "events": [dict(event) for event in self.notable],
        }


def make(standard: str, facts: Facts) -> Report:
    """Put the questions of a standard (a key of ``STANDARDS``) to the facts."""
    chosen = STANDARDS[standard]
    given = sorted(facts.log.given.items())
    access = [Access(user=user, role=role, times=one.times, last=one.last) for (user, role), one in given]
    return Report(
        title=chosen.title,
        as_of=rfc3339(facts.as_of),
        since=rfc3339(facts.since) if facts.since else facts.log.first or "-",
        records=facts.log.records,
        instances=facts.log.instances,
        findings=tuple(_found(control, facts) for control in chosen.controls),
        access=tuple(access[:_GIVEN_MAX]),
        omitted=max(0, len(access) - _GIVEN_MAX),
        notable=tuple(facts.log.notable),
    )


def _found(control: Control, facts: Facts) -> Finding:
    answers = [check(facts) for check in control.checks]
    if control.beyond is not None:
        answers.append(Answer(Verdict.NOT_COVERED, control.beyond))
    return Finding(control, _worst(answer.verdict for answer in answers), tuple(answers))


def _worst(verdicts: Iterable[Verdict]) -> Verdict:
    """One failure fails a control; a pass needs all of it."""
    found = set(verdicts)
    return next(verdict for verdict in (Verdict.FAIL, Verdict.NOT_COVERED, Verdict.PASS) if verdict in found)


def _members(finding: Finding) -> dict[str, Any]:
    return {
        "control": finding.control.number,
        "title": finding.control.title,
        "verdict": finding.verdict.value,
        "answers": [
            {"verdict": answer.verdict.value, "says": answer.sentence, "evidence": list(answer.evidence)}
            for answer in finding.answers
        ],
    }
