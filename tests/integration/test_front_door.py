"""The front door against raw sockets: what is no proper request, how often one may ask, from where, and over which socket."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import socket
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from broker.web.guards import SECURITY_HEADERS
from tests.fakes.broker import BrokerError, BrokerProcess, configuration
from tests.fakes.realm import Realm
from tests.fakes.redis import RedisServer

NO_STS = "http://127.0.0.1:1"  # nobody here asks for credentials
PATIENCE = 5.0
SILENCE = 0.05  # seconds after which nothing more is coming: whatever is in hand has been answered
HOST = b"Host: localhost\r\n"
POST = b"POST /v1/credentials HTTP/1.1\r\n" + HOST + b"X-Zerotrust-Request: 1\r\nContent-Type: application/json\r\n"
MARKER = b"neverrepeatedorlogged"

Ticket = Callable[[], dict[str, str]]


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        return str(json.loads(self.body)["code"])


def say(end: tuple[str, int] | str, request: bytes, *, source: str = "127.0.0.1") -> bytes:
    """Everything that is answered to these bytes, until the broker closes or has nothing more to say."""
    family = socket.AF_UNIX if isinstance(end, str) else socket.AF_INET
    with socket.socket(family) as connection:
        connection.settimeout(PATIENCE)
        if family == socket.AF_INET:
            connection.bind((source, 0))
        connection.connect(end)
        held = b""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError, TimeoutError):
            connection.sendall(request)
            while part := connection.recv(65536):
                held += part
                if is_whole(held):
                    connection.settimeout(SILENCE)
        return held


def is_whole(raw: bytes) -> bool:
    head, end, body = raw.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
    return bool(end and length and len(body) >= int(length[1]))


def parsed(raw: bytes) -> Answer:
    head, _, body = raw.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
    return Answer(int(lines[0].split()[1]), headers, body)


class Door:
    """A broker and the ways to it."""

    def __init__(self, process: BrokerProcess) -> None:
        self.process = process

    @property
    def tcp(self) -> tuple[str, int]:
        port = urlsplit(self.process.url).port
        assert port is not None
        return "127.0.0.1", port

    def get(
        self, path: str, headers: Mapping[str, str] | None = None, *, end: Any = None, source="127.0.0.1"
    ) -> Answer:
        lines = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{lines}\r\n"
        return parsed(say(end or self.tcp, request.encode(), source=source))

    def metric(self, name: str) -> float:
        # From an address of its own, so that reading it uses up nobody's rate.
        found = re.search(rf"^{name} (\S+)$", self.get("/metrics", source="127.0.0.200").body.decode(), re.MULTILINE)
        assert found is not None
        return float(found[1])

    def refusals(self) -> list[tuple[str, str]]:
        return [(r["source_ip"], r["reason"]) for r in self.process.records() if r["event"] == "refused"]


@pytest.fixture(scope="module")
def keytab(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return realm.keytab(tmp_path_factory.mktemp("front-door") / "keytab", "HTTP/localhost")


@pytest.fixture(scope="module")
def alice(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Ticket:
    client = realm.kinit("alice", tmp_path_factory.mktemp("alice") / "ccache")
    return lambda: {"Authorization": f"Negotiate {base64.b64encode(realm.client_token(client)).decode()}"}


@pytest.fixture(scope="module")
def mallory(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Ticket:
    client = realm.kinit("mallory", tmp_path_factory.mktemp("mallory") / "ccache")
    return lambda: {"Authorization": f"Negotiate {base64.b64encode(realm.client_token(client)).decode()}"}


@contextlib.contextmanager
def running(folder: Path, keytab: Path, realm: Realm, *, server: Mapping[str, Any], **sections: Any) -> Iterator[Door]:
    folder.mkdir(exist_ok=True)
    server = {"listen": ["http://127.0.0.1:0"], "hostnames": ["localhost"], **server}
    settings = configuration(folder, keytab=keytab, sts_endpoint=NO_STS, server=server, **sections)
    with BrokerProcess(folder, settings, env=realm.env) as process:
        yield Door(process)


@pytest.fixture(scope="module")
def socket_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("s") / "broker.sock"


@pytest.fixture(scope="module")
def door(realm: Realm, keytab: Path, socket_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """Without limits; on a port and on a local socket."""
    listen = ["http://127.0.0.1:0", f"unix:{socket_path}"]
    with running(tmp_path_factory.mktemp("door"), keytab, realm, server={"listen": listen}) as made:
        yield made


# ---- what is no proper request ----

ODD_FORMS = {
    "HTTP/0.9": b"GET /healthz\r\n\r\n",
    "HTTP/0.9 by name": b"GET /healthz HTTP/0.9\r\n\r\n",
    "HTTP/1.0 without Host": b"GET /healthz HTTP/1.0\r\n\r\n",
    "HTTP/1.1 without Host": b"GET /healthz HTTP/1.1\r\n\r\n",
    "HTTP/2 in an HTTP/1 form": b"GET /healthz HTTP/2.0\r\n" + HOST + b"\r\n",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + MARKER * 8,
    "absolute form": b"GET http://localhost/healthz HTTP/1.1\r\n" + HOST + b"\r\n",
    "absolute form of another host": b"GET http://evil.example/ HTTP/1.1\r\n" + HOST + b"\r\n",
    "authority form": b"CONNECT localhost:80 HTTP/1.1\r\n" + HOST + b"\r\n",
    "asterisk form": b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n",
    "two Hosts": b"GET /healthz HTTP/1.1\r\n" + HOST + HOST + b"\r\n",
    "two Authorizations": b"GET /v1/whoami HTTP/1.1\r\n" + HOST + b"Authorization: Negotiate AAAA\r\n" * 2 + b"\r\n",
    "two equal Content-Lengths": POST + b"Content-Length: 2\r\n" * 2 + b"\r\n{}",
    "two Content-Lengths": POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "a list of Content-Lengths": POST + b"Content-Length: 2, 2\r\n\r\n{}",
    "a Content-Length with a sign": POST + b"Content-Length: +2\r\n\r\n{}",
    "Transfer-Encoding and Content-Length": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
    "Content-Length and Transfer-Encoding": POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "an unknown coding": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked not last": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "chunked twice": POST + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n0\r\n\r\n",
    "a coding before chunked": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked in HTTP/1.0": POST.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a chunk without a size": POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "a folded header": b"GET /healthz HTTP/1.1\r\n" + HOST + b"X-A: b\r\n " + MARKER + b"\r\n\r\n",
    "a folded ticket": b"GET /v1/whoami HTTP/1.1\r\n" + HOST + b"Authorization: Negotiate\r\n AAAA\r\n\r\n",
    "NUL in a value": b"GET /healthz HTTP/1.1\r\n" + HOST + b"X-A: " + MARKER + b"\0c\r\n\r\n",
    "NUL in a name": b"GET /healthz HTTP/1.1\r\n" + HOST + b"X\0A: b\r\n\r\n",
    "NUL in the target": b"GET /heal\0thz HTTP/1.1\r\n" + HOST + b"\r\n",
    "a bare CR": b"GET /healthz HTTP/1.1\r\n" + HOST + b"X-A: b\rc\r\n\r\n",
    "bare LFs": b"GET /healthz HTTP/1.1\nHost: localhost\n\n",
    "a space before the colon": b"GET /healthz HTTP/1.1\r\n" + HOST + b"X-A : " + MARKER + b"\r\n\r\n",
    "300 headers": b"GET /healthz HTTP/1.1\r\n" + HOST + b"X-A: b\r\n" * 300 + b"\r\n",
}


@pytest.mark.parametrize("form", ODD_FORMS)
def test_a_request_that_two_readers_could_read_differently_is_refused_and_not_repeated(door, form):
    raw = say(door.tcp, ODD_FORMS[form])
    answer = parsed(raw)
    assert (answer.status, answer.code) == (400, "bad_request")
    assert raw.count(b"request_id") == 1, "one answer, and nothing hidden behind it was read as another request"
    assert MARKER not in raw
    assert all(answer.headers[name.lower()] == value for name, value in SECURITY_HEADERS.items())
    assert answer.headers["x-request-id"]
    assert MARKER.decode() not in door.process.output.read_text()


@pytest.mark.parametrize(
    "request_", [b"GET /" + MARKER * 1000 + b" HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nX-A: " + MARKER * 8000 + b"\r\n"]
)
def test_what_is_too_long_is_431_without_a_word_of_it(door, request_):
    raw = say(door.tcp, request_ + HOST + b"\r\n")
    answer = parsed(raw)
    assert (answer.status, answer.code) == (431, "headers_too_large")
    assert MARKER not in raw
    assert all(answer.headers[name.lower()] == value for name, value in SECURITY_HEADERS.items())
    assert MARKER.decode() not in door.process.output.read_text()


def test_http_1_0_with_a_host_is_served(door):
    assert parsed(say(door.tcp, b"GET /healthz HTTP/1.0\r\n" + HOST + b"\r\n")).status == 200


@pytest.mark.parametrize("path", ["/healthz", "/metrics", "/", "/nothing", "/v1/credentials", "/page.css"])
def test_every_answer_has_the_security_headers_and_names_no_library(door, path):
    answer = door.get(path)
    assert all(answer.headers[name.lower()] == value for name, value in SECURITY_HEADERS.items())
    assert answer.headers["server"] == "zerotrust-broker"


# ---- how often ----


def test_an_address_that_asks_too_often_is_told_when_to_come_back_and_leaves_no_record(tmp_path, realm, keytab, alice):
    with running(tmp_path / "b", keytab, realm, server={"rate_limit": {"per_address": "5/hour"}}) as door:
        before = len(door.process.records())
        assert [door.get("/v1/whoami").status for _ in range(5)] == [401] * 5
        refused = door.get("/v1/whoami", alice())
        assert (refused.status, refused.code) == (429, "rate_limited")
        assert 1 <= int(refused.headers["retry-after"]) <= 7200
        assert "www-authenticate" not in refused.headers, "nobody is asked for a ticket that will not be looked at"
        assert len(door.process.records()) == before
        assert door.get("/v1/whoami", alice(), source="127.0.0.2").status == 200
        assert door.get("/healthz").status == door.get("/readyz").status == 200, "probes are not counted"
        assert door.metric('broker_rate_limited_requests_total{of="address"}') == 1


def test_another_sites_page_cannot_use_up_its_visitors_rate(tmp_path, realm, keytab):
    with running(tmp_path / "b", keytab, realm, server={"rate_limit": {"per_address": "5/hour"}}) as door:
        assert {door.get("/", {"Sec-Fetch-Site": "cross-site"}).status for _ in range(20)} == {403}
        assert door.get("/v1/whoami").status == 401


def test_a_principal_that_asks_too_often_is_refused_from_every_address_with_a_record(
    tmp_path, realm, keytab, alice, mallory
):
    with running(tmp_path / "b", keytab, realm, server={"rate_limit": {"per_principal": "3/hour"}}) as door:
        assert [door.get("/v1/whoami", alice(), source=f"127.0.0.{n}").status for n in (2, 3, 4)] == [200] * 3
        refused = door.get("/v1/whoami", alice(), source="127.0.0.5")
        assert (refused.status, refused.code) == (429, "rate_limited")
        assert int(refused.headers["retry-after"]) >= 1
        assert door.get("/v1/whoami", mallory(), source="127.0.0.5").status == 200
        assert door.refusals() == [("127.0.0.5", "rate_limited")]
        record = next(r for r in door.process.records() if r["reason"] == "rate_limited")
        assert (record["user"], record["success"]) == ("alice@EXAMPLE.COM", False)


def test_a_replayed_ticket_uses_up_nobodys_rate(tmp_path, realm, keytab, alice):
    with running(tmp_path / "b", keytab, realm, server={"rate_limit": {"per_principal": "2/hour"}}) as door:
        ticket = alice()
        assert [door.get("/v1/whoami", ticket).status for _ in range(4)] == [200, 401, 401, 401]
        assert door.get("/v1/whoami", alice()).status == 200


def test_instances_share_their_limits_in_redis_and_count_alone_without_it(
    tmp_path, realm, keytab, redis_server: RedisServer
):
    password = tmp_path / "password"
    password.touch(mode=0o600)
    password.write_text(redis_server.password)
    shared = {
        "server": {"rate_limit": {"per_address": "6/hour"}},
        "redis": {"url": redis_server.url, "password_file": str(password)},
        "encryption": {"key": base64.b64encode(os.urandom(32)).decode()},
    }
    with (
        running(tmp_path / "a", keytab, realm, **shared) as one,
        running(tmp_path / "b", keytab, realm, **shared) as two,
    ):
        assert [one.get("/v1/whoami").status for _ in range(4)] == [401] * 4
        assert [two.get("/v1/whoami").status for _ in range(4)] == [401, 401, 429, 429]
        assert one.get("/v1/whoami").status == 429
        keys = redis_server.cli("KEYS", "zerotrust:{shared}:limit:*")
        assert keys.startswith("zerotrust:{shared}:limit:address:")
        assert "127.0.0.1" not in keys
        redis_server.freeze()
        started = time.monotonic()
        statuses = [one.get("/v1/whoami", source="127.0.0.2").status for _ in range(8)]
        assert statuses == [401] * 6 + [429] * 2
        assert time.monotonic() - started < 2.0, "a frozen Redis costs one timeout, not one a request"
        assert "password" not in one.process.output.read_text()


# ---- from where ----


def test_the_address_in_the_record_is_the_one_that_a_trusted_proxy_names(tmp_path, realm, keytab, alice):
    with running(tmp_path / "b", keytab, realm, server={"trusted_proxies": ["127.0.0.8/32"]}) as door:
        forwarded = alice() | {"X-Forwarded-For": "10.0.0.1, 192.0.2.7"}
        assert door.get("/v1/whoami", forwarded, source="127.0.0.8").status == 200
        assert door.get("/v1/whoami", alice() | {"X-Forwarded-For": "192.0.2.8"}, source="127.0.0.9").status == 200
        malformed = door.get("/v1/whoami", alice() | {"X-Forwarded-For": "nobody"}, source="127.0.0.8")
        assert (malformed.status, malformed.code) == (400, "bad_request")
        shown = [record["source_ip"] for record in door.process.records() if record["event"] == "shown"]
        assert shown == ["192.0.2.7", "127.0.0.9"]


def test_networks_and_limits_go_by_the_address_behind_the_proxy(tmp_path, realm, keytab):
    server = {
        "trusted_proxies": ["127.0.0.8/32"],
        "allowed_networks": ["192.0.2.0/24", "127.0.0.200/32"],
        "rate_limit": {"per_address": "2/hour"},
    }
    with running(tmp_path / "b", keytab, realm, server=server) as door:

        def status(client: str) -> int:
            return door.get("/v1/whoami", {"X-Forwarded-For": client}, source="127.0.0.8").status

        assert [status("192.0.2.7") for _ in range(3)] == [401, 401, 429]
        assert status("192.0.2.8") == 401
        assert status("198.51.100.1") == 403


# ---- local sockets ----


def test_the_account_behind_a_local_socket_is_in_the_record(door, socket_path, alice):
    assert door.get("/v1/whoami", alice(), end=str(socket_path)).status == 200
    record = [record for record in door.process.records() if record["event"] == "shown"][-1]
    assert (record["peer_uid"], record["source_ip"]) == (os.getuid(), None)
    assert door.get("/v1/whoami", alice()).status == 200
    assert "peer_uid" not in door.process.last_record()


def test_any_local_account_may_connect_to_the_socket(socket_path, door):
    assert stat.S_IMODE(socket_path.stat().st_mode) == 0o666


def test_a_socket_that_a_killed_broker_left_behind_is_taken_over(tmp_path, realm, keytab):
    path = tmp_path / "s"
    listen = {"listen": ["http://127.0.0.1:0", f"unix:{path}"]}
    with running(tmp_path / "b", keytab, realm, server=listen) as door:
        door.process.kill()
        assert path.is_socket()
        door.process.start()
        assert door.get("/healthz", end=str(path)).status == 200


@pytest.mark.parametrize("what", ["a file", "a folder", "a symbolic link", "a socket somebody listens on"])
def test_whatever_else_lies_at_the_sockets_path_is_left_alone_and_named(tmp_path, realm, keytab, what):
    path, target = tmp_path / "s", tmp_path / "target"
    with socket.socket(socket.AF_UNIX) as other:
        if what == "a file":
            path.write_text("mine")
        elif what == "a folder":
            path.mkdir()
        else:
            other.bind(str(path if what == "a socket somebody listens on" else target))
            other.listen()
        if what == "a symbolic link":
            path.symlink_to(target)
        before = path.lstat()
        refused = pytest.raises(BrokerError, match=rf"cannot serve: {re.escape(str(path))}")
        with refused, running(tmp_path / "b", keytab, realm, server={"listen": [f"unix:{path}"]}):
            pass
        assert (path.lstat().st_ino, path.lstat().st_mode) == (before.st_ino, before.st_mode)
