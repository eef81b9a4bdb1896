"""What the watch takes from somebody: credentials until an operator clears it, or until they come with a newer ticket.

Entries of the ledger, like everything that must be known to every instance within a second, outlive a restart, and not be
brought back or taken away by whoever has Redis. Where the others cannot be heard, what was heard last goes on.

The operators' door does not ask here: no false alarm locks out those who can clear it.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from broker.core.clock import rfc3339
from broker.core.errors import ApprovalRequired, StepUpRequired
from broker.core.identity import Identity
from broker.revocation.epochs import Epochs
from broker.revocation.ledger import Kind, Subject

_NO_MORE = "unusual activity was seen: ask the broker's administrator, who can clear it; nothing else helps"
_NEWER = "unusual activity was seen (a job needs a new pass, made with the new ticket): run zerotrust login"


class Response(enum.StrEnum):
    """What follows an alert: nothing, a ticket obtained after it, or an operator's word."""

    NONE = "none"
    STEP_UP = "step_up"
    HOLD = "hold"


@dataclass(frozen=True, slots=True)
class Held:
    """What is or was taken from somebody; ``by`` is what noticed it, or who cleared it."""

    user: str
    response: Response
    at: datetime
    by: str
    in_force: bool

    def members(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "user": self.user,
            "response": self.response.value,
            "at": rfc3339(self.at),
            "by": self.by,
            "in_force": self.in_force,
        }


class Holds:
    """Puts, clears and lists them; and the question that is asked wherever something is handed out."""

    def __init__(self, *, epochs: Epochs) -> None:
        self._epochs = epochs

    def require_none(self, identity: Identity) -> None:
        """Make sure that nothing is held from somebody who shows what they show.

        Raises:
            ApprovalRequired: Until an operator clears it.
            StepUpRequired: Their ticket is from before the alert.
        """
        suspicions = self._epochs.suspicions(identity.principal)
        if not suspicions:
            return
        if Response.HOLD in suspicions:
            raise ApprovalRequired(reason="access_held", hint=_NO_MORE)
        # A ticket names whole seconds: one of the very second in which the alert came is a new one.
        alerted = suspicions.get(Response.STEP_UP, 0) // 1000
        if int(identity.authenticated_at.timestamp()) < alerted:
            raise StepUpRequired(reason="ticket_before_alert", hint=_NEWER)

    async def put(self, user: str, response: Response, *, by: str) -> None:
        """Hold, or demand a newer ticket; at once here, within a second everywhere.

        Raises:
            RevocationsUnavailable: It is not on the disk. It counts here all the same, as long as we run.
        """
        await self._epochs.enter([Subject(Kind.SUSPICION, user, response.value)], by=by)

    async def clear(self, user: str, *, by: str) -> list[Response]:
        """Lift all that is held from somebody; what that was. Raises like ``put``, and then nothing is lifted."""
        held = [each for each in self.listing() if each.user == user and each.in_force]
        subjects = [Subject(Kind.SUSPICION, user, each.response.value) for each in held]
        if subjects:
            await self._epochs.enter(subjects, by=by, held=False)
        return [each.response for each in held]

    def listing(self) -> Sequence[Held]:
        """All that is known, the latest first."""
        found = [
            Held(
                user=entry.subject.user,
                response=Response(entry.subject.which),
                at=datetime.fromtimestamp(entry.stamp / 1000, UTC),
                by=entry.by,
                in_force=entry.held,
            )
            for entry in self._epochs.entries
            if entry.subject.kind is Kind.SUSPICION
        ]
        return sorted(found, key=lambda held: held.at, reverse=True)
