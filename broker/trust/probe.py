"""Tries whether the external IDs are demanded: every hop with the right one, without one, and with a wrong one.

A document that looks right is no proof; a refusal is. The right try comes first, because a refusal of the others means something
only where the right one is let in. Guarantee 1 holds here too: what is about to be tried is on the disk before STS hears of
it, and so is each outcome before the next try. Sessions that the tries make are the shortest there are; the right
one's signs the next hop's tries, the others are dropped at once, and none is ever printed.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

from broker.audit.event import Event, Kind
from broker.audit.log import AuditLog
from broker.core.credentials import Credentials
from broker.core.errors import StsDenied, StsError
from broker.core.roles import SHORTEST, Role, RoleName
from broker.core.tags import SessionTag, Tag
from broker.core.verdict import Verdict
from broker.sts.chain import Call
from broker.trust.finding import Finding
from broker.trust.judge import near_miss

# Every principal's session name has an "@", or ends in "==" and a hash: this one is nobody's.
NAME = "zerotrust-probe"


class Try(enum.StrEnum):
    """What of the external ID is sent."""

    RIGHT = "right"
    WITHOUT = "without"
    WRONG = "wrong"


class Caller(Protocol):
    """What makes one call; the STS client does."""

    async def one(self, call: Call, *, by: Credentials | None, place: int) -> Credentials:
        """One AssumeRole with the session before it, or with the broker's own credentials. Raises ``StsError``."""


class Prober:
    """Walks the chains of a configuration; hops that several roles share are tried once."""

    def __init__(self, *, sts: Caller, audit: AuditLog, by_token: bool, bends: bool = True) -> None:
        """``by_token``: the first hop is taken by a token of the broker's own, a call that has no external ID.

        ``bends``: whether the tries that must be refused are made; without them it shows whether chains work, and raises no
        alarm of who watches CloudTrail for refusals.
        """
        self._sts = sts
        self._audit = audit
        self._by_token = by_token
        self._bends = bends
        self._tried: dict[tuple[Call, ...], Credentials | None] = {}
        self._findings: list[Finding] = []

    async def run(self, roles: Mapping[RoleName, Role]) -> list[Finding]:
        """What every hop of every role did.

        Raises:
            AuditUnavailable: A record could not be written; nothing further was tried.
        """
        for role in roles.values():
            way: tuple[Call, ...] = ()
            session: Credentials | None = None
            for call in _calls(role):
                way = (*way, call)
                if way not in self._tried:
                    self._tried[way] = await self._hop(role, call, session, place=len(way))
                session = self._tried[way]
                if session is None:
                    break
            self._say_unseen(role, len(way))
        return list(dict.fromkeys(self._findings))

    async def _hop(self, role: Role, call: Call, by: Credentials | None, *, place: int) -> Credentials | None:
        """All tries of one hop; the session of the right one."""
        bent = {Try.WITHOUT: None, Try.WRONG: near_miss(call.external_id)} if self._bends and call.external_id else {}
        event = Event(
            action="probe",
            resource=call.arn.text,
            role=role.name,
            account=call.arn.account,
            source_identity=NAME,
            details={"hop": place},
        )
        await self._audit.record(_outcome(event, Kind.INTENT, details={"tries": [Try.RIGHT, *bent]}))
        session = await self._right(call, by, place, event)
        if session is None:
            return None
        holds = [
            await self._bent(which, _bent(call, external_id), by, place, event) for which, external_id in bent.items()
        ]
        if call.external_id is None and by is None and self._by_token:
            self._find(Verdict.OK, call, "lets the broker in by its token, which takes the place of an external ID")
        elif call.external_id is None:
            self._find(Verdict.WARN, call, "is assumed without an external ID", "set derive_external_id for the hop")
        elif not self._bends:
            self._find(Verdict.OK, call, "lets the broker in")
        elif all(holds):
            self._find(
                Verdict.OK, call, "lets the broker in, and refuses it without its external ID and with a wrong one"
            )
        return session

    async def _right(self, call: Call, by: Credentials | None, place: int, event: Event) -> Credentials | None:
        try:
            session = await self._sts.one(call, by=by, place=place)
        except StsError as error:
            await self._audit.record(_outcome(event, Kind.REFUSED, reason=error.reason, details={"try": Try.RIGHT}))
            fix = "run `zerotrust-admin doctor --roles` with credentials that may read the role"
            self._find(Verdict.BAD, call, f"does not let the broker in ({error.reason})", fix)
            return None
        await self._audit.record(_outcome(event, Kind.PROBED, session=session, details={"try": Try.RIGHT}))
        return session

    async def _bent(self, which: Try, call: Call, by: Credentials | None, place: int, event: Event) -> bool:
        """Whether the hop refused what it must refuse."""
        try:
            session = await self._sts.one(call, by=by, place=place)
        except StsDenied as error:
            details = {"try": which, "answer": error.reason}
            await self._audit.record(_outcome(event, Kind.PROBED, details=details))
            return True
        except StsError as error:
            await self._audit.record(_outcome(event, Kind.REFUSED, reason=error.reason, details={"try": which}))
            what = f"gave no answer to the try {_words(which)} ({error.reason})"
            self._find(Verdict.UNSEEN, call, what, "probe again")
            return False
        reason = f"assumed_{which}"
        await self._audit.record(
            _outcome(event, Kind.NOT_ENFORCED, session=session, reason=reason, details={"try": which})
        )
        fix = "apply what `zerotrust-admin trust-policy` prints"
        self._find(Verdict.BAD, call, f"ALARM: lets the broker in {_words(which)}", fix)
        return False

    def _say_unseen(self, role: Role, reached: int) -> None:
        for hop in role.chain[reached:]:
            what, fix = (
                "was not reached: the hop before it does not let the broker in",
                "mend that one, and probe again",
            )
            self._findings.append(Finding(Verdict.UNSEEN, hop.arn.text, what, fix))

    def _find(self, level: Verdict, call: Call, what: str, fix: str = "") -> None:
        self._findings.append(Finding(level, call.arn.text, what, fix))


def _calls(role: Role) -> list[Call]:
    """The broker's calls for this role, as short as AWS allows and for nobody."""
    last = len(role.chain) - 1
    return [
        Call(
            arn=hop.arn,
            external_id=hop.external_id,
            session_name=NAME,
            lifetime=SHORTEST,
            tags=tuple(map(_tag, (tag for tag in role.tags if place == (0 if tag.transitive else last)))),
        )
        for place, hop in enumerate(role.chain)
    ]


def _tag(tag: Tag) -> SessionTag:
    return SessionTag(key=tag.key, value=NAME, transitive=tag.transitive, optional=tag.optional)


def _bent(call: Call, external_id: str | None) -> Call:
    return replace(call, external_id=external_id)


def _words(which: Try) -> str:
    return "without any external ID" if which is Try.WITHOUT else "with a wrong external ID"


def _outcome(
    event: Event,
    kind: Kind,
    *,
    details: Mapping[str, object],
    session: Credentials | None = None,
    reason: str | None = None,
) -> Event:
    """A record of its own for each outcome."""
    return Event(
        action=event.action,
        resource=event.resource,
        role=event.role,
        account=event.account,
        source_identity=event.source_identity,
        kind=kind,
        success=reason is None,
        reason=reason,
        access_key_id=session.access_key_id if session else None,
        expiration=session.expiration if session else None,
        origin="sts" if session else None,
        details={**event.details, **details},
    )
