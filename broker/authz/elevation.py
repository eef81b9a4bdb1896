"""Requests for a time box, and what became of them: pure.

A request and each approval of it is a row of its own, sealed, and sealed as what it is: a request opens as itself only, an
approval only as one of this request by this person. So whoever keeps the rows for us can lose them and cannot make, move or
change one. What *ends* a request (a denial, a revocation, time) is not a row that could be lost: it is in the ledger of
revocations, or in the sealed row itself.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import orjson

from broker.core.birth import Birth
from broker.core.elevation import Box
from broker.core.roles import RoleName
from broker.core.scope import ScopeName
from broker.keys.envelope import CannotOpen, Envelope

# Whoever is asked is asked for now: what nobody has approved in an hour is asked for anew.
PATIENCE = timedelta(hours=1)
# Two instances may differ by as much as Kerberos lets its own clocks differ (RFC 4120 section 3.2.3).
_CLOCK_SKEW = timedelta(minutes=5)

REQUEST = b"request"
_CONTEXT = b"elevation/v1/"
_NAME_CHARS = 32
_ENDED = "elevation/"


class State(StrEnum):
    """What became of a request."""

    PENDING = "pending"
    OPEN = "open"
    ENDED = "ended"
    EXPIRED = "expired"
    DENIED = "denied"
    # The rule, the role or somebody's standing is not what it was.
    VOID = "void"


@dataclass(frozen=True, slots=True)
class Request:
    """What somebody asks for, and under which terms. ``epoch`` is theirs when they asked; ``needed`` how many must approve.

    ``person`` is who they are whatever name they use; ``asked`` in whole seconds; ``birth`` is the same by the clock that nobody
    can set.
    """

    id: str
    user: str
    person: str
    role: RoleName
    scope: ScopeName | None
    rule: str
    terms: str
    reason: str
    asked: datetime
    duration: timedelta
    needed: int
    epoch: int
    birth: Birth | None

    @property
    def is_broken_glass(self) -> bool:
        """Whether it needs nobody."""
        return self.needed == 0

    @property
    def expires(self) -> datetime:
        """Until when it can be approved."""
        return self.asked + PATIENCE

    @property
    def latest_end(self) -> datetime:
        """When nothing of it can count any more."""
        return self.expires + self.duration

    @property
    def ending(self) -> str:
        """What the ledger calls it, once it is ended."""
        return self.ending_of(self.id)

    @staticmethod
    def ending_of(identifier: str) -> str:
        """The same, by its id."""
        return _ENDED + identifier


@dataclass(frozen=True, slots=True)
class Approval:
    """By whom and when, ``birth`` by the clock that nobody can set; ``epoch`` is theirs at that moment."""

    user: str
    person: str
    at: datetime
    epoch: int
    birth: Birth | None


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a request stands; ``ends`` is set once its box was open."""

    request: Request
    state: State
    approvals: tuple[Approval, ...]
    ends: datetime | None

    def voided(self) -> Standing:
        """The same, where the policy is not what it was."""
        return Standing(self.request, State.VOID, self.approvals, self.ends)

    @property
    def box(self) -> Box | None:
        """What it opens, if it does now."""
        if self.state is not State.OPEN or self.ends is None:
            return None
        request = self.request
        return Box(
            id=request.id,
            user=request.user,
            role=request.role,
            scope=request.scope,
            terms=request.terms,
            reason=request.reason,
            ends=self.ends,
            approvers=frozenset(approval.person for approval in self.approvals),
            is_broken_glass=request.is_broken_glass,
        )


Epoch = Callable[[str], int]
IsEnded = Callable[[str, str], bool]


def standing(
    request: Request, approvals: Iterable[Approval], *, now: datetime, epoch: Epoch, is_ended: IsEnded
) -> Standing:
    """Where a request stands; whether the rule is still what it was, is for whoever knows the policy.

    Args:
        request: The request.
        approvals: All that were given.
        now: The time.
        epoch: Somebody's, now; what they asked for or approved under a lower one is void.
        is_ended: Whether the ledger knows something of somebody's as ended.
    """
    counted: dict[str, Approval] = {}
    for approval in sorted(approvals, key=lambda one: one.at):
        # One from the future was given by a clock that is wrong: its box would end too late.
        is_in_time = request.asked - _CLOCK_SKEW <= approval.at < request.expires and approval.at <= now + _CLOCK_SKEW
        if is_in_time and approval.person != request.person and approval.epoch >= epoch(approval.user):
            counted.setdefault(approval.person, approval)
    given = tuple(counted.values())
    opened = _opened(request, given)
    ends = None if opened is None else opened + request.duration
    return Standing(request, _state(request, ends, now=now, epoch=epoch, is_ended=is_ended), given, ends)


