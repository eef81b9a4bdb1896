"""Which time boxes are open, and where requests for them stand: read from rows that nobody need be trusted with."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from broker.audit.event import Event
from broker.authz.elevation import REQUEST, Approval, Request, Rows, Standing, State
from broker.authz.elevation import standing as standing_of
from broker.authz.elevation_store import EVERYBODY, Store
from broker.authz.policies import Policies
from broker.core.birth import Births
from broker.core.clock import rfc3339
from broker.core.elevation import Box, Evidence, person
from broker.core.errors import ApprovalRequired, ApprovalsUnavailable, DirectoryUnavailable, NotFound
from broker.core.grant import Grant
from broker.core.identity import Identity
from broker.core.roles import RoleName
from broker.core.rule import Address, Rule
from broker.issuing.review import Reviews
from broker.revocation.epochs import Epochs

# Requests that are opened or judged between two looks at others who wait: a millisecond or two.
_AT_ONCE = 100

_Found = tuple[Request, list[Approval]]


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as somebody may see it: whether it is theirs, and whether they may approve it; ``rule``, while it is in force."""

    standing: Standing
    is_mine: bool
    may_decide: bool
    rule: Rule | None = None


class Boxes:
    """What is asked of them at each use, and what the desk keeps in them."""

    def __init__(
        self, *, policies: Policies, store: Store, rows: Rows, reviews: Reviews, epochs: Epochs, births: Births
    ) -> None:
        self._policies = policies
        self._store = store
        self._rows = rows
        self._reviews = reviews
        self._epochs = epochs
        self._births = births

    # ---- asked at each use ----

    async def evidence(
        self, identity: Identity, *, role: RoleName, address: Address | None, reason: str | None
    ) -> Evidence:
        """What can be shown for a role beside a ticket. Redis is asked only where a rule that concerns them needs a box."""
        policy = self._policies.current
        is_boxed = policy.uses_boxes and any(
            rule.require.needs_box for rule in policy.rules_for(identity, address, role)
        )
        return await self._evidence(identity, reason) if is_boxed else Evidence(reason=reason)

    async def all_evidence(self, identity: Identity, *, address: Address | None) -> Evidence:
        """The same, for whatever role somebody may have."""
        policy = self._policies.current
        is_boxed = policy.uses_boxes and any(
            rule.require.needs_box for rule in policy.rules_naming(identity) if rule.allows_from(address)
        )
        return await self._evidence(identity, None) if is_boxed else Evidence()

    async def _evidence(self, identity: Identity, reason: str | None) -> Evidence:
        user, unknown = str(identity.principal), None
        found: list[_Found] = [(request, []) for request in self._reviews.broken_by(user)]
        try:
            found += await self._of(self._rows.owner(user))
        except ApprovalsUnavailable as error:
            unknown = error.reason
        boxes = (self.standing(request, approvals).box for request, approvals in found)
        return Evidence(reason=reason, boxes=tuple(filter(None, boxes)), unknown=unknown)

    def require_open(self, grant: Grant) -> None:
        """To be asked before something leaves that rests on a box: whoever closed it meanwhile meant it.

        Raises:
            ApprovalRequired: It was closed.
        """
        box = grant.box
        if box is not None and self._epochs.is_ended(box.user, Request.ending_of(box.id)):
            raise ApprovalRequired(reason="box_closed", hint="the time box was closed: ask for approval anew")

    # ---- kept ----

    async def keep(self, request: Request) -> None:
        """From here on others can see it.

        Raises:
            ApprovalsUnavailable: They cannot.
        """
        await self._add(request, REQUEST, self._rows.seal_request(request))

    async def approve(self, request: Request, approval: Approval) -> None:
        """From here on it counts. Raises like ``keep``."""
        row = self._rows.seal_approval(request, approval)
        await self._add(request, self._rows.approval_name(approval.person), row)

    async def _add(self, request: Request, name: bytes, row: bytes) -> None:
        owner = self._rows.owner(request.user)
        await self._store.add(request.id, {name: row}, owner=owner, until=request.latest_end)

    # ---- seen ----

    async def _of(self, owner: str) -> list[tuple[Request, list[Approval]]]:
        found = []
        for number, (identifier, rows) in enumerate((await self._store.of(owner)).items()):
            if number % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(0)
            opened = self._rows.opened(identifier, rows)
            found += [] if opened is None else [opened]
        return found

    async def seen(self, identity: Identity, identifier: str) -> Seen:
        """A request that somebody may see.

        Raises:
            NotFound: There is none, or others'.
            DirectoryUnavailable: Nobody can say whether they may approve it.
        """
        here = self._reviews.broken(identifier)
        found = (here, []) if here else self._rows.opened(identifier, await self._store.get(identifier))
        if found is not None:
            seen = self._judged(identity, self.standing(*found))
            if seen.is_mine or seen.may_decide:
                return seen
            rule = self._rule_of(found[0])
            if rule is not None and rule.approvers.groups and identity.groups_unknown is not None:
                raise DirectoryUnavailable(reason=identity.groups_unknown)
        raise NotFound(reason="request_unknown", hint="there is no such request of yours, nor for you to approve")

    def _judged(self, identity: Identity, found: Standing) -> Seen:
        request = found.request
        rule = self._rule_of(request)
        is_approver = rule is not None and rule.approvers.names(identity)
        is_own = person(identity.principal) == request.person
        is_mine = str(identity.principal) == request.user
        return Seen(found, is_mine=is_mine, may_decide=is_approver and not is_own, rule=rule)

    async def all_for(self, identity: Identity) -> list[Seen]:
        """Somebody's own requests and those that they may approve, the latest first. Raises like ``keep``."""
        broken: list[_Found] = [(request, []) for request in self._reviews.broken_by(str(identity.principal))]
        found = {request.id: (request, approvals) for request, approvals in [*broken, *await self._of(EVERYBODY)]}
        mine = []
        for number, one in enumerate(found.values()):
            if number % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(0)
            seen = self._judged(identity, self.standing(*one))
            mine += [seen] if seen.is_mine or seen.may_decide else []
        return sorted(mine, key=lambda seen: seen.standing.request.asked, reverse=True)

    async def kept(self, user: str) -> list[Standing]:
        """Somebody's own requests. Raises like ``keep``."""
        return [self.standing(*one) for one in await self._of(self._rows.owner(user))]

    def standing(self, request: Request, approvals: Iterable[Approval]) -> Standing:
        """Where a request stands, by what is known and in force now."""
        approvals = list(filter(self._is_trusted, approvals))
        made = [(request.asked, request.birth), *((approval.at, approval.birth) for approval in approvals)]
        found = standing_of(
            request,
            approvals,
            # Whoever sets the wall clock back keeps no box open for longer.
            now=max(self._births.time_after(moment, birth) for moment, birth in made),
            epoch=self._epochs.of_credentials,
            is_ended=self._epochs.is_ended,
        )
        is_over = found.state in (State.DENIED, State.ENDED, State.EXPIRED)
        return found if is_over or self._rule_of(request) else found.voided()

    def _is_trusted(self, approval: Approval) -> bool:
        """Whether nothing is held from its approver by an alert that came after it: whoever stole an account approves first."""
        given = approval.at.timestamp() * 1000
        return all(stamp <= given for stamp in self._epochs.suspicions(approval.user).values())

    def _rule_of(self, request: Request) -> Rule | None:
        """The rule that it was asked under, if that is still what it was; and the role, and its scope."""
        policy = self._policies.current
        rule = policy.boxed_rule(request.rule)
        if rule is None or request.role not in policy.roles:
            return None
        return rule if policy.terms(rule, request.role, request.scope) == request.terms else None


def described(seen: Seen) -> dict[str, object]:
    """A request for JSON; times as in ``Expiration``."""
    found, request = seen.standing, seen.standing.request
    return {
        "id": request.id,
        "state": found.state.value,
        "user": request.user,
        "role": request.role,
        "scope": request.scope,
        "reason": request.reason,
        "asked": rfc3339(request.asked),
        "expires": rfc3339(request.expires),
        "duration": int(request.duration.total_seconds()),
        "ends": _time(found.ends),
        "needed": request.needed,
        "approvals": [approval.user for approval in found.approvals],
        "break_glass": request.is_broken_glass,
        "mine": seen.is_mine,
        "may_decide": seen.may_decide,
    }


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else rfc3339(moment)


def name_box(event: Event, box: Box | None) -> None:
    """Say in a record by which box something is handed out, and why that was opened."""
    if box is not None:
        event.details |= {"elevation": box.id, "stated_reason": box.reason, "break_glass": box.is_broken_glass}
