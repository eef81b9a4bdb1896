"""An instance's metadata service, version 2, as strict as AWS's: no answer without a token, no token without its header.

Source: EC2 User Guide, "Use the Instance Metadata Service to access instance metadata" (IMDSv2): PUT for a token of 1 to 21600
seconds, 401 without a good one, 403 for what came through a proxy.
"""

from __future__ import annotations

import json
import secrets
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

_TOKEN_PATH = "/latest/api/token"
_ROLES_PATH = "/latest/meta-data/iam/security-credentials/"
_TTL_HEADER = "x-aws-ec2-metadata-token-ttl-seconds"
_LONGEST_TTL = 21600
ROLE = "BrokerInstance"


class Imds:
    """``with Imds() as imds: imds.serve(...)``. ``asked`` counts what was given of the role's credentials."""

    def __init__(self) -> None:
        self.asked = 0
        self.refused: list[str] = []
        self.answering = threading.Event()
        self.answering.set()
        self._keys: dict[str, str] | None = None
        self._tokens: set[str] = set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def serve(self, access_key_id: str, secret: str, token: str, *, left: timedelta) -> None:
        """Give these from now on."""
        ends = datetime.now(UTC) + left
        self._keys = {
            "Code": "Success",
            "Type": "AWS-HMAC",
            "LastUpdated": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            "AccessKeyId": access_key_id,
            "SecretAccessKey": secret,
            "Token": token,
            "Expiration": f"{ends:%Y-%m-%dT%H:%M:%SZ}",
        }

    def answer(self, method: str, path: str, headers: Any) -> tuple[int, str]:
        """Status and body of one request."""
        if headers.get("X-Forwarded-For"):
            return 403, ""
        if path == _TOKEN_PATH:
            return self._token(headers.get(_TTL_HEADER, "")) if method == "PUT" else (405, "")
        if headers.get("x-aws-ec2-metadata-token") not in self._tokens:
            return 401, ""
        return self._role(path) if method == "GET" and self._keys is not None else (404, "")

    def _token(self, ttl: str) -> tuple[int, str]:
        if not ttl.isdecimal() or not 1 <= int(ttl) <= _LONGEST_TTL:
            return 400, ""
        self._tokens.add(token := secrets.token_urlsafe(32))
        return 200, token

    def _role(self, path: str) -> tuple[int, str]:
        if path == _ROLES_PATH:
            return 200, ROLE
        if path != _ROLES_PATH + ROLE:
            return 404, ""
        self.asked += 1
        return 200, json.dumps(self._keys)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        imds = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                imds.answering.wait(10)
                status, body = imds.answer(self.command, self.path, self.headers)
                if status != 200:
                    imds.refused.append(f"{self.command} {self.path} {status}")
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            do_PUT = do_GET  # noqa: N815  # http.server's name

            def log_message(self, *_: object) -> None:
                """Nothing on stderr."""

        return Handler

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.answering.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
