"""JSON to any URL, signed in the way of the Standard Webhooks specification 1.0, for which most languages have a verifier.

``webhook-id`` is the same at each repetition, so the receiver can tell one; ``webhook-signature`` is ``v1,`` and base64 of
HMAC-SHA256 over ``ID.TIMESTAMP.BODY``.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from pathlib import Path

from broker.core.clock import Clock
from broker.core.secret import Secret
from broker.watch.channels.http import Poster
from broker.watch.channels.port import Message, Refused, said, told_by

_SUCCESS = range(200, 300)
_PREFIX = "whsec_"


class Webhook:
    """A ``Channel``."""

    def __init__(self, *, url: Secret, secret: Secret | None, clock: Clock, ca_file: Path | None) -> None:
        """Take the URL and, to sign with, ``whsec_`` and base64."""
        self._url = url
        self._secret = secret
        self._clock = clock
        self._poster = Poster(url=url, clock=clock, ca_file=ca_file)

    async def deliver(self, message: Message) -> str:
        """See ``Channel``."""
        members = message.notice.members() | {"subject": message.text.subject, "text": message.text.body}
        body = json.dumps(members, ensure_ascii=False).encode()
        answer = await self._poster.post(body, headers=self._headers(message.notice.id, body))
        if answer.status not in _SUCCESS:
            raise Refused(f"HTTP {answer.status} {said(answer.body, *told_by(self._url))}")
        return f"HTTP {answer.status}"

    async def close(self) -> None:
        """See ``Channel``."""
        await self._poster.close()

    def _headers(self, identifier: str, body: bytes) -> dict[str, str]:
        seconds = str(int(self._clock.now().timestamp()))
        headers = {"webhook-id": identifier, "webhook-timestamp": seconds}
        if self._secret is not None:
            key = base64.b64decode(self._secret.reveal().removeprefix(_PREFIX))
            signed = hmac.digest(key, b"%b.%b.%b" % (identifier.encode(), seconds.encode(), body), hashlib.sha256)
            headers["webhook-signature"] = "v1," + base64.b64encode(signed).decode()
        return headers
