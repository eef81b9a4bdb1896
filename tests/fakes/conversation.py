"""One connection to the broker, kept open, with or without TLS, and what it answers to one token after the other."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from types import TracebackType

# The broker promises an answer within five seconds whatever happens; past this it hangs.
PATIENCE = 8.0
_OURS = {"X-Zerotrust-Request": "1"}


@dataclass(frozen=True)
class Answer:
    """What came back, and how long it took (seconds)."""

    status: int
    headers: dict[str, str]
    body: Any
    seconds: float


class Conversation:
    """``with Conversation(url) as talk: talk.ask(token)``.

    Attributes:
        certificate: What the server showed, DER; empty without TLS.
    """

    def __init__(self, url: str) -> None:
        """Connect. No certificate is verified: which one it is, is what the tests ask."""
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        self.certificate = b""
        if parts.scheme != "https":
            self._connection = http.client.HTTPConnection(host, port, timeout=PATIENCE)
            self._connection.connect()
            return
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self._connection = http.client.HTTPSConnection(host, port, timeout=PATIENCE, context=context)
        self._connection.connect()
        secured = self._connection.sock
        assert isinstance(secured, ssl.SSLSocket)
        self.certificate = secured.getpeercert(binary_form=True) or b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def ask(self, token: bytes | None, path: str = "/v1/whoami") -> Answer:
        """GET with a token, or without."""
        return self._exchange("GET", path, _OURS | _authorization(token), None)

    def obtain(self, token: bytes | None, role: str) -> Answer:
        """POST for credentials."""
        headers = _OURS | {"Content-Type": "application/json"}
        return self._exchange("POST", "/v1/credentials", headers | _authorization(token), json.dumps({"role": role}))

    def _exchange(self, method: str, path: str, headers: dict[str, str], body: str | None) -> Answer:
        started = time.monotonic()
        self._connection.request(method, path, body=body, headers=headers)
        response = self._connection.getresponse()
        content = response.read().decode()
        is_json = "json" in response.headers.get("Content-Type", "")
        return Answer(
            status=response.status,
            headers={name.lower(): value for name, value in response.headers.items()},
            body=json.loads(content) if is_json else content,
            seconds=time.monotonic() - started,
        )


def ask(url: str, token: bytes | None, path: str = "/v1/whoami") -> Answer:
    """The same on a connection of its own."""
    with Conversation(url) as talk:
        return talk.ask(token, path)


def obtain(url: str, token: bytes | None, role: str) -> Answer:
    """The same for credentials."""
    with Conversation(url) as talk:
        return talk.obtain(token, role)


def _authorization(token: bytes | None) -> dict[str, str]:
    return {} if token is None else {"Authorization": f"Negotiate {base64.b64encode(token).decode()}"}
