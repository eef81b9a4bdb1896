"""PagerDuty's Events API v2: one alert for one matter.

The ``dedup_key`` is the matter's, the same at every instance: what is told again, by whomever, adds to the open alert and
wakes nobody a second time. Source: PagerDuty, "Send an alert event" (``summary`` at most 1024 characters, ``dedup_key`` 255).
"""

from __future__ import annotations

import json

from broker.audit.alert import Severity
from broker.core.clock import Clock
from broker.core.secret import Secret
from broker.watch.channels.http import Poster
from broker.watch.channels.port import Message, Refused, said
from broker.watch.notice import Notice

_ACCEPTED = 202
_SUMMARY_MAX = 1024
_SEVERITIES = {Severity.HIGH: "critical", Severity.MEDIUM: "error", Severity.LOW: "warning"}


class PagerDuty:
    """A ``Channel``."""

    def __init__(self, *, integration_key: Secret, url: Secret, source: str, clock: Clock) -> None:
        """Take the key; ``source`` names the broker for people: its host name."""
        self._key = integration_key
        self._source = source
        self._poster = Poster(url=url, clock=clock)

    async def deliver(self, message: Message) -> str:
        """See ``Channel``."""
        body = {"routing_key": self._key.reveal(), "event_action": "trigger", **self._event(message)}
        answer = await self._poster.post(json.dumps(body).encode())
        if answer.status != _ACCEPTED:
            raise Refused(f"HTTP {answer.status} {said(answer.body, self._key)}")
        return "accepted"

    async def close(self) -> None:
        """See ``Channel``."""
        await self._poster.close()

    def _event(self, message: Message) -> dict[str, object]:
        notice = message.notice
        return {
            "dedup_key": f"zerotrust-{notice.id if notice.name == 'test' else notice.matter}"[:255],
            "client": "zerotrust-broker",
            "payload": {
                "summary": message.text.subject[:_SUMMARY_MAX],
                "source": self._source,
                "severity": "info" if notice.name == "test" else _SEVERITIES[notice.severity],
                "timestamp": notice.detected.isoformat(),
                "component": "zerotrust-broker",
                "class": notice.name,
                "custom_details": _details(notice) | ({"text": message.text.body} if message.text.is_own else {}),
            },
        }


def _details(notice: Notice) -> dict[str, object]:
    members = notice.members()
    return {name: value for name, value in members.items() if value not in (None, [], ()) and name != "happened"}
