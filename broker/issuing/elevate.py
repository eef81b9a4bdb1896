"""Time boxes: asked for with a reason, opened by others or broken open by oneself; each step with its record.

    known -> there in person -> nothing held from them -> may they? -> intent -> the row -> record

Nobody opens their own, whatever name they use; nobody approves who is not there (a job pass, a service in somebody's name), whom
the watch holds something from, or whose ticket the rule would not take of the one who asks. What is approved holds for one
person, role and scope under the rule as it was written, and no longer than the box.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import timedelta

from broker.audit.event import Event, Kind
from broker.audit.log import AuditLog
from broker.authz.elevation import Approval, Request, State
from broker.authz.policies import Policies
from broker.authz.policy import askable
from broker.core.birth import Births
from broker.core.clock import Clock, rfc3339
from broker.core.elevation import fits, person
from broker.core.errors import (
    AccessDenied,
    ApprovalRequired,
    ApprovalsUnavailable,
    BadRequest,
    StepUpRequired,
)
from broker.core.identity import Identity
from broker.core.rule import Rule
from broker.issuing.ask import Ask, Entrance, printable, role_named, scope_named
from broker.issuing.boxes import Boxes, Seen
from broker.issuing.review import Reviews
from broker.revocation.epochs import Epochs
from broker.revocation.holds import Holds

# Credentials live 15 minutes at least and end with the box: with less than this nothing could be handed out.
SHORTEST_BOX = timedelta(minutes=20)
# Requests of one person that wait for approval at a time.
_PENDING_MAX = 10
# And of all of theirs that are kept, for two hours or so: who asks and withdraws pushes nobody else's out of a list.
_KEPT_MAX = 50
_ID_BYTES = 16


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for; ``duration`` None: as long as the rule allows."""

    role: str
    scope: str | None
    reason: str
    duration: timedelta | None = None


