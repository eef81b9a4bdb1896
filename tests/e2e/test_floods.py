"""Clients that stall, that only hold connections, and more of them than there are descriptors: others go on being served."""

from __future__ import annotations

import contextlib
import re
import resource
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.fakes import broker as fakes
from tests.fakes import proc
from tests.fakes.broker import BrokerProcess, configuration
from tests.fakes.certificates import server_certificate
from tests.fakes.realm import Realm

NO_STS = "http://127.0.0.1:1"
HOST = b"Host: localhost\r\n"
PING = b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n"
MIB = 1024 * 1024

# What is promised, with the second that a loaded machine may take to notice.
HEAD, BODY, MARGIN = 10.0, 15.0, 1.0

# Descriptors of this process beside the clients'.
OWN = 200


@pytest.fixture(scope="module")
def keytab(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return realm.keytab(tmp_path_factory.mktemp("floods") / "keytab", "HTTP/localhost")


Starter = Callable[..., contextlib.AbstractContextManager[BrokerProcess]]


@pytest.fixture
def serving(tmp_path: Path, realm: Realm, keytab: Path) -> Starter:
    @contextlib.contextmanager
    def start(*, tls: bool = False) -> Iterator[BrokerProcess]:
        listen, sections = "http://127.0.0.1:0", dict[str, Any]()
        if tls:
            made = server_certificate(tmp_path / "tls", "ecdsa-sha256")
            listen = "https://127.0.0.1:0"
            sections["tls"] = {"certificate": str(made.certificate), "private_key": str(made.key)}
        folder = tmp_path / ("tls" if tls else "plain")
        folder.mkdir(exist_ok=True)
        server = {"listen": [listen], "hostnames": ["localhost"]}
        settings = configuration(folder, keytab=keytab, sts_endpoint=NO_STS, server=server, **sections)
        with BrokerProcess(folder, settings, env=realm.env) as process:
            yield process

    return start


def port_of(process: BrokerProcess) -> int:
    port = urlsplit(process.url).port
    assert port is not None
    return port


def connected(port: int, *, number: int = 0, receive_buffer: int | None = None) -> socket.socket:
    """A connection from one of eight loopback addresses, so that 10,000 do not run out of ports."""
    connection = socket.socket()
    if receive_buffer is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.bind((f"127.0.0.{2 + number % 8}", 0))
    connection.settimeout(10.0)
    connection.connect(("127.0.0.1", port))
    return connection


def ping(connection: socket.socket) -> float:
    """Seconds that one request takes."""
    started = time.perf_counter()
    connection.sendall(PING)
    assert connection.recv(4096).startswith(b"HTTP/1.1 200")
    return time.perf_counter() - started


def secured(connection: socket.socket) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(connection)


def open_connections(port: int) -> int:
    with connected(port) as connection:
        connection.sendall(b"GET /metrics HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")
        text = b""
        while part := connection.recv(65536):
            text += part
    found = re.search(rb"^broker_connections (\S+)$", text, re.MULTILINE)
    assert found is not None
    return round(float(found[1])) - 1  # less the one that asks


# ---- deadlines ----


@dataclass
class Staller:
    """A client that stops in the middle; ``again`` is what it sends every half second."""

    connection: socket.socket
    again: bytes = b""
    closed_after: float | None = None


def watch(stallers: Mapping[str, Staller], *, seconds: float) -> None:
    """Note when each is hung up on, counted from now."""
    started, selector = time.monotonic(), selectors.DefaultSelector()
    for staller in stallers.values():
        staller.connection.setblocking(False)
        selector.register(staller.connection, selectors.EVENT_READ, staller)
    while selector.get_map() and time.monotonic() - started < seconds:
        for key, _ in selector.select(timeout=0.5):
            try:
                gone = not key.fileobj.recv(65536)
            except (BlockingIOError, ssl.SSLWantReadError):
                continue
            except OSError:
                gone = True
            if gone:
                key.data.closed_after = time.monotonic() - started
                selector.unregister(key.fileobj)
        for staller in stallers.values():
            if staller.again and staller.closed_after is None:
                with contextlib.suppress(OSError):
                    staller.connection.send(staller.again)


def test_whoever_stalls_is_hung_up_on_in_time_and_whoever_is_idle_may_stay(serving):
    with serving() as plain, serving(tls=True) as encrypted, contextlib.ExitStack() as held:
        http, https = port_of(plain), port_of(encrypted)

        def client(start: bytes, again: bytes = b"", *, first: bytes = b"", tls: bool = False) -> Staller:
            connection = held.enter_context(connected(https if tls else http))
            if tls and start:
                connection = held.enter_context(secured(connection))
            if first:
                connection.sendall(first)
                assert connection.recv(4096).startswith(b"HTTP/1.1 200")
            connection.sendall(start)
            return Staller(connection, again)

        post = b"POST /v1/credentials HTTP/1.1\r\n" + HOST + b"X-Zerotrust-Request: 1\r\n"
        post += b"Content-Type: application/json\r\nAuthorization: Negotiate AAAA\r\n"
        heads = {
            "says nothing": client(b""),
            "says nothing where a TLS hello belongs": client(b"", tls=True),
            "half a head": client(b"GET / HTTP/1.1\r\nHost: loc"),
            "half a head over TLS": client(b"GET / HTTP/1.1\r\nHost: loc", tls=True),
            "a head by drops": client(b"GET / HTTP/1.1\r\nX-Drops: ", b"a"),
            "half a second head": client(b"GET / HTTP/1.1\r\nHost: loc", first=PING),
            "a second head by drops": client(b"GET / HTTP/1.1\r\nX-Drops: ", b"a", first=PING),
        }
        bodies = {
            "no body": client(post + b"Content-Length: 20\r\n\r\n"),
            "half a body": client(post + b'Content-Length: 200\r\n\r\n{"role":'),
            "half a body over TLS": client(post + b'Content-Length: 200\r\n\r\n{"role":', tls=True),
            "a body by drops": client(post + b"Content-Length: 4000\r\n\r\n", b" "),
            "a chunked body by drops": client(post + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
        }
        # Asks a great deal and reads nothing.
        deaf = held.enter_context(connected(http, receive_buffer=4096))
        deaf.setblocking(False)
        many = b"GET /metrics HTTP/1.1\r\n" + HOST + b"\r\n"
        with contextlib.suppress(BlockingIOError):
            for _ in range(2000):
                deaf.send(many)
        idle = client(b"", first=PING)
        stallers = {**heads, **bodies, "idle": idle}

        watch(stallers, seconds=BODY + MARGIN + 1)

        for name, staller in heads.items():
            assert staller.closed_after is not None, name
            assert HEAD - 4 < staller.closed_after < HEAD + MARGIN, name
        for name, staller in bodies.items():
            assert staller.closed_after is not None, name
            assert BODY - 4 < staller.closed_after < BODY + MARGIN, name
        assert idle.closed_after is None, "an idle connection is no stalled one"
        idle.connection.settimeout(10.0)
        ping(idle.connection)
        assert open_connections(http) == 1, "whoever reads no answers is hung up on as well"
        for process in (plain, encrypted):
            assert "Traceback" not in process.output.read_text()


# ---- crowds ----


def held_mib(pid: int | None) -> float:
    """What the process holds in memory, in MiB: resident, less its share in what others use too."""
    found = re.search(r"^Pss:\s+(\d+) kB", proc.shown(pid, "smaps_rollup").decode(), re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024


@pytest.fixture
def descriptors() -> Iterator[int]:
    """How many clients this process can be; its own limit is raised meanwhile, and the broker inherits it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (10_000 + OWN, max(hard, 10_000 + OWN)))
    now = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    yield min(10_000, now - OWN)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


@pytest.mark.parametrize("kind", ["silent", "served once", "silent where TLS is spoken"])
def test_ten_thousand_idle_connections_cost_100_mib_and_nobody_waits_for_them(serving, descriptors, kind):
    assert descriptors == 10_000, "run where `ulimit -Hn` is at least 10200"
    with serving(tls="TLS" in kind) as process, contextlib.ExitStack() as held:
        port = port_of(process)
        mine = held.enter_context(connected(port))
        if "TLS" in kind:
            mine = held.enter_context(secured(mine))
        ping(mine)
        before = held_mib(process.process.pid)
        waits, crowd = [], []
        for number in range(descriptors):
            crowd.append(held.enter_context(connected(port, number=number)))
            if kind == "served once":
                crowd[-1].sendall(PING)
            if number % 20 == 0:
                waits.append(ping(mine))
        for _ in range(200):
            waits.append(ping(mine))
            time.sleep(0.002)
        more = held_mib(process.process.pid) - before
        waits.sort()
        late = waits[int(len(waits) * 0.99)]
        counted = f"{kind}: {more:.0f} MiB more, p99 {late * 1000:.1f} ms, worst {waits[-1] * 1000:.1f} ms"
        assert more <= 100, counted
        assert late <= 0.1, counted
        assert "Traceback" not in process.output.read_text()


@pytest.fixture
def few_descriptors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker starts as by ``ulimit -n 256``."""
    programs = tmp_path / "bin"
    programs.mkdir()
    program = programs / "zerotrust-broker"
    program.write_text(f'#!/bin/sh\nulimit -n 256\nexec {fakes.PROGRAMS / "zerotrust-broker"} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setattr(fakes, "PROGRAMS", programs)


@pytest.mark.usefixtures("few_descriptors")
def test_400_clients_on_256_descriptors_fill_no_log_and_keep_nobody_out(serving):
    seconds = 6.0
    with serving() as process:
        port = port_of(process)
        end = time.monotonic() + seconds
        reconnects = [0] * 4

        def crowd(part: int) -> None:
            """A hundred clients that connect, send half a head, and connect anew when they are hung up on."""
            with contextlib.ExitStack() as held, selectors.DefaultSelector() as selector:
                while time.monotonic() < end:
                    while len(selector.get_map()) < 100:
                        with contextlib.suppress(OSError):
                            client = held.enter_context(connected(port, number=part))
                            client.sendall(b"GET / HTTP/1.1\r\nHo")
                            selector.register(client, selectors.EVENT_READ)
                            reconnects[part] += 1
                    for key, _ in selector.select(timeout=0.05):
                        selector.unregister(key.fileobj)
                        key.fileobj.close()
                    time.sleep(0.01)

        threads = [threading.Thread(target=crowd, args=(part,)) for part in range(4)]
        for thread in threads:
            thread.start()
        served = tried = 0
        time.sleep(0.5)
        while time.monotonic() < end - 0.5:
            tried += 1
            with contextlib.suppress(OSError, AssertionError), connected(port, number=7) as mine:
                ping(mine)
                served += 1
            time.sleep(0.05)
        for thread in threads:
            thread.join()
        released = time.monotonic()
        with connected(port) as mine:
            ping(mine)
        recovered = time.monotonic() - released
        written = process.output.stat().st_size
        counted = (
            f"{served} of {tried} served, {sum(reconnects)} connections, {written} bytes of log, {recovered:.3f} s"
        )
        assert served >= tried * 0.9, f"whoever has something to ask is served in the middle of the crowd: {counted}"
        assert recovered < 5.0, counted
        assert written * 60 / seconds < MIB, counted
        assert "Too many open files" not in process.output.read_text()


@pytest.mark.usefixtures("few_descriptors")
def test_a_crowd_that_is_let_go_leaves_no_descriptor_behind(serving):
    with serving() as process:
        port = port_of(process)
        with connected(port) as mine:
            ping(mine)
        pid = process.process.pid
        before = proc.sockets(pid)
        for _ in range(3):
            with contextlib.ExitStack() as held:
                for number in range(400):
                    held.enter_context(connected(port, number=number))
        with connected(port) as mine:
            ping(mine)
        deadline = time.monotonic() + 5.0
        while proc.sockets(pid) > before and time.monotonic() < deadline:
            time.sleep(0.05)
        assert proc.sockets(pid) <= before
        assert open_connections(port) == 0


@pytest.mark.parametrize(
    ("tls", "garbage"),
    [
        (False, b"\x16\x03\x01 garbage \x00\xff" * 20 + b"\r\n\r\n"),
        (True, PING),
        (True, b"\x16\x03\x01\x00\x05" + b"\xff" * 5),
    ],
    ids=["TLS to http", "http to TLS", "a broken hello"],
)
def test_garbage_by_the_thousand_fills_no_log(serving, tls, garbage):
    with serving(tls=tls) as process:
        port = port_of(process)
        before = process.output.stat().st_size
        for number in range(1500):
            with connected(port, number=number) as client, contextlib.suppress(ConnectionResetError):
                client.sendall(garbage)
                client.recv(4096)
        assert process.output.stat().st_size - before < MIB / 60
