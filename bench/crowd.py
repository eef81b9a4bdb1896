"""Everybody who asks a broker in a year, in an hour: people with tickets, and whoever tries what should not work.

A worker process makes a batch of requests, good and bad in turn, sends each once over a few connections and counts the answers by
what the request was. An answer that is not the expected one is counted as well, never hidden.
"""

from __future__ import annotations

import base64
import itertools
import os
import re
import select
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.tokens import SPNEGO

CONNECTIONS = 8
_PATIENCE = 60.0  # seconds without any answer, after which the server is taken for dead
_RECEIVE_BYTES = 65536
_GARBAGE_BYTES = 300
_GOOD = "good"
_CODE = re.compile(rb'"code": ?"([a-z_]+)"')


@dataclass(frozen=True, slots=True)
class Request:
    """One request, and the statuses that are right for it; ``source`` is an address of its own, with a connection of its own."""

    kind: str
    content: bytes
    right: frozenset[int]
    source: str = ""


# How many there were, by kind of request, status and code, and whether that status is right.
Answers = Counter[tuple[str, str, bool]]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a batch is sent, and as whom.

    Attributes:
        port: Of the broker, on 127.0.0.1.
        role: What the good ones ask for.
        may: The ticket cache of who may have it.
        may_not: The ticket cache of somebody known whom no rule names.
        foreign: A service of the realm that is not the broker.
    """

    port: int
    role: str
    may: str
    may_not: str
    foreign: str


def enter(variables: Mapping[str, str]) -> None:
    """Make this worker process part of the realm that the variables name."""
    os.environ.update(variables)


def send(place: Place, *, good: int, bad: int, is_flood: bool = False) -> Answers:
    """One batch; what its answers were. In a flood each bad one comes from a new address.

    Raises:
        TimeoutError: No answer.
    """
    batch = [*_good(place, good)]
    spoiled = [*itertools.islice(_flood(place) if is_flood else _bad(place, batch), bad)]
    # Good and bad in turn; what is sent a second time comes after its first.
    mixed = [one for pair in itertools.zip_longest(batch, spoiled) for one in pair if one is not None]
    return _exchange(place.port, mixed)


def _good(place: Place, count: int) -> Iterator[Request]:
    body = b'{"role":"%b"}' % place.role.encode()
    for token in _tokens(place.may, "HTTP@localhost", count):
        yield Request(_GOOD, _post(token, body), frozenset({200}))


def _bad(place: Place, batch: Sequence[Request]) -> Iterator[Request]:
    """Endlessly, one of each kind in turn."""
    size = len(batch) or 1
    known = _endless(lambda: _tokens(place.may_not, "HTTP@localhost", 50))
    foreign = _endless(lambda: _tokens(place.may, place.foreign, 50))
    unauthorised, denied = frozenset({401}), frozenset({403})
    role = b'{"role":"%b"}' % place.role.encode()
    for number in itertools.count():
        garbage = b"Negotiate " + base64.b64encode(os.urandom(_GARBAGE_BYTES))
        yield Request("garbage token", _post(garbage, role), unauthorised)
        if batch:
            # The one that went out some twenty requests ago.
            spent = batch[max(0, number * len(_KINDS) - 20) % size].content
            yield Request("replayed token", spent, unauthorised)
        yield Request("ticket for another service", _post(next(foreign), role), unauthorised)
        yield Request("wrong host", _post(garbage, role, host=b"evil.example"), frozenset({421}))
        yield Request("malformed JSON", _post(next(known), b'{"role": '), frozenset({400}))
        unknown = b'{"role":"r%b"}' % os.urandom(8).hex().encode()
        yield Request("unknown role", _post(next(known), unknown), denied)
        yield Request("new address", _post(garbage, role), unauthorised, source=_address())


_KINDS = (
    "garbage token",
    "replayed token",
    "ticket for another service",
    "wrong host",
    "malformed JSON",
    "unknown role",
    "new address",
)


def _flood(place: Place) -> Iterator[Request]:
    for one in _bad(place, ()):
        if one.source:
            yield one


def _endless(made: Callable[[], Sequence[bytes]]) -> Iterator[bytes]:
    while True:
        yield from made()


def _address() -> str:
    """Any of the sixteen million that are this machine's own (RFC 1122 section 3.2.1.3)."""
    one, two, three = os.urandom(3)
    return f"127.{one}.{two}.{max(1, three)}"