def _opened(request: Request, given: tuple[Approval, ...]) -> datetime | None:
    if request.is_broken_glass:
        return request.asked
    return given[request.needed - 1].at if len(given) >= request.needed else None


def _state(request: Request, ends: datetime | None, *, now: datetime, epoch: Epoch, is_ended: IsEnded) -> State:
    if is_ended(request.user, request.ending):
        return State.DENIED
    # Asked for in the future: the clock was put back, so that its end would come too late.
    if request.epoch < epoch(request.user) or now + _CLOCK_SKEW < request.asked:
        return State.VOID
    if ends is not None:
        return State.OPEN if now < ends else State.ENDED
    return State.PENDING if now < request.expires else State.EXPIRED


class Rows:
    """Requests and approvals as rows that others may keep."""

    def __init__(self, *, envelope: Envelope, name_key: bytes) -> None:
        self._envelope = envelope
        self._name_key = name_key

    def owner(self, user: str) -> str:
        """Under which name somebody's requests are listed; tells nothing without the key."""
        return self._name("owner", user)

    def approval_name(self, person: str) -> bytes:
        """The name of the row that holds somebody's approval: each has one."""
        return b"by-" + self._name("approver", person).encode()

    def seal_request(self, request: Request) -> bytes:
        """Its row."""
        members = [
            request.user,
            request.person,
            request.role,
            request.scope,
            request.rule,
            request.terms,
            request.reason,
            int(request.asked.timestamp()),
            int(request.duration.total_seconds()),
            request.needed,
            request.epoch,
            *_since_boot(request.birth),
        ]
        return self._envelope.seal(orjson.dumps(members), context=_of_request(request.id))

    def seal_approval(self, request: Request, approval: Approval) -> bytes:
        """Its row."""
        members = [approval.user, approval.person, int(approval.at.timestamp() * 1000), approval.epoch]
        members += _since_boot(approval.birth)
        name = self.approval_name(approval.person)
        return self._envelope.seal(orjson.dumps(members), context=_of_approval(request.id, name))

    def opened(self, identifier: str, rows: Mapping[bytes, bytes]) -> tuple[Request, list[Approval]] | None:
        """The request of this id, and its approvals; what is none is left out, and None where there is no such request."""
        try:
            request = self.request(identifier, rows.get(REQUEST, b""))
        except CannotOpen:
            return None
        approvals = []
        for name, blob in rows.items():
            try:
                approvals += [] if name == REQUEST else [self._approval(identifier, name, blob)]
            except CannotOpen:
                continue
        return request, approvals

    def renewed(self, identifier: str, name: bytes, blob: bytes) -> tuple[bytes, str] | None:
        """A row sealed with the newest key, and the id of the version that sealed it before; None where it is no row of ours."""
        context = _of_request(identifier) if name == REQUEST else _of_approval(identifier, name)
        try:
            plaintext = self._envelope.open(blob, context=context)
        except CannotOpen:
            return None
        if self._envelope.is_newest(blob):
            return blob, self._envelope.version_of(blob) or ""
        return self._envelope.seal(plaintext, context=context), self._envelope.version_of(blob) or ""

    def request(self, identifier: str, blob: bytes) -> Request:
        """The request of this id.

        Raises:
            CannotOpen: This is not its row.
        """
        members: list[Any] = orjson.loads(self._envelope.open(blob, context=_of_request(identifier)))
        user, person, role, scope, rule, terms, reason, asked, duration, needed, epoch, *born = members
        return Request(
            id=identifier,
            user=user,
            person=person,
            role=role,
            scope=scope,
            rule=rule,
            terms=terms,
            reason=reason,
            asked=datetime.fromtimestamp(asked, UTC),
            duration=timedelta(seconds=duration),
            needed=needed,
            epoch=epoch,
            birth=_birth(born),
        )

    def _approval(self, identifier: str, name: bytes, blob: bytes) -> Approval:
        user, person, at, epoch, *born = orjson.loads(self._envelope.open(blob, context=_of_approval(identifier, name)))
        moment = datetime.fromtimestamp(at / 1000, UTC)
        return Approval(user=user, person=person, at=moment, epoch=epoch, birth=_birth(born))

    def _name(self, what: str, whose: str) -> str:
        return hmac.new(self._name_key, f"{what} {whose}".encode(), hashlib.sha256).hexdigest()[:_NAME_CHARS]


def _since_boot(birth: Birth | None) -> list[str | float]:
    return [] if birth is None else [birth.boot, birth.booted]


def _birth(members: list[Any]) -> Birth | None:
    """None in rows of before there were such members."""
    return Birth(*members) if members else None


def _of_request(identifier: str) -> bytes:
    return _CONTEXT + identifier.encode()


def _of_approval(identifier: str, name: bytes) -> bytes:
    return _CONTEXT + identifier.encode() + b"/" + name
