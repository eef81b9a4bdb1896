"""Entra ID and a Key Vault on one TLS port of 127.0.0.1, told apart by the Host that is asked, with faults on demand.

The SDK insists on https, and on a vault whose domain is that of the challenge's resource. So the two have their real names:
``named()`` makes this process resolve them to the port here, and no others; ``python -m tests.fakes.azure.program`` does so for
a program of ours. The certificate is signed by nobody else than itself: ``ca_file``.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import parse_qsl, urlsplit

from tests.fakes.azure import entra
from tests.fakes.azure.vault import KeyVault
from tests.fakes.azure.wire import Answer, Asked, Refusal
from tests.fakes.certificates import server_certificate
from tests.fakes.https_server import HttpsServer

_HTTPS = 443
# A hang ends by itself, so that a forgotten one cannot hold a test run for ever.
_HANG_SECONDS = 20.0
_ROUNDS, _ROUND_SECONDS = 500, 0.01
_PAGE = b"<!DOCTYPE html><html><body><h1>Sign in to this network</h1></body></html>\n"


@dataclass(slots=True)
class _Fault:
    kind: str
    host: str
    left: int | None
    value: str


class AzureCloud(HttpsServer):
    """``with AzureCloud(folder) as cloud``: running. ``calls`` are host, method and path of each request, in their order."""

    def __init__(self, folder: Path, *, vault: str = "zerotrust") -> None:
        self.entra = entra.Entra()
        self.vault = KeyVault(vault, self.entra)
        self.calls: list[tuple[str, str, str]] = []
        self._faults: list[_Fault] = []
        self._awake = threading.Event()
        self._open: set[int] = set()
        certificate = server_certificate(folder, "ecdsa-sha256", host=self.vault.host, also=(entra.HOST,))
        self.ca_file = certificate.certificate
        super().__init__(self._handler(), certificate=certificate)

    @property
    def secret(self) -> str:
        """A client secret that is good now."""
        return next(iter(self.entra.secrets))

    @property
    def hosts(self) -> tuple[str, ...]:
        return (self.vault.host, entra.HOST)

    @contextlib.contextmanager
    def named(self) -> Iterator[None]:
        """Inside, this process finds the two hosts here."""
        with resolving(dict.fromkeys(self.hosts, self.port)):
            yield

    def fail(self, kind: str, *, host: str | None = None, times: int | None = None, value: str = "") -> None:
        """At the vault unless a host is named. ``value``: of ``throttle``, its Retry-After; ``lost``: done, and 500."""
        assert kind in {"throttle", "error500", "html", "empty", "hang", "garbage", "lost"}
        self._faults.append(_Fault(kind, host or self.vault.host, times, value))

    def recover(self) -> None:
        """No faults any more."""
        self._faults.clear()
        self._awake.set()
        self._awake = threading.Event()

    async def left(self) -> None:
        """Wait until every client has gone and this loop has seen it: what is left of a connection would be a warning."""
        self.recover()
        for _ in range(_ROUNDS):
            if not self._open:
                break
            await asyncio.sleep(_ROUND_SECONDS)
        for _ in range(3):
            await asyncio.sleep(_ROUND_SECONDS)

    def _answer(self, host: str, asked: Asked) -> Answer | None:
        self.calls.append((host, asked.method, asked.path))
        for fault in [each for each in self._faults if each.host == host]:
            if fault.left is not None:
                fault.left -= 1
                if fault.left == 0:
                    self._faults.remove(fault)
            if fault.kind == "lost":
                self.vault.answer(asked)
            return self._instead(fault)
        if host == entra.HOST:
            return self.entra.answer(asked)
        if host == self.vault.host:
            return self.vault.answer(asked)
        return Answer(421, b"")

    def _instead(self, fault: _Fault) -> Answer | None:
        match fault.kind:
            case "html":
                return Answer(200, _PAGE, content_type="text/html")
            case "empty":
                return Answer(200, b"")
            case "garbage":
                return Answer(200, b'{"value": {"not": "text"}}')
            case "throttle":
                headers = {"Retry-After": fault.value} if fault.value else {}
                return Refusal(
                    429, "Throttled", "Request was not processed: too many requests", headers=headers
                ).answer()
            case "error500" | "lost":
                return Refusal(500, "InternalServerError", "internal").answer()
        self._awake.wait(_HANG_SECONDS)
        return None

    def _handler(cloud) -> type[BaseHTTPRequestHandler]:  # noqa: N805  # "self" is the handler's
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1

            def _all(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                address = urlsplit(self.path)
                headers = {name.lower(): value for name, value in self.headers.items()}
                asked = Asked(self.command, address.path, dict(parse_qsl(address.query)), headers, body)
                answer = cloud._answer(headers.get("host", "").partition(":")[0], asked)
                if answer is None:
                    self.close_connection = True
                    return
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Type", answer.content_type)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

            def setup(self) -> None:
                cloud._open.add(id(self))
                super().setup()

            def finish(self) -> None:
                with contextlib.suppress(OSError):
                    super().finish()
                with contextlib.suppress(OSError):
                    self.connection.close()
                cloud._open.discard(id(self))

            do_GET = do_PUT = do_POST = do_DELETE = do_PATCH = _all  # noqa: N815

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        return Handler


@contextlib.contextmanager
def resolving(hosts: Mapping[str, int]) -> Iterator[None]:
    """Inside, these hosts are at their ports of 127.0.0.1, for whoever asks for https; all else is as before."""
    real = socket.getaddrinfo

    def resolve(host: Any, port: Any, *rest: Any, **more: Any) -> Any:
        if host in hosts and port == _HTTPS:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", hosts[host]))]
        return real(host, port, *rest, **more)

    with patch.object(socket, "getaddrinfo", resolve):
        yield
