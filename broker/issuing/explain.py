"""What stands between somebody and a role, or each of their roles, told to themselves.

The answer rests on ``decide()`` alone, and says no more than asking for the role would: of a role that does not exist the same,
in the same time, as of one that is for others. Of all roles together, those are told of that a rule gives them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from broker.authz.policies import Policies
from broker.authz.policy import decide
from broker.core.clock import Clock
from broker.core.elevation import Evidence
from broker.core.errors import (
    AccessDenied,
    ApprovalRequired,
    ApprovalsUnavailable,
    AuthFailed,
    DirectoryUnavailable,
    Revoked,
    StepUpRequired,
)
from broker.core.grant import Grant
from broker.core.identity import Identity
from broker.core.roles import Role, RoleName
from broker.core.rule import Address
from broker.core.step_up import StepUp
from broker.issuing.ask import Ask, Entrance, printable
from broker.issuing.boxes import Boxes
from broker.revocation.epochs import Epochs
from broker.revocation.holds import Holds

DENIED = "you may not have this role: see `zerotrust roles` for what you may have"
_REVOKED = "your access is revoked: ask the broker's administrator, who can restore it"
_UNKNOWN = "nobody can say now: try again in a moment"
# Decisions between two looks at other requests: a hundred take a few milliseconds.
AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Prospect:
    """``verdict``: allowed, step_up, approval, denied, or, among many, unknown; ``hint``: what to do; ``grant``: where allowed.

    ``needs`` are what is asked for beside a ticket, in words for programs; ``step_up`` what a new ticket must be like.
    """

    role: RoleName
    verdict: str
    hint: str
    needs: tuple[str, ...] = ()
    grant: Grant | None = None
    step_up: StepUp | None = None
    why: str | None = None


class Explainer:
    """Answers whoever asks about themselves."""

    def __init__(
        self, *, entrance: Entrance, policies: Policies, boxes: Boxes, epochs: Epochs, holds: Holds, clock: Clock
    ) -> None:
        self._entrance = entrance
        self._policies = policies
        self._boxes = boxes
        self._epochs = epochs
        self._holds = holds
        self._clock = clock

    async def prospect(self, ask: Ask, *, role: str) -> Prospect:
        """For the sender of a ticket or the holder of a session. Nothing is issued.

        Raises:
            BrokerError: Nobody, not available, or not recorded.
        """
        async with self._entrance.attempt(ask, action="explain", resource=role) as event:
            event.role = printable(role)
            identity = await self._entrance.known(ask, event)
            shown = await self._boxes.evidence(identity, role=RoleName(role), address=ask.address, reason=None)
            found = self._weighed(identity, ask.address, RoleName(role), shown)
            if found.why is not None:
                event.details["why"] = found.why
            event.details["verdict"] = found.verdict
            event.shown()
        return found

    async def prospects(self, ask: Ask) -> list[Prospect]:
        """The same of each role that a rule gives them from where they are, with a better ticket perhaps. Raises alike."""
        async with self._entrance.attempt(ask, action="explain", resource="*") as event:
            identity = await self._entrance.known(ask, event)
            roles = self._policies.current.roles_for(identity, ask.address)
            found = await self.of_all(identity, ask.address, roles)
            event.details["roles"] = len(found)
            event.shown()
        return found

    async def of_all(self, identity: Identity, address: Address | None, roles: Iterable[Role]) -> list[Prospect]:
        """Where somebody who is known stands with each of these roles. Raises nothing."""
        evidence = await self._boxes.all_evidence(identity, address=address)
        found = []
        for number, role in enumerate(roles):
            if number % AT_ONCE == AT_ONCE - 1:
                await asyncio.sleep(0)
            found.append(self._one_of_many(identity, address, role.name, evidence))
        return found

    async def of_one(self, identity: Identity, address: Address | None, name: str) -> Prospect:
        """The same of a role that somebody names: one that is not there is one that is for others. Raises nothing."""
        evidence = await self._boxes.all_evidence(identity, address=address)
        return self._one_of_many(identity, address, RoleName(name), evidence)

    def _one_of_many(self, identity: Identity, address: Address | None, role: RoleName, evidence: Evidence) -> Prospect:
        try:
            self._epochs.require(identity.principal, role=role)
            return self._weighed(identity, address, role, evidence)
        except Revoked as error:
            return Prospect(role, "denied", _REVOKED, why=error.reason)
        except (ApprovalsUnavailable, DirectoryUnavailable) as error:
            return Prospect(role, "unknown", _UNKNOWN, why=error.reason)

    def _weighed(self, identity: Identity, address: Address | None, role: RoleName, evidence: Evidence) -> Prospect:
        policy, now = self._policies.current, self._clock.now()
        needs = policy.needs(identity, address, role)
        try:
            grant = decide(policy, identity=identity, role=role, address=address, now=now, evidence=evidence)
            self._holds.require_none(identity)
        except StepUpRequired as error:
            return Prospect(role, "step_up", error.hint or "", needs, step_up=error.step_up or StepUp())
        except AuthFailed as error:
            return Prospect(role, "step_up", error.hint or "run zerotrust login", needs, step_up=StepUp())
        except ApprovalRequired as error:
            return Prospect(role, "approval", error.hint or "ask for approval", needs)
        except AccessDenied as error:
            return Prospect(role, "denied", DENIED, why=error.reason)
        return Prospect(role, "allowed", "ask for it", needs, grant)
