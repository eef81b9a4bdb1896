"""What stands between somebody and a role, told to themselves.

The answer rests on ``decide()`` alone, and says no more than asking for the role would: of a role that does not exist the same,
in the same time, as of one that is for others.
"""

from __future__ import annotations

from dataclasses import dataclass

from broker.authz.policies import Policies
from broker.authz.policy import decide
from broker.core.clock import Clock
from broker.core.errors import AccessDenied, ApprovalRequired, AuthFailed, StepUpRequired
from broker.core.grant import Grant
from broker.core.roles import RoleName
from broker.issuing.ask import Ask, Entrance, printable
from broker.issuing.boxes import Boxes
from broker.revocation.holds import Holds

DENIED = "you may not have this role: see `zerotrust roles` for what you may have"


@dataclass(frozen=True, slots=True)
class Prospect:
    """``verdict``: allowed, step_up, approval or denied; ``hint``: what to do; ``grant``: where it is allowed."""

    verdict: str
    hint: str
    grant: Grant | None = None


class Explainer:
    """Answers whoever asks about themselves."""

    def __init__(self, *, entrance: Entrance, policies: Policies, boxes: Boxes, holds: Holds, clock: Clock) -> None:
        self._entrance = entrance
        self._policies = policies
        self._boxes = boxes
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
            try:
                grant = decide(
                    self._policies.current,
                    identity=identity,
                    role=RoleName(role),
                    address=ask.address,
                    now=self._clock.now(),
                    evidence=shown,
                )
                self._holds.require_none(identity)
                found = Prospect("allowed", "ask for it", grant)
            except (StepUpRequired, AuthFailed) as error:
                found = Prospect("step_up", error.hint or "run kinit anew")
            except ApprovalRequired as error:
                found = Prospect("approval", error.hint or "ask for approval")
            except AccessDenied as error:
                event.details["why"] = error.reason
                found = Prospect("denied", DENIED)
            event.details["verdict"] = found.verdict
            event.shown()
        return found
