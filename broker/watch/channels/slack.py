"""Slack's incoming webhooks, and what takes the same messages.

``&``, ``<`` and ``>`` are the only signs by which text becomes a link, a mention (``<!channel>``) or a date there, so they are
escaped in whatever comes from a record. Our own words are sent as text without marks (``mrkdwn: false``): an asterisk in a
principal's name is an asterisk. Source: Slack, "Formatting text for app surfaces", "Sending messages using incoming webhooks".
"""

from __future__ import annotations

import json

from broker.core.clock import Clock
from broker.core.secret import Secret
from broker.watch.channels.http import Poster
from broker.watch.channels.port import Message, Refused, said, told_by

_OK = 200


def escape(text: str) -> str:
    """For text of somebody else in a message."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


class Slack:
    """A ``Channel``."""

    def __init__(self, *, webhook_url: Secret, clock: Clock) -> None:
        self._url = webhook_url
        self._poster = Poster(url=webhook_url, clock=clock)

    async def deliver(self, message: Message) -> str:
        """See ``Channel``. Refused are ``no_service``, ``channel_is_archived``, ``invalid_payload`` and their like."""
        text = message.text
        body = {
            "text": f"{text.subject}\n\n{text.body}",
            "mrkdwn": text.is_own,
            # Not in what comes from a record, and not in an operator's words either: a bare @channel is text.
            "link_names": False,
            "unfurl_links": False,
        }
        answer = await self._poster.post(json.dumps(body).encode())
        if answer.status != _OK:
            raise Refused(f"HTTP {answer.status} {said(answer.body, *told_by(self._url))}")
        return said(answer.body, *told_by(self._url))

    async def close(self) -> None:
        """See ``Channel``."""
        await self._poster.close()
