"""Conjur on 127.0.0.1, as strict as its documentation: logins, variables with twenty versions, privileges, lists.

Sources: docs.cyberark.com, "REST APIs", and the scenarios of Conjur's own cucumber features for what the pages leave open (what
one may not see is a 404, what one may see and not do a 403).
"""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.fakes.certificates import ServerCertificate
from tests.fakes.https_server import HttpsServer

KEPT = 20
TOKEN_SECONDS = 8 * 60
_TOKEN = re.compile(r'Token token="([A-Za-z0-9+/]+={0,2})"')

Answer = tuple[int, str, bytes]


class FakeConjur(HttpsServer):
    """Use as a context manager. ``variables`` are the values by identifier; None in a place was thrown away."""

    def __init__(self, certificate: ServerCertificate, *, account: str = "myorg") -> None:
        self.certificate = certificate
        self.account = account
        self.api_keys: dict[str, str] = {}
        self.variables: dict[str, list[bytes | None]] = {}
        self.permitted: set[tuple[str, str, str]] = set()
        self.requests: list[tuple[str, str, int]] = []
        self.scripted: list[int] = []
        self.skew = 0.0
        self._tokens: dict[str, tuple[str, float]] = {}
        super().__init__(self._handler(), certificate=certificate)

    def declare(self, identifier: str, role: str, *privileges: str) -> None:
        """What loading a policy does."""
        self.variables.setdefault(identifier, [])
        self.permitted |= {(role, privilege, identifier) for privilege in privileges}

    def forget_tokens(self) -> None:
        """What a change of the signing key does."""
        self._tokens.clear()

    def answer(  # noqa: PLR0911  # a table of routes
        self, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> Answer:
        url = urlsplit(target)
        parts = [unquote(part) for part in url.path.split("/")[1:]]
        if parts[0] == "authn":
            return self._authenticate(method, parts, body)
        role = self._role(headers.get("authorization", ""))
        if role is None:
            return 401, "text/plain", b""
        query = {key: values[-1] for key, values in parse_qs(url.query).items()}
        if parts == ["whoami"] and method == "GET":
            return _json(200, {"account": self.account, "username": role})
        if parts == ["resources", self.account] and method == "GET":
            return self._list(role, query)
        # An identifier with a slash that is not encoded is more parts than this.
        if len(parts) != 4 or parts[1:3] != [self.account, "variable"] or parts[3] not in self._visible(role):
            return _json(404, {"error": {"code": "not_found", "message": "CONJ00076E Variable is empty or not found."}})
        if parts[0] == "resources" and method == "GET":
            return _json(200, self._shown(parts[3]))
        if parts[0] == "secrets" and method in {"GET", "POST"}:
            return self._get(role, parts[3], query) if method == "GET" else self._set(role, parts[3], body)
        return 404, "text/plain", b""

    def _authenticate(self, method: str, parts: list[str], body: bytes) -> Answer:
        if method != "POST" or len(parts) != 4 or parts[1] != self.account or parts[3] != "authenticate":
            return 404, "text/plain", b""
        if not body or self.api_keys.get(parts[2]) != body.decode():
            return 401, "text/plain", b""
        number = str(len(self._tokens))
        token = json.dumps({"protected": "e30=", "payload": number, "signature": "c2ln"}).encode()
        self._tokens[base64.b64encode(token).decode()] = (parts[2], time.time() + self.skew + TOKEN_SECONDS)
        return 200, "text/plain", token

    def _role(self, authorization: str) -> str | None:
        found = _TOKEN.fullmatch(authorization)
        role, ends = self._tokens.get(found[1], ("", 0.0)) if found else ("", 0.0)
        return role if ends > time.time() + self.skew else None

    def _visible(self, role: str) -> list[str]:
        return sorted({name for who, _, name in self.permitted if who == role and name in self.variables})

    def _get(self, role: str, identifier: str, query: Mapping[str, str]) -> Answer:
        if (role, "execute", identifier) not in self.permitted:
            return 403, "text/plain", b""
        values = self.variables[identifier]
        version = query.get("version", str(len(values)))
        if not version.isdecimal():
            return _json(422, {"error": {"code": "argument_error", "message": "invalid type for parameter 'version'"}})
        number = int(version)
        value = values[number - 1] if 0 < number <= len(values) else None
        if value is None:
            return _json(404, {"error": {"code": "not_found", "message": "CONJ00076E Variable is empty or not found."}})
        return 200, "application/octet-stream", value

    def _set(self, role: str, identifier: str, body: bytes) -> Answer:
        if (role, "update", identifier) not in self.permitted:
            return 403, "text/plain", b""
        if not body.strip():
            return _json(422, {"error": {"code": "argument_error", "message": "'value' may not be empty"}})
        values = self.variables[identifier]
        values.append(body)
        values[:-KEPT] = [None] * len(values[:-KEPT])
        return 201, "text/plain", b""

    def _list(self, role: str, query: Mapping[str, str]) -> Answer:
        if query.get("kind", "variable") != "variable":
            return _json(200, [])
        offset = int(query.get("offset", "0"))
        limit = int(query.get("limit", "10" if "offset" in query else "1000000"))
        return _json(200, [self._shown(name) for name in self._visible(role)[offset : offset + limit]])

    def _shown(self, identifier: str) -> dict[str, Any]:
        values = enumerate(self.variables[identifier], start=1)
        return {
            "created_at": "2026-01-01T00:00:00.000+00:00",
            "id": f"{self.account}:variable:{identifier}",
            "owner": f"{self.account}:user:admin",
            "policy": f"{self.account}:policy:root",
            "permissions": [],
            "annotations": [],
            "secrets": [{"version": number, "expires_at": None} for number, value in values if value is not None],
        }

    def _handler(fake) -> type[BaseHTTPRequestHandler]:  # noqa: N805  # "self" is the handler's
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1
            timeout = 30

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                fake.answers.wait()
                scripted = fake.scripted.pop(0) if fake.scripted else 0
                status, kind, text = (
                    (scripted, "text/plain", b"") if scripted else fake.answer(self.command, self.path, headers, body)
                )
                fake.requests.append((self.command, self.path, status))
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = do_PUT = do_DELETE = handle_any  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's word
                """Say nothing."""

        return Handler


def _json(status: int, content: object) -> Answer:
    return status, "application/json", json.dumps(content).encode()
