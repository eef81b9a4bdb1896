"""Local servers that refuse what Slack and PagerDuty refuse, and keep what they take. Strict: what is not understood is 400."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

KEY = "R0123456789ABCDEFGHIJKLMNOPQRSTU"[:32]
SLACK_PATH = "/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX"
SIGNING_SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


@dataclass
class Taken:
    """One request that was taken."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass
class Hooks:
    """The server. ``next_answers`` come first, each once: (status, body, headers); ``None`` hangs. Then it judges for itself."""

    next_answers: list[tuple[int, str, dict[str, str]] | None] = field(default_factory=list)
    taken: list[Taken] = field(default_factory=list)
    attempts: list[str] = field(default_factory=list)
    port: int = 0

    def __post_init__(self) -> None:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                with contextlib.suppress(ConnectionError):
                    outer.answer(self, raw)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._free = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._free.set()
        self._server.shutdown()
        self._server.server_close()

    def answer(self, request: BaseHTTPRequestHandler, raw: bytes) -> None:
        self.attempts.append(request.path)
        if self.next_answers:
            chosen = self.next_answers.pop(0)
            if chosen is None:
                self._free.wait(30)
                return
            status, text, headers = chosen
        else:
            (status, text), headers = self._judged(request, raw), {}
        if status < 300:
            self.taken.append(Taken(request.path, dict(request.headers.items()), json.loads(raw)))
        body = text.encode()
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    def wait(self, number: int, *, seconds: float = 10) -> list[Taken]:
        """What was taken, when it is so many."""
        deadline = time.monotonic() + seconds
        while len(self.taken) < number:
            assert time.monotonic() < deadline, f"{len(self.taken)} of {number} posts came"
            time.sleep(0.02)
        return list(self.taken)

    def _judged(self, request: BaseHTTPRequestHandler, raw: bytes) -> tuple[int, str]:
        kind = request.headers.get("Content-Type", "")
        if not re.fullmatch(r"application/json(; *charset=utf-8)?", kind):
            return 400, "invalid_payload"
        try:
            body = json.loads(raw)
        except ValueError:
            return 400, "invalid_payload"
        if request.path.startswith("/services/"):
            return _slack(request.path, body)
        if request.path == "/v2/enqueue":
            return _pagerduty(body)
        return _webhook(request, raw)


def _slack(path: str, body: Any) -> tuple[int, str]:
    if path != SLACK_PATH:
        return 404, "no_service"
    known = {"text", "blocks", "attachments", "mrkdwn", "link_names", "unfurl_links", "unfurl_media", "thread_ts"}
    if not isinstance(body, dict) or set(body) - known:
        return 400, "invalid_payload"
    text = body.get("text")
    if not isinstance(text, str) or not text:
        return 400, "no_text"
    # Slack cuts longer texts; a strict one refuses.
    return (400, "msg_too_long") if len(text) > 40_000 else (200, "ok")


def _pagerduty(body: Any) -> tuple[int, str]:
    errors = list(_pagerduty_errors(body if isinstance(body, dict) else {}))
    if errors:
        return 400, json.dumps({"status": "invalid event", "message": "Event object is invalid", "errors": errors})
    return 202, json.dumps({"status": "success", "message": "Event processed", "dedup_key": body["dedup_key"]})


def _pagerduty_errors(body: dict[str, Any]) -> Iterator[str]:
    routing_key, payload = body.get("routing_key"), body.get("payload")
    if not isinstance(routing_key, str) or len(routing_key) != 32:
        yield "Length of 'routing_key' is incorrect (should be 32 characters)"
    elif routing_key != KEY:
        yield f"'routing_key' {routing_key} is not known"
    if body.get("event_action") not in ("trigger", "acknowledge", "resolve"):
        yield "'event_action' is invalid"
    if not isinstance(body.get("dedup_key"), str) or not 0 < len(body["dedup_key"]) <= 255:
        yield "'dedup_key' is too long"
    if set(body) - {"routing_key", "event_action", "dedup_key", "payload", "images", "links", "client", "client_url"}:
        yield "unknown fields"
    if isinstance(payload, dict):
        yield from _payload_errors(payload)
    else:
        yield "'payload' is missing or blank"


def _payload_errors(payload: dict[str, Any]) -> Iterator[str]:
    for name, longest in (("summary", 1024), ("source", 255)):
        if not isinstance(payload.get(name), str) or not 0 < len(payload[name]) <= longest:
            yield f"'payload.{name}' is missing or too long"
    if payload.get("severity") not in ("critical", "error", "warning", "info"):
        yield "'payload.severity' is invalid (must be one of the following: 'critical', 'warning', 'error' or 'info')"
    if "timestamp" in payload:
        datetime.fromisoformat(payload["timestamp"])
    if set(payload) - {"summary", "source", "severity", "timestamp", "component", "group", "class", "custom_details"}:
        yield "unknown fields in 'payload'"


def _webhook(request: BaseHTTPRequestHandler, raw: bytes) -> tuple[int, str]:
    """A receiver of Standard Webhooks that was written from the specification, not from the sender."""
    identifier, stamp = request.headers["webhook-id"], request.headers["webhook-timestamp"]
    if abs(time.time() - int(stamp)) > 300:
        return 400, "too old"
    signed = f"{identifier}.{stamp}.".encode() + raw
    key = base64.b64decode(SIGNING_SECRET.split("_")[1])
    wanted = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return (204, "") if request.headers.get("webhook-signature") == wanted else (401, "signature")
