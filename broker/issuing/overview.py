"""Everything that the page shows somebody of themselves, found in one attempt: a ticket counts once.

    known -> what may they have, and what stands between them and it -> requests of theirs, and those they may approve

Nothing is issued. What is said of a role is the explainer's; of one that they name themselves it is no more than asking for it
would say.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from broker.audit.event import Event
from broker.authz.policies import Policies
from broker.authz.policy import askable
from broker.core.clock import Clock
from broker.core.elevation import Box
from broker.core.errors import ApprovalRequired, ApprovalsUnavailable, BrokerError, StepUpRequired
from broker.core.identity import Identity, SealedSession
from broker.core.roles import Role, RoleName
from broker.issuing.ask import Ask, Entrance, printable
from broker.issuing.boxes import Boxes, Seen
from broker.issuing.elevate import SHORTEST_BOX
from broker.issuing.explain import AT_ONCE, Explainer, Prospect
from broker.issuing.standing import Belongings, Desk
from broker.revocation.holds import Holds


@dataclass(frozen=True, slots=True)
class Way:
    """A way to have a role that a ticket alone does not give: whom to ask, for how long at the most, what a reason begins like.

    ``approvals`` is how many others have to agree, ``approvers`` who they may be, in words; both empty where the glass is broken.
    """

    longest: timedelta
    reason: str | None
    approvals: int = 0
    approvers: str = ""

    @property
    def durations(self) -> list[timedelta]:
        """What may be asked for, the longest last."""
        steps = (SHORTEST_BOX, *(timedelta(hours=hours) for hours in (1, 2, 4, 8)))
        return [*(step for step in steps if step < self.longest), self.longest]


@dataclass(frozen=True, slots=True)
class Offer:
    """A role that somebody may have, and what has to happen first: ``verdict`` and ``hint`` as in ``Prospect``.

    ``reason`` is what a reason has to begin like (empty: like anything), where nothing else is missing; ``box`` the time box by
    which the role is open now.
    """

    role: Role
    verdict: str
    hint: str
    reason: str | None
    box: Box | None
    approval: Way | None
    glass: Way | None


@dataclass(frozen=True, slots=True)
class Overview:
    """One look at it, at ``now``.

    ``requests`` is None where nobody can say; ``asked_for`` are the roles that they are for; ``about`` is told of the role that
    was asked about by name; ``held`` is why nothing at all is handed out to them just now.
    """

    identity: Identity
    now: datetime
    offers: list[Offer]
    requests: list[Seen] | None
    asked_for: dict[RoleName, Role]
    about: Prospect | None
    held: str | None
    cookie: SealedSession | None
    belongings: Belongings


class Overviews:
    """Answers the page."""

    def __init__(
        self,
        *,
        entrance: Entrance,
        desk: Desk,
        explainer: Explainer,
        policies: Policies,
        boxes: Boxes,
        holds: Holds,
        clock: Clock,
    ) -> None:
        self._entrance = entrance
        self._desk = desk
        self._explainer = explainer
        self._policies = policies
        self._boxes = boxes
        self._holds = holds
        self._clock = clock

    async def of(self, ask: Ask, *, about: str | None = None) -> Overview:
        """For the sender of a ticket, who is given a cookie with it, or the holder of a session.

        Raises:
            BrokerError: Nobody, not available, or not recorded.
        """
        async with self._entrance.attempt(ask, action="open_page", resource="self") as event:
            identity = await self._entrance.known(ask, event)
            cookie = await self._desk.remembered(identity, ask)
            requests = await self._requests(identity)
            found = Overview(
                identity=identity,
                now=self._clock.now(),
                offers=await self._offers(ask, identity),
                requests=requests,
                asked_for=self._roles(seen.standing.request.role for seen in requests or ()),
                about=None if about is None else await self._about(ask, identity, about, event),
                held=self._held(identity),
                cookie=cookie,
                belongings=await self._desk.belongings(identity, ask, made=cookie),
            )
            event.shown()
        return found

    def role(self, name: str) -> Role | None:
        """What a role stands for, to be said to whoever was just given it."""
        return self._policies.current.roles.get(RoleName(name))

    def _roles(self, names: Iterable[RoleName]) -> dict[RoleName, Role]:
        roles = self._policies.current.roles
        return {name: roles[name] for name in names if name in roles}

    async def _requests(self, identity: Identity) -> list[Seen] | None:
        try:
            return await self._boxes.all_for(identity)
        except ApprovalsUnavailable:
            # Roles that need no approval are there all the same.
            return None

    def _held(self, identity: Identity) -> str | None:
        try:
            self._holds.require_none(identity)
        except (ApprovalRequired, StepUpRequired) as error:
            return error.hint
        return None

    async def _offers(self, ask: Ask, identity: Identity) -> list[Offer]:
        roles = self._policies.current.roles_for(identity, ask.address)
        prospects = await self._explainer.of_all(identity, ask.address, roles)
        offers = []
        for number, (role, prospect) in enumerate(zip(roles, prospects, strict=True), start=1):
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)
            offers.append(self._offer(ask, identity, role, prospect))
        return offers

    def _offer(self, ask: Ask, identity: Identity, role: Role, prospect: Prospect) -> Offer:
        is_closed = prospect.verdict == "approval"
        return Offer(
            role=role,
            verdict=prospect.verdict,
            hint=prospect.hint,
            reason=self._reason(ask, identity, role.name) if is_closed else None,
            box=None if prospect.grant is None else prospect.grant.box,
            approval=self._way(ask, identity, role.name, break_glass=False) if is_closed else None,
            glass=self._way(ask, identity, role.name, break_glass=True) if is_closed else None,
        )

    def _reason(self, ask: Ask, identity: Identity, role: RoleName) -> str | None:
        for rule in self._policies.current.rules_for(identity, ask.address, role):
            require = rule.require
            if not require.needs_box and require.unmet(identity, now=self._clock.now()) is None:
                return require.reason
        return None

    def _way(self, ask: Ask, identity: Identity, role: RoleName, *, break_glass: bool) -> Way | None:
        try:
            rule = askable(
                self._policies.current,
                identity=identity,
                role=role,
                scope=None,
                address=ask.address,
                now=self._clock.now(),
                break_glass=break_glass,
            )
        except BrokerError:
            # Not to be asked for, for whatever reason: the verdict says what to do.
            return None
        require = rule.require
        if break_glass:
            return Way(longest=require.time_box, reason=require.reason)
        return Way(
            longest=require.time_box,
            reason=require.reason,
            approvals=require.approval,
            approvers=str(rule.approvers),
        )

    async def _about(self, ask: Ask, identity: Identity, name: str, event: Event) -> Prospect:
        # Looked at, not asked for: who was cut off from this one role sees the page all the same, and reads so there.
        event.details["asked_about"] = printable(name)
        found = await self._explainer.of_one(identity, ask.address, name)
        event.details["verdict"] = found.verdict
        if found.why is not None:
            event.details["why"] = found.why
        return found
