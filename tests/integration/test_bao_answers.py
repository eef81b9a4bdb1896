"""Answers that no vault gives: each ends in one kind of failure, soon, with nothing of the token in it or sent elsewhere."""

from __future__ import annotations

import contextlib
import http.server
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from broker.core.clock import SystemClock
from broker.core.secret import Secret
from broker.remote.failure import Conflict, Malformed, Missing, Refused, RemoteFailure, Unreachable
from broker.remote.hashicorp.login import AppRole, Granted
from broker.remote.hashicorp.vault import Vault
from broker.remote.hashicorp.wire import Wire
from broker.remote.tries import Lasting

JSON = "application/json"


@dataclass
class Answer:
    status: int
    body: bytes = b""
    kind: str = JSON
    headers: dict[str, str] = field(default_factory=dict)
    drip: float = 0.0
    missing: int = 0


class Scripted(http.server.ThreadingHTTPServer):
    """Answers what it is told to, every time; the last of them for ever."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[Answer] = []
        self.asked: list[tuple[str, str, dict[str, str]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Scripted
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.asked.append((self.command, self.path, dict(self.headers.items())))
        answers = self.server.answers
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.kind)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.status != 204:
            self.send_header("Content-Length", str(len(answer.body) + answer.missing))
        self.end_headers()
        self.close_connection = answer.missing > 0
        with contextlib.suppress(OSError):
            if not answer.drip:
                self.wfile.write(answer.body)
            for octet in answer.body if answer.drip else b"":
                self.wfile.write(bytes([octet]))
                time.sleep(answer.drip)

    do_GET = do_POST = do_DELETE = do_LIST = _answer  # noqa: N815  # the library's names

    def log_message(self, *_: Any) -> None:
        pass


class Held:
    """A login that asks nobody."""

    is_own = False

    async def log_in(self, _: Wire) -> Granted:
        return Granted(Secret("canary-token"), None, is_renewable=False)


@pytest.fixture
def server() -> Iterator[Scripted]:
    with Scripted() as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def wire(server: Scripted) -> Wire:
    return Wire(url=server.url, ca_file=None, namespace=None, clock=SystemClock())


def vault(server: Scripted, login: Any = None) -> Vault:
    return Vault(wire=wire(server), login=login or Held(), clock=SystemClock())


@pytest.mark.parametrize(
    ("answer", "kind", "reason"),
    [
        (Answer(200, b"<html>Sign in</html>", "text/html"), Malformed, "malformed"),
        (Answer(200, b"{}", "text/plain"), Malformed, "malformed"),
        (Answer(200, b"[1]"), Malformed, "malformed"),
        (Answer(200, b"[" * 100_000), Malformed, "malformed"),
        (Answer(200, b'{"data": '), Malformed, "malformed"),
        (Answer(200, b"\xff\xfe"), Malformed, "malformed"),
        (Answer(200, b'{"a":"' + b"x" * (9 << 20) + b'"}'), Malformed, "too_long"),
        (Answer(206, b"{}"), Malformed, "malformed"),
        (Answer(302, headers={"Location": "http://127.0.0.1:1/login"}), Malformed, "redirected"),
        (Answer(307, headers={"Location": "http://127.0.0.1:1/v1/x"}), Unreachable, "standby"),
        (Answer(400, b'{"errors":["no"]}'), Refused, "rejected"),
        (Answer(400, b'{"errors":["check-and-set parameter did not match"]}'), Conflict, "version_conflict"),
        (Answer(405, b'{"errors":[]}'), Refused, "rejected"),
        (Answer(404, b'{"errors":[]}'), Missing, "missing"),
        (Answer(404, b'{"errors":["no handler for route"]}'), Refused, "no_such_mount"),
        (Answer(412, b'{"errors":[]}'), Conflict, "version_conflict"),
        (Answer(429, b'{"errors":["request path quota"]}'), Unreachable, "throttled"),
        (Answer(500, b'{"errors":["1 error"]}'), Unreachable, "broken"),
        (Answer(502, b"<html>", "text/html"), Unreachable, "broken"),
        (Answer(501, b'{"errors":[]}'), Lasting, "not_initialised"),
        (Answer(503, b'{"errors":["Vault is sealed"]}'), Lasting, "sealed"),
        (Answer(503, b"x", "text/plain"), Unreachable, "broken"),
    ],
    ids=lambda value: f"{value.status}-{value.body[:12]!r}" if isinstance(value, Answer) else None,
)
async def test_each_answer_is_one_failure(
    server: Scripted, answer: Answer, kind: type[RemoteFailure], reason: str
) -> None:
    server.answers = [answer]
    with pytest.raises(kind) as failure:
        await vault(server).ask("POST", "x", {}, is_repeatable=False)
    assert (type(failure.value), failure.value.reason) == (kind, reason)
    assert "canary" not in str(failure.value)
    assert len(server.asked) == 1  # what must not happen twice did not


async def test_an_answer_that_drips_holds_up_its_thread_no_longer_than_one_that_does_not_come(server: Scripted) -> None:
    server.answers = [Answer(200, b"{" + b" " * 1000 + b"}", drip=0.02)]
    began = time.monotonic()
    with pytest.raises(Unreachable) as failure:
        await wire(server).ask("GET", "x", token=None, seconds=0.3)
    assert failure.value.reason == "timeout"
    assert time.monotonic() - began < 10


async def test_an_answer_that_breaks_off_or_stops_is_a_failure_that_passes(server: Scripted) -> None:
    server.answers = [Answer(200, b"{}", missing=10)]
    with pytest.raises(Unreachable) as failure:
        await wire(server).ask("GET", "x", token=None, seconds=2.0)
    assert failure.value.reason == "unreachable"
    server.answers = [Answer(200, b"{}", drip=1.5)]
    with pytest.raises(Unreachable) as failure:
        await wire(server).ask("GET", "x", token=None, seconds=0.3)
    assert failure.value.reason == "timeout"


async def test_what_may_happen_twice_is_asked_again_when_the_fault_passes(server: Scripted) -> None:
    good = Answer(200, b'{"data": {"ok": true}}')
    server.answers = [Answer(503, b"", "text/plain"), Answer(429, b"{}"), good]
    assert (await vault(server).ask("GET", "x", is_repeatable=True))["data"] == {"ok": True}
    assert len(server.asked) == 3


async def test_a_sealed_vault_is_not_asked_again(server: Scripted) -> None:
    server.answers = [Answer(503, b'{"errors":["Vault is sealed"]}')]
    with pytest.raises(Unreachable):
        await vault(server).ask("GET", "x", is_repeatable=True)
    assert len(server.asked) == 1


async def test_what_no_content_says_is_nothing(server: Scripted) -> None:
    server.answers = [Answer(204)]
    assert await vault(server).ask("DELETE", "x", is_repeatable=False) == {}


@pytest.mark.parametrize(
    "auth",
    [
        "null",
        "{}",
        '{"client_token": 7, "lease_duration": 60, "renewable": true}',
        '{"client_token": "a\\nb", "lease_duration": 60, "renewable": true}',
        '{"client_token": "t", "lease_duration": -1, "renewable": true}',
        '{"client_token": "t", "lease_duration": true, "renewable": true}',
        '{"client_token": "t", "lease_duration": 60, "renewable": "yes"}',
        '{"client_token": "t"}',
    ],
)
async def test_a_login_without_a_token_and_its_life_is_none(server: Scripted, auth: str) -> None:
    server.answers = [Answer(200, b'{"auth": %s}' % auth.encode())]
    with pytest.raises(Malformed):
        await vault(server, AppRole("r", Secret("s"))).ask("GET", "x", is_repeatable=True)
    assert [path for _, path, _ in server.asked] == ["/v1/auth/approle/login"]


async def test_the_token_goes_to_the_server_as_a_header_and_nowhere_else(server: Scripted) -> None:
    server.answers = [Answer(200, b"{}")]
    await vault(server).ask("LIST", "kv/metadata/a", is_repeatable=True)
    ((method, path, headers),) = server.asked
    assert (method, path) == ("LIST", "/v1/kv/metadata/a")
    assert headers["X-Vault-Token"] == "canary-token"
    assert headers["X-Vault-Request"] == "true"
    assert "Cookie" not in headers
