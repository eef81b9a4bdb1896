"""What the watch holds from people, listed and cleared by operators, each with its record.

By their door alone, which asks for no hold: also somebody whose own access is held can clear it, if they operate the broker.
"""

from __future__ import annotations

from collections.abc import Sequence

from broker.audit.event import Kind
from broker.core.errors import BadRequest
from broker.core.principal import MalformedPrincipal, canonical
from broker.issuing.ask import Ask, printable
from broker.issuing.revoke import Operators
from broker.revocation.holds import Held, Holds


class Alerts:
    """What can be done about what the watch did."""

    def __init__(self, *, operators: Operators, holds: Holds) -> None:
        self._operators = operators
        self._holds = holds

    async def listing(self, ask: Ask) -> Sequence[Held]:
        """All holds and demands for newer tickets, in force or cleared, the latest first.

        Raises:
            BrokerError: Nobody, no operator, not signed, or not recorded.
        """
        async with self._operators.attempt(ask, action="list_alerts", resource="*") as event:
            event.shown()
            return self._holds.listing()

    async def clear(self, ask: Ask, *, user: str) -> Sequence[str]:
        """Lift all that the watch holds from somebody; what that was. Raises like ``listing``.

        Raises:
            BadRequest: Nothing is held from them, or nobody is called so.
            RevocationsUnavailable: It is not on the disk, and nothing is lifted.
        """
        async with self._operators.attempt(ask, action="clear_alert", resource=printable(user)) as event:
            try:
                user = canonical(user)
            except MalformedPrincipal as error:
                raise BadRequest(str(error), reason="alert_of_whom", hint="write the user as NAME@REALM") from error
            event.details["about"] = user
            await self._operators.intend(ask, event)
            lifted = [each.value for each in await self._holds.clear(user, by=str(event.principal))]
            if not lifted:
                hint = f"nothing is held from {user}: see `zerotrust-admin alerts list`"
                raise BadRequest(reason="nothing_to_clear", hint=hint)
            event.details["lifted"] = lifted
            event.done(Kind.RESTORED)
            return lifted