def _post(authorization: bytes, body: bytes, *, host: bytes = b"localhost") -> bytes:
    return (
        b"POST /v1/credentials HTTP/1.1\r\nHost: %b\r\nAuthorization: %b\r\nX-Zerotrust-Request: 1\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (host, authorization, len(body), body)
    )


def _tokens(ccache: str, service: str, count: int) -> list[bytes]:
    import gssapi  # noqa: PLC0415  # libkrb5 reads the variables of ``enter`` when it is first used
    from gssapi import raw  # noqa: PLC0415

    mechanism = gssapi.OID.from_int_seq(SPNEGO)
    target = raw.import_name(service.encode(), gssapi.NameType.hostbased_service)
    own = raw.acquire_cred_from({b"ccache": ccache.encode()}, usage="initiate", mechs=[mechanism]).creds
    made = []
    for _ in range(count):
        token = raw.init_sec_context(target, creds=own, mech=mechanism).token or b""
        made.append(b"Negotiate " + base64.b64encode(token))
    return made


class _Line:
    """One connection, and the request that is under way on it."""

    def __init__(self, port: int, source: str) -> None:
        origin = (source, 0) if source else None
        self.socket = socket.create_connection(("127.0.0.1", port), _PATIENCE, source_address=origin)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.is_own = bool(source)
        self.held = b""
        self.request: Request | None = None

    def ask(self, request: Request) -> None:
        self.held, self.request = b"", request
        self.socket.sendall(request.content)

    def answer(self) -> int | None:
        """The status, once the answer is whole; 0 where the server hung up before."""
        part = self.socket.recv(_RECEIVE_BYTES)
        self.held += part
        if not part:
            return 0
        head, end, body = self.held.partition(b"\r\n\r\n")
        if not end:
            return None
        lowered = head.lower()
        at = lowered.find(b"content-length:")
        length = int(lowered[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        return int(head[9:12]) if len(body) >= length else None

    @property
    def code(self) -> str:
        """The problem's, where it is one."""
        found = _CODE.search(self.held)
        return found[1].decode() if found else ""

    @property
    def is_over(self) -> bool:
        """Whether the server closes it now, or its address was for one request."""
        return self.is_own or b"connection: close" in self.held.partition(b"\r\n\r\n")[0].lower()


def _exchange(port: int, requests: Sequence[Request]) -> Answers:
    left, found = iter(requests), Answers()
    lines: dict[int, _Line] = {}
    idle: list[_Line] = []
    with select.epoll() as poll:

        def go_on() -> None:
            while len(lines) < CONNECTIONS and (request := next(left, None)) is not None:
                line = idle.pop() if idle and not request.source else _Line(port, request.source)
                lines[line.socket.fileno()] = line
                poll.register(line.socket.fileno(), select.EPOLLIN)
                line.ask(request)

        go_on()
        while lines:
            ready = poll.poll(_PATIENCE)
            if not ready:
                raise TimeoutError(f"no answer within {_PATIENCE:.0f} s")
            for descriptor, _ in ready:
                line = lines[descriptor]
                status = line.answer()
                if status is None:
                    continue
                assert line.request is not None  # noqa: S101  # what is polled was asked
                found[line.request.kind, f"{status} {line.code}".strip(), status in line.request.right] += 1
                poll.unregister(descriptor)
                del lines[descriptor]
                if status == 0 or line.is_over:
                    line.socket.close()
                else:
                    idle.append(line)
            go_on()
    for line in idle:
        line.socket.close()
    return found
