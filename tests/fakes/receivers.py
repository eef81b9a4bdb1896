"""Receivers of records by HTTP on 127.0.0.1 that refuse what the real ones refuse: Splunk's HTTP Event Collector, and a webhook.

A test tells them to be slow, to hang, to be unwell, or to take only so much.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.fakes.certificates import ServerCertificate
from tests.fakes.https_server import HttpsServer

_EVENT_KEYS = {"time", "host", "source", "sourcetype", "index", "event", "fields"}
_JSON = "application/json"

Answer = tuple[int, Mapping[str, Any]]


class Receiver(HttpsServer):
    """Use as a context manager. ``taken`` are the records that were answered with success, in their order."""

    def __init__(self, *, certificate: ServerCertificate | None = None) -> None:
        self.taken: list[Any] = []
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.scripted: list[tuple[int, Mapping[str, str], bytes]] = []
        self.most_bytes = 1_000_000
        self.refuses: set[int] = set()
        super().__init__(self._handler(), certificate=certificate)

    @property
    def numbers(self) -> list[int]:
        return [record["seq"] for record in self.taken]

    def judge(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """What this kind of receiver says to a request; takes what is in it where it is right."""
        raise NotImplementedError

    def _handler(receiver) -> type[BaseHTTPRequestHandler]:  # noqa: N805  # "self" is the handler's
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Header and body in one write: two would wait for each other (Nagle, delayed acknowledgement), 40 ms an answer.
            wbufsize = -1

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.requests.append((self.path, headers, body))
                receiver.answers.wait()
                if receiver.scripted:
                    status, extra, text = receiver.scripted.pop(0)
                else:
                    status, said = receiver.judge(self.path, headers, body)
                    extra, text = {"Content-Type": _JSON}, json.dumps(said).encode()
                self.send_response(status)
                for name, value in {**extra, "Content-Length": str(len(text))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's word
                """Say nothing."""

        return Handler


class Webhook(Receiver):
    """Takes a JSON array of objects from whoever shows the token and signs with the key."""

    def __init__(self, *, token: str, key: str, certificate: ServerCertificate | None = None) -> None:
        super().__init__(certificate=certificate)
        self._token = token
        self._key = key.encode()

    def judge(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        signature = "sha256=" + hmac.new(self._key, body, hashlib.sha256).hexdigest()
        if path != "/hook?sig=in-the-url" or headers.get("authorization") != f"Bearer {self._token}":
            return 401, {"error": "who are you"}
        if headers.get("content-type") != _JSON:
            return 415, {"error": "not JSON"}
        if not hmac.compare_digest(headers.get("x-zerotrust-signature", ""), signature):
            return 403, {"error": "not signed"}
        if len(body) > self.most_bytes:
            return 413, {"error": "too large"}
        records = json.loads(body)
        if not isinstance(records, list) or not records or any(record["seq"] in self.refuses for record in records):
            return 422, {"error": "no"}
        self.taken += records
        return 200, {}


class Collector(Receiver):
    """Splunk's answers and codes are those of its documentation, "Troubleshoot HTTP Event Collector".

    As the real one it takes the events of a request up to the first bad one.
    """

    def __init__(
        self, *, token: str, indexes: frozenset[str] = frozenset({"main"}), acknowledges: bool = False,
        certificate: ServerCertificate | None = None,
    ) -> None:  # fmt: skip
        super().__init__(certificate=certificate)
        self._token = token
        self._indexes = indexes
        self._acknowledges = acknowledges
        self.indexed = threading.Event()
        self.indexed.set()
        self.asked: list[list[int]] = []
        self._acks = 0

    def judge(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        fault = self._stranger(headers)
        if fault is not None:
            return fault
        if path == "/services/collector/ack":
            asked = json.loads(body)["acks"]
            self.asked.append(asked)
            return 200, {"acks": {str(number): self.indexed.is_set() for number in asked}}
        if path != "/services/collector/event":
            return 404, {"text": "The requested URL was not found on this server.", "code": 404}
        if len(body) > self.most_bytes:
            return 413, {"text": "Content-Length too large", "code": 27}
        return self._take(body)

    def _stranger(self, headers: Mapping[str, str]) -> Answer | None:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if not scheme:
            return 401, {"text": "Token is required", "code": 2}
        if scheme != "Splunk":
            return 401, {"text": "Invalid authorization", "code": 3}
        if token != self._token:
            return 403, {"text": "Invalid token", "code": 4}
        if self._acknowledges and not headers.get("x-splunk-request-channel"):
            return 400, {"text": "Data channel is missing", "code": 10}
        return None

    def _take(self, body: bytes) -> Answer:
        decoder, text, number = json.JSONDecoder(), body.decode().strip(), 0
        if not text:
            return 400, {"text": "No data", "code": 5}
        while text:
            try:
                event, end = decoder.raw_decode(text)
            except json.JSONDecodeError:
                event, end = None, 0
            if (fault := self._fault(event)) is not None:
                code, words = fault
                return 400, {"text": words, "code": code, "invalid-event-number": number}
            self.taken.append(event["event"])
            text, number = text[end:].lstrip(), number + 1
        self._acks += 1
        return 200, {"text": "Success", "code": 0} | ({"ackId": self._acks} if self._acknowledges else {})

    def _fault(self, event: Any) -> tuple[int, str] | None:
        if not isinstance(event, dict) or set(event) - _EVENT_KEYS or not isinstance(event.get("time"), int | float):
            return 6, "Invalid data format"
        if "event" not in event:
            return 12, "Event field is required"
        if event.get("index", "main") not in self._indexes:
            return 7, "Incorrect index"
        if not event["event"] or event["event"]["seq"] in self.refuses:
            return 13, "Event field cannot be blank"
        return None
