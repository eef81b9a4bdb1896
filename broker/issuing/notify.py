"""An operator tries the channels by which people are told of what the records show; with a record, like all that operators do."""

from __future__ import annotations

from collections.abc import Sequence

from broker.audit.event import Kind
from broker.core.errors import BadRequest
from broker.issuing.ask import Ask
from broker.issuing.operators import OperatorsDoor
from broker.watch.breach import Notifier, Tried


class NotificationTest:
    """Sends a test, and says what became of it."""

    def __init__(self, *, operators: OperatorsDoor, notifier: Notifier | None) -> None:
        """Take the door, and who tells people; None where nobody is told."""
        self._operators = operators
        self._notifier = notifier

    async def run(self, ask: Ask, *, channel: str | None) -> Sequence[Tried]:
        """Through each channel, or the one of this name.

        Raises:
            BadRequest: Nobody is told of anything here, or no channel is called so.
            BrokerError: What ``OperatorsDoor.attempt`` raises.
        """
        async with self._operators.attempt(
            ask, action="test_notification", resource=channel or "every channel"
        ) as event:
            if self._notifier is None:
                raise BadRequest(
                    reason="notification_off", hint="security.breach_notification is not enabled in the configuration"
                )
            if channel is not None and channel not in self._notifier.channels:
                hint = f"no channel is called so; these are: {', '.join(self._notifier.channels)}"
                raise BadRequest(reason="notification_channel", hint=hint)
            found = await self._notifier.test(by=str(event.principal), id_=ask.request_id, channel=channel)
            event.details["tried"] = {one.channel: one.said for one in found}
            event.details["delivered"] = [one.channel for one in found if one.delivered]
            event.done(Kind.TESTED)
            return found
