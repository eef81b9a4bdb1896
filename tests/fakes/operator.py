"""An operator at the broker's door: any request, over TCP, TLS or a local socket, signed or not; and `zerotrust-admin`."""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import socket
import ssl
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from broker import wire, wire_operators
from tests.fakes.broker import NO_HOME, PROGRAMS, BrokerProcess

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fakes.realm import Realm
    from tests.fakes.request_signer import RequestSigner

PATIENCE = 8.0
MARK = (wire.REQUEST_HEADER, wire.REQUEST_HEADER_VALUE)
Headers = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def code(self) -> str:
        return str(self.json["code"])

    @property
    def less_its_id(self) -> dict[str, Any]:
        return {name: value for name, value in self.json.items() if name != "request_id"}


class _Local(http.client.HTTPConnection):
    """HTTP over a local socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=PATIENCE)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(str(self._path))


def connection_to(end: str | Path) -> http.client.HTTPConnection:
    """To a URL, or to a local socket. Of certificates nothing is asked."""
    if not isinstance(end, str):
        return _Local(end)
    parts = urlsplit(end)
    if parts.scheme == "https":
        context = ssl._create_unverified_context()  # noqa: S323  the product's own client verifies
        return http.client.HTTPSConnection("127.0.0.1", parts.port, timeout=PATIENCE, context=context)
    return http.client.HTTPConnection("127.0.0.1", parts.port, timeout=PATIENCE)


def send(end: str | Path, method: str, path: str, headers: Headers, body: bytes = b"") -> Answer:
    """Exactly this; nothing is added."""
    connection = connection_to(end)
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    for name, value in headers:
        connection.putheader(name, value)
    connection.endheaders(body or None)
    try:
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()


class Operator:
    """Somebody with a ticket cache, an operator or not."""

    def __init__(self, realm: Realm, user: str, ccache: Path) -> None:
        self.realm = realm
        self.env = realm.kinit(user, ccache)

    def ticket(self) -> tuple[str, str]:
        """A fresh ``Authorization``."""
        token = base64.b64encode(self.realm.client_token(self.env)).decode()
        return ("Authorization", f"Negotiate {token}")

    def ask(
        self,
        end: str | Path,
        method: str = "GET",
        path: str = wire_operators.WHOAMI_PATH,
        body: bytes = b"",
        *,
        signer: RequestSigner | None = None,
        bend: Callable[[Headers], Headers] = list,
        **signing: Any,
    ) -> Answer:
        """A proper request, but for what ``bend`` makes of its headers once they are signed."""
        host = "localhost" if not isinstance(end, str) else urlsplit(end).netloc.replace("127.0.0.1", "localhost")
        headers = [("Host", host), self.ticket(), MARK]
        if body:
            headers += [("Content-Type", wire.JSON), ("Content-Length", str(len(body)))]
        scheme = "https" if isinstance(end, str) and end.startswith("https:") else "http"
        if signer is not None:
            headers = signer.signed(method, f"{scheme}://{host}{path}", headers, body, **signing)
        return send(end, method, path, bend(headers), body)

    def admin(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        """``zerotrust-admin`` with these tickets, on a host that has no configuration of a broker but the one named."""
        outer = {"PATH": os.environ["PATH"], "HOME": NO_HOME, "ZEROTRUST_CONFIG": "/nonexistent"}
        command = [str(PROGRAMS / "zerotrust-admin"), *words]
        return subprocess.run(
            command, env={**outer, **self.env, **env}, capture_output=True, text=True, check=False, timeout=30
        )


def addresses(broker: BrokerProcess) -> Mapping[str, str]:
    """Scheme -> where the broker listens, by its own word."""
    found = re.findall(r"listening on (.*)", broker.output.read_text())[-1].split()
    return {url.partition(":")[0]: url.replace("127.0.0.1", "localhost") for url in found}


def last(broker: BrokerProcess) -> dict[str, Any]:
    """The record of the last attempt."""
    return next(record for record in reversed(broker.records()) if record["request_id"] and record["event"] != "alert")
