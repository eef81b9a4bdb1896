"""The Kerberos way into a vault, which OpenBao does not bring: a front of a real server that knows clients by their tickets.

It does what HashiCorp documents of its plugin and no more: `POST /v1/auth/kerberos/login` with `Authorization: Negotiate` and an
SPNEGO token (RFC 4178) for `HTTP/localhost`, taken by a real acceptor, gives a token of the real server with the
policies that the administrator maps the principal to. Everything else passes through unchanged.
"""

from __future__ import annotations

import base64
import binascii
import http.client
import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import gssapi

from tests.fakes.bao import BaoServer

# RFC 4178 section 4.2: the token begins as GSS-API's do, with the OID of SPNEGO.
_SPNEGO = bytes.fromhex("06062b0601050502")
_LOGIN = "/v1/auth/kerberos/login"


class KerberosFront:
    """Use as a context manager. ``url`` has the certificate of the server behind it."""

    def __init__(self, server: BaoServer, *, keytab: Path, policies: dict[str, list[str]]) -> None:
        self._server = server
        self._policies = policies
        self.logins: list[str] = []
        self.refusals: list[str] = []
        name = gssapi.Name("HTTP@localhost", gssapi.NameType.hostbased_service)
        store = {b"keytab": str(keytab).encode(), b"rcache": b"none:"}
        self._keys = gssapi.Credentials(name=name, usage="accept", store=store)
        self._front = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._front.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(server.certificate.certificate, server.certificate.key)
        self._front.socket = context.wrap_socket(self._front.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"https://localhost:{self._front.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._front.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._front.shutdown()
        self._front.server_close()

    def _login(self, method: str, authorization: str) -> tuple[int, dict[str, Any]]:
        scheme, _, text = authorization.partition(" ")
        try:
            token = base64.b64decode(text, validate=True)
        except binascii.Error:
            token = b""
        if method != "POST" or scheme != "Negotiate" or _SPNEGO not in token[:16]:
            return self._refused("no SPNEGO token")
        try:
            context = gssapi.SecurityContext(creds=self._keys, usage="accept")
            context.step(token)
            who = str(context.initiator_name)
        except gssapi.exceptions.GSSError as error:
            return self._refused(str(error))
        if who not in self._policies:
            return self._refused(f"{who} is in no group with a policy")
        self.logins.append(who)
        asked = {"policies": self._policies[who], "no_parent": True, "ttl": "1h"}
        return 200, self._server.api("POST", "auth/token/create", asked)

    def _refused(self, why: str) -> tuple[int, dict[str, Any]]:
        self.refusals.append(why)
        return 400, {"errors": ["authentication failed"]}

    def _passed(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        trusted = ssl.create_default_context(cafile=str(self._server.ca_file))
        connection = http.client.HTTPSConnection("localhost", self._server.port, timeout=20, context=trusted)
        connection.request(method, path, body or None, headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, content

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        front = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                kept = {name: value for name, value in self.headers.items() if name.lower().startswith("x-vault")}
                if self.path == _LOGIN:
                    status, found = front._login(self.command, self.headers.get("Authorization", ""))
                    content = json.dumps(found).encode()
                else:
                    status, content = front._passed(self.command, self.path, kept, body)
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                if status != http.client.NO_CONTENT:
                    self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_DELETE = do_LIST = _answer  # noqa: N815  # the library's names

            def log_message(self, *_: Any) -> None:
                pass

        return Handler
