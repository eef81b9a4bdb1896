"""A user who asks the broker for credentials, in this process, so that a test can ask often and count milliseconds."""

from __future__ import annotations

import base64
import http.client
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.fakes.realm import Realm

# The broker promises an answer within five seconds whatever happens; past this it hangs.
PATIENCE = 8.0


@dataclass(frozen=True)
class Answer:
    """What came back, and how long it took from the first byte sent (seconds)."""

    status: int
    text: str
    seconds: float

    @property
    def body(self) -> Any:
        return json.loads(self.text)


@dataclass(frozen=True)
class Asker:
    """``client`` is what ``realm.kinit()`` returned."""

    realm: Realm
    client: Mapping[str, str]

    def ask(self, url: str, role: str = "developer") -> Answer:
        """POST /v1/credentials with a fresh token.

        Raises:
            OSError, http.client.HTTPException: The broker went away in between.
        """
        token = base64.b64encode(self.realm.client_token(self.client)).decode()
        headers = {
            "Authorization": f"Negotiate {token}",
            "X-Zerotrust-Request": "1",
            "Content-Type": "application/json",
        }
        return _answer(url, "POST", "/v1/credentials", headers, json.dumps({"role": role}))


def get(url: str, path: str) -> Answer:
    """GET without a ticket."""
    return _answer(url, "GET", path, {}, None)


def _answer(url: str, method: str, path: str, headers: Mapping[str, str], body: str | None) -> Answer:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=PATIENCE)
    started = time.monotonic()
    try:
        connection.request(method, path, body=body, headers=dict(headers))
        response = connection.getresponse()
        return Answer(response.status, response.read().decode(), time.monotonic() - started)
    finally:
        connection.close()
