"""Who may operate the broker: whom the configuration names, with a ticket that is good enough for it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from broker.core.errors import AccessDenied, StepUpRequired
from broker.core.identity import Identity
from broker.core.pattern import PrincipalPattern
from broker.core.rule import Requirements

# An operator's request is over when it is answered: nothing that it needs has to be left afterwards.
_NOTHING_LEFT = timedelta(0)


class Operators:
    """Those whom a pattern names; nobody, where there is none."""

    def __init__(self, *, patterns: Sequence[PrincipalPattern], require: Requirements) -> None:
        self._patterns = tuple(patterns)
        self._require = require

    def admit(self, identity: Identity, *, now: datetime) -> None:
        """Return for an operator who is there in person: a job pass makes none, nor a service in an operator's name (S4U).

        Raises:
            AccessDenied: It is none.
            StepUpRequired: It is one, with another ticket.
        """
        if not any(pattern.matches(identity.principal) for pattern in self._patterns):
            raise AccessDenied(reason="no_operator")
        if identity.delegated_at is not None or identity.impersonated_by is not None:
            raise AccessDenied(reason="operator_not_present")
        needed = self._require.unmet(identity, now=now, left=_NOTHING_LEFT)
        if needed is not None:
            raise StepUpRequired(
                reason="ticket_too_weak", hint=f"operators need {needed}: run zerotrust login in that way"
            )