class Elevation:
    """What opens and closes time boxes, and says which are open."""

    def __init__(
        self,
        *,
        entrance: Entrance,
        policies: Policies,
        boxes: Boxes,
        reviews: Reviews,
        epochs: Epochs,
        holds: Holds,
        audit: AuditLog,
        clock: Clock,
        births: Births,
    ) -> None:
        self._entrance = entrance
        self._policies = policies
        self._boxes = boxes
        self._reviews = reviews
        self._epochs = epochs
        self._holds = holds
        self._audit = audit
        self._clock = clock
        self._births = births

    # ---- opened and closed ----

    async def ask_for(self, ask: Ask, wanted: Wanted) -> Seen:
        """Ask others for a time box.

        Raises:
            BrokerError: Nobody, no rule to ask under, a reason that does not fit, not available, or not recorded.
        """
        async with self._entrance.attempt(ask, action="request_elevation", resource=wanted.role) as event:
            _said(event, wanted)
            identity = await self._entrance.known(ask, event)
            request = self._asked(identity, ask, wanted, break_glass=False)
            await self._require_few(request)
            _told(event, request)
            await self._audit.record(event.intent(rule=request.rule))
            await self._boxes.keep(request)
            event.done(Kind.ELEVATION_REQUESTED)
        return Seen(self._boxes.standing(request, ()), is_mine=True, may_decide=False)

    async def break_glass(self, ask: Ask, wanted: Wanted) -> Seen:
        """Open a time box alone. An alarm is on record before it counts, and a review follows.

        It counts at this instance whatever Redis says, and at the others where Redis takes it. Raises like ``ask_for``.
        """
        async with self._entrance.attempt(ask, action="break_glass", resource=wanted.role) as event:
            _said(event, wanted)
            identity = await self._entrance.known(ask, event)
            request = self._asked(identity, ask, wanted, break_glass=True)
            _told(event, request)
            await self._reviews.begin(request, ask)
            try:
                await self._boxes.keep(request)
            except ApprovalsUnavailable as error:
                event.details["only_here"] = error.reason
            event.done(Kind.BREAK_GLASS)
        return Seen(self._boxes.standing(request, ()), is_mine=True, may_decide=False)

    async def approve(self, ask: Ask, identifier: str) -> Seen:
        """Approve somebody else's request; the last approval that it needs opens the box. Raises like ``ask_for``.

        Raises:
            NotFound: There is none, or it is none of theirs to see.
            AccessDenied: It is their own.
        """
        async with self._entrance.attempt(ask, action="approve_elevation", resource=identifier) as event:
            identity = await self._entrance.known(ask, event)
            self._holds.require_none(identity)
            seen = await self._boxes.seen(identity, identifier)
            request = seen.standing.request
            _told(event, request)
            self._require_approvable(identity, seen)
            approval = Approval(
                user=str(identity.principal),
                person=person(identity.principal),
                at=self._clock.now(),
                epoch=self._epochs.of_credentials(identity.principal),
                birth=self._births.now(),
            )
            await self._audit.record(event.intent(rule=request.rule))
            await self._boxes.approve(request, approval)
            seen = await self._boxes.seen(identity, identifier)
            event.details |= {"state": seen.standing.state.value, "approvals": len(seen.standing.approvals)}
            event.done(Kind.ELEVATION_APPROVED)
        return seen

    async def deny(self, ask: Ask, identifier: str, *, reason: str | None) -> Seen:
        """End a request, or the box it opened: by whoever may approve it, or by whose it is. No approval revives it.

        Raises like ``approve``.

        Raises:
            RevocationsUnavailable: It goes on: nobody can write its end down.
        """
        async with self._entrance.attempt(ask, action="deny_elevation", resource=identifier) as event:
            identity = await self._entrance.known(ask, event)
            seen = await self._boxes.seen(identity, identifier)
            request = seen.standing.request
            _told(event, request)
            event.details["denied_because"] = reason
            if not (seen.may_decide or seen.is_mine):
                raise AccessDenied(reason="no_approver")
            _require(seen.standing.state, State.PENDING, State.OPEN)
            _in_person(identity)
            self._entrance.require_still(identity)
            await self._epochs.end_session(request.user, request.ending, until=_long_enough(request))
            event.done(Kind.ELEVATION_DENIED)
        return await self._boxes.seen(identity, identifier)

    # ---- shown ----

    async def show(self, ask: Ask, identifier: str) -> Seen:
        """One request, to whose it is and to who may approve it. Raises like ``approve``."""
        async with self._entrance.attempt(ask, action="show_elevation", resource=identifier) as event:
            identity = await self._entrance.known(ask, event)
            seen = await self._boxes.seen(identity, identifier)
            event.shown()
        return seen

    async def listing(self, ask: Ask) -> list[Seen]:
        """One's own requests, and those that one may approve, the latest first. Raises like ``ask_for``."""
        async with self._entrance.attempt(ask, action="list_elevations", resource="self") as event:
            identity = await self._entrance.known(ask, event)
            found = await self._boxes.all_for(identity)
            event.shown()
        return found

    # ---- inside ----

    def _asked(self, identity: Identity, ask: Ask, wanted: Wanted, *, break_glass: bool) -> Request:
        _in_person(identity)
        # It would give them nothing: they hear it now, and not when others have been woken.
        self._holds.require_none(identity)
        now, policy = self._clock.now(), self._policies.current
        role, scope = role_named(wanted.role), scope_named(wanted.scope)
        rule = askable(
            policy,
            identity=identity,
            role=role,
            scope=scope,
            address=ask.address,
            now=now,
            break_glass=break_glass,
        )
        if rule.require.reason is not None and not fits(rule.require.reason, wanted.reason):
            hint = f"this role needs {rule.require.reason_in_words()}"
            raise ApprovalRequired(reason="reason_unfit", hint=hint)
        self._epochs.require(identity.principal, role=role)
        return Request(
            id=secrets.token_hex(_ID_BYTES),
            user=str(identity.principal),
            person=person(identity.principal),
            role=role,
            scope=scope,
            rule=rule.name,
            terms=policy.terms(rule, role, scope),
            reason=wanted.reason,
            asked=now.replace(microsecond=0),
            duration=_duration(wanted.duration, rule),
            needed=rule.require.approval,
            epoch=self._epochs.of_credentials(identity.principal),
            birth=self._births.now(),
        )

    async def _require_few(self, request: Request) -> None:
        kept = await self._boxes.kept(request.user)
        if len(kept) >= _KEPT_MAX:
            raise BadRequest(reason="too_many_requests", hint="you have asked too often: try again in an hour")
        if sum(one.state is State.PENDING for one in kept) >= _PENDING_MAX:
            hint = f"{_PENDING_MAX} requests of yours wait for approval: withdraw some (POST /v1/requests/ID/deny)"
            raise BadRequest(reason="too_many_requests", hint=hint)

    def _require_approvable(self, identity: Identity, seen: Seen) -> None:
        request = seen.standing.request
        if not seen.may_decide:
            hint = "somebody else has to approve it: nobody approves what they asked for"
            raise AccessDenied(reason="self_approval", hint=hint)
        _in_person(identity)
        self._entrance.require_still(identity)
        unmet = (
            None if seen.rule is None else seen.rule.require.unmet(identity, now=self._clock.now(), left=timedelta(0))
        )
        if unmet is not None:
            raise StepUpRequired(
                reason="approver_ticket_too_weak",
                hint=f"to approve this needs {unmet}: run zerotrust login in that way",
            )
        _require(seen.standing.state, State.PENDING)
        if person(identity.principal) in {approval.person for approval in seen.standing.approvals}:
            hint = f"you have approved it already; it needs {request.needed} different people"
            raise BadRequest(reason="already_approved", hint=hint)


def _said(event: Event, wanted: Wanted) -> None:
    event.role = printable(wanted.role)
    event.details["stated_reason"] = wanted.reason
    if wanted.scope is not None:
        event.details["scope"] = printable(wanted.scope)


def _told(event: Event, request: Request) -> None:
    event.role = request.role
    event.details |= {
        "elevation": request.id,
        "about": request.user,
        "rule": request.rule,
        "stated_reason": request.reason,
        "time_box": int(request.duration.total_seconds()),
        "approvals_needed": request.needed,
        "request_expires": rfc3339(request.expires),
    }


def _in_person(identity: Identity) -> None:
    if identity.delegated_at is not None or identity.impersonated_by is not None:
        raise AccessDenied(reason="not_present")


def _require(state: State, *possible: State) -> None:
    if state not in possible:
        said = "it is open already" if state is State.OPEN else f"it is too late: the request is {state.value}"
        raise BadRequest(reason=f"request_{state.value}", hint=said)


def _long_enough(request: Request) -> int:
    """Until when the ledger has to know that a request was ended: clocks differ."""
    return int((request.latest_end + SHORTEST_BOX).timestamp())


def _duration(wanted: timedelta | None, rule: Rule) -> timedelta:
    longest = rule.require.time_box
    if wanted is None:
        return longest
    if not SHORTEST_BOX <= wanted <= longest:
        hint = f'"duration" must be from 20m to {_minutes(longest)}m'
        raise BadRequest(reason="time_box", hint=hint)
    return wanted


def _minutes(duration: timedelta) -> int:
    return int(duration.total_seconds()) // 60
