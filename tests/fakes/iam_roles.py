"""IAM's inline policies of roles, over HTTP on 127.0.0.1, as strict as IAM about room and names, and ill on demand.

Whether a call is signed and allowed is ministack's to judge; this is for what ministack never says. Source of codes, statuses and
limits: IAM API Reference, PutRolePolicy, and "IAM and AWS STS quotas" (inline policies of a role: 10,240 characters without
white space, together).
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, quote

ROOM = 10_240
# As IAM answers: HTTP status by code.
_STATUS = {
    "AccessDenied": 403,
    "ExpiredToken": 403,
    "LimitExceeded": 409,
    "NoSuchEntity": 404,
    "ServiceFailure": 500,
    "Throttling": 400,
    "UnmodifiableEntity": 400,
}
_NS = 'xmlns="https://iam.amazonaws.com/doc/2010-05-08/"'


class _Refused(Exception):
    def __init__(self, code: str, message: str = "made up") -> None:
        super().__init__(message)
        self.code = code


@dataclass
class Fault:
    """What calls of a role end in, so many times; ``kind`` is a code of IAM, or ``hang``, ``html``, ``drop``."""

    kind: str
    times: int


@dataclass
class IamRoles:
    """``with IamRoles({"Developer"}) as iam``. One account's; ``ahead`` is how far its clock is before ours."""

    names: set[str]
    ahead: timedelta = timedelta(0)
    faults: dict[str, Fault] = field(default_factory=dict)
    inline: dict[tuple[str, str], str] = field(default_factory=dict)
    calls: Counter[tuple[str, str]] = field(default_factory=Counter)
    busiest: int = 0
    url: str = ""

    def __enter__(self) -> Self:
        self._lock, self._busy, self._over = threading.Lock(), 0, threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()

    def documents(self, role: str) -> dict[str, Any]:
        """The inline policies of a role, by name."""
        return {name: json.loads(text) for (of, name), text in sorted(self.inline.items()) if of == role}

    def number(self, action: str) -> int:
        """How many calls of an action were answered with success."""
        return sum(count for (done, _), count in self.calls.items() if done == action)

    def answer(self, asked: dict[str, str], ill: str | None = None) -> str:
        """The body; or what IAM refuses, for its own reasons or because it is ill.

        Raises:
            _Refused: With IAM's code.
        """
        if ill is not None:
            raise _Refused(ill)
        action, role, name = asked["Action"], asked["RoleName"], asked["PolicyName"]
        with self._lock:
            if role not in self.names:
                raise _Refused("NoSuchEntity", f"The role with name {role} cannot be found.")
            body = getattr(self, f"_{action}")(role, name, asked.get("PolicyDocument", ""))
            self.calls[action, role] += 1
        return f"<{action}Response {_NS}>{body}</{action}Response>"

    def _GetRolePolicy(self, role: str, name: str, _: str) -> str:  # noqa: N802
        text = self.inline.get((role, name))
        if text is None:
            raise _Refused("NoSuchEntity", f"The role policy with name {name} cannot be found.")
        inner = f"<RoleName>{role}</RoleName><PolicyName>{name}</PolicyName>"
        inner += f"<PolicyDocument>{quote(text)}</PolicyDocument>"
        return f"<GetRolePolicyResult>{inner}</GetRolePolicyResult>"

    def _PutRolePolicy(self, role: str, name: str, text: str) -> str:  # noqa: N802
        json.loads(text)
        others = [held for (of, other), held in self.inline.items() if of == role and other != name]
        if sum(len("".join(held.split())) for held in (*others, text)) > ROOM:
            raise _Refused("LimitExceeded", f"Maximum policy size of {ROOM} bytes exceeded for role {role}")
        self.inline[role, name] = text
        return ""

    def _DeleteRolePolicy(self, role: str, name: str, _: str) -> str:  # noqa: N802
        if self.inline.pop((role, name), None) is None:
            raise _Refused("NoSuchEntity", f"The role policy with name {name} cannot be found.")
        return ""

    def _ill(self, role: str) -> str | None:
        with self._lock:
            fault = self.faults.get(role)
            if fault is None or fault.times == 0:
                return None
            fault.times -= 1
            return fault.kind

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        iam = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                asked = {name: values[0] for name, values in parse_qs(self.rfile.read(length).decode()).items()}
                with iam._lock:
                    iam._busy += 1
                    iam.busiest = max(iam.busiest, iam._busy)
                try:
                    self._reply(asked)
                finally:
                    with iam._lock:
                        iam._busy -= 1

            def _reply(self, asked: dict[str, str]) -> None:
                assert self.headers["Authorization"].startswith("AWS4-HMAC-SHA256 Credential=ASIA")
                ill = iam._ill(asked["RoleName"])
                if ill == "hang":
                    iam._over.wait(20)
                    return
                if ill == "drop":
                    self.connection.close()
                    return
                if ill == "html":
                    self._send(200, "<html>portal</html>", "text/html")
                    return
                time.sleep(0.01)
                try:
                    self._send(200, iam.answer(asked, ill))
                except _Refused as error:
                    body = f"<Error><Type>Sender</Type><Code>{error.code}</Code><Message>{error}</Message></Error>"
                    self._send(_STATUS[error.code], f"<ErrorResponse {_NS}>{body}</ErrorResponse>")

            def _send(self, status: int, text: str, kind: str = "text/xml") -> None:
                body = text.encode()
                self.send_response_only(status)
                self.send_header("Date", format_datetime(datetime.now(UTC) + iam.ahead, usegmt=True))
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Nothing: what was asked is in ``calls``."""

        return Handler
