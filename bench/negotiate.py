"""A warm request with a ticket or a session: the broker against Apache and a naive broker, CPU time and the slowest hundredth.

Warm means that the credentials lie in the broker's cache. All the rest of the way is gone each time: the ticket is accepted or
the session checked, the policy decides, the sealed entry is opened, the record is signed, chained and on the disk before the
answer leaves.
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import multiprocessing
import random
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from urllib.parse import urlsplit

from bench import load, tokens
from bench.apache import FILE, SESSION_FILE
from bench.load import CONNECTIONS, Volley
from bench.processes import Cores
from bench.ratios import quantile
from bench.row import Part, Row, compared
from bench.stage import ROLE, SERVICE, Stage
from broker import wire

# What shows who asks.
TICKET, SESSION = "ticket", "session"
BROKER, APACHE, NAIVE = "broker", "apache", "naive"
_SERVERS = (BROKER, APACHE, NAIVE)

_TAIL = 0.99
# Above this share of the server's CPU the load itself may hide a slow tail.
_LOAD_SHARE = 0.10
# Until the allocator, the replay cache and Python's specialising interpreter have settled.
_WARM_UP = 300
# A spawned worker has none of our threads and sockets, and reads the realm's variables before libkrb5 does.
_CONTEXT = multiprocessing.get_context("spawn")
_PATIENCE = 20.0  # seconds, for one answer


@dataclass(frozen=True, slots=True)
class Measured:
    """One volley against one server, per request: CPU in microseconds, the rest in milliseconds or as a share."""

    cpu_us: float
    p50_ms: float
    p99_ms: float
    per_second: float
    load_share: float


@dataclass(frozen=True, slots=True)
class Round:
    """Every server by ticket and by session, one volley right after the other, in the order that chance chose.

    Attributes:
        order: Names and kinds, in the order they were measured.
        ticket: By name of the server.
        session: By name of the server.
    """

    order: Sequence[tuple[str, str]]
    ticket: Mapping[str, Measured]
    session: Mapping[str, Measured]


@dataclass(frozen=True, slots=True)
class Target:
    """A server that is asked in one of the two ways.

    Attributes:
        request: Makes a whole request of the value that shows who asks.
        session: That value where it is the same each time; a ticket is good for one request.
    """

    name: str
    kind: str
    port: int
    pid: int
    request: Callable[[bytes], bytes]
    session: bytes | None = None


def measure(stage: Stage, cores: Cores, *, rounds: int, requests: int, chance: random.Random) -> list[Round]:
    """Measure the rounds, then make sure that what was measured is what it is called.

    Raises:
        UnexpectedAnswer: Anything but 200.
        WrongWork: A broker did not serve from its cache, or has not recorded every answer; or there was no session.
    """
    with _shooting(stage, cores) as (targets, volley):
        for target in targets:
            volley(target, _WARM_UP)
        stage.sts.clear_calls()
        done = [_round(chance.sample(targets, k=len(targets)), volley, requests) for _ in range(rounds)]
    kinds = len(targets) // len(_SERVERS)
    _check_work(stage, answers=kinds * (_WARM_UP + rounds * requests + (rounds + 1) * CONNECTIONS))
    return done


def part(rounds: Sequence[Round]) -> Part:
    """The rows of goals 1 to 4."""
    ticket, session = ([getattr(each, kind) for each in rounds] for kind in (TICKET, SESSION))
    rows = [
        _row(
            1,
            "warm Negotiate request, durable audit, against Apache + mod_auth_gssapi: server CPU",
            "cpu_us",
            ticket,
            APACHE,
            goal=1.00,
        ),
        _row(2, "the same: p99 latency at 16 connections", "p99_ms", ticket, APACHE, goal=0.60),
        _row(
            3,
            "warm request with a session, against Apache with GssapiUseSessions: server CPU",
            "cpu_us",
            session,
            APACHE,
            goal=1.50,
        ),
        _row(
            4, "warm Negotiate request, against a naive aiohttp broker: server CPU", "cpu_us", ticket, NAIVE, goal=0.44
        ),
        _row(4, "warm request with a session, against the same: server CPU", "cpu_us", session, NAIVE, goal=0.25),
    ]
    return Part(rows, [dataclasses.asdict(each) for each in rounds], _remarks(ticket, session))


def _row(
    number: int, what: str, figure: str, found: Sequence[Mapping[str, Measured]], peer: str, *, goal: float
) -> Row:
    """The broker against a peer, by one of the figures of ``Measured``, which ends in its unit."""
    unit = figure.rpartition("_")[2]
    return compared(number, what, unit, ours=_all(found, BROKER, figure), peer=_all(found, peer, figure), goal=goal)


def _remarks(ticket: Sequence[Mapping[str, Measured]], session: Sequence[Mapping[str, Measured]]) -> list[str]:
    tails = ", ".join(f"{name} {statistics.median(_all(session, name, 'p99_ms')):.3g}" for name in _SERVERS)
    shares = {
        kind: {name: statistics.median(_all(found, name, "load_share")) for name in _SERVERS}
        for kind, found in ((TICKET, ticket), (SESSION, session))
    }
    said = "; ".join(
        f"by {kind} " + ", ".join(f"{name} {share:.0%}" for name, share in each.items())
        for kind, each in shares.items()
    )
    remarks = [
        f"{len(ticket)} rounds for each server by ticket and by session.",
        f"With a session, p99 in ms: {tails}.",
        f"The load generator's CPU time as a share of the server's: {said}.",
    ]
    if max(share for each in shares.values() for share in each.values()) > _LOAD_SHARE:
        remarks.append(f"More than {_LOAD_SHARE:.0%}: latencies include the generator's own queue.")
    return remarks


def _all(found: Sequence[Mapping[str, Measured]], name: str, figure: str) -> list[float]:
    return [getattr(each[name], figure) for each in found]


class WrongWork(RuntimeError):
    """The numbers are of something else than a warm, recorded request."""


@contextlib.contextmanager
def _shooting(stage: Stage, cores: Cores) -> Iterator[tuple[Sequence[Target], Callable[[Target, int], Volley]]]:
    """Everything that is measured, and how so many requests are sent to one of it."""
    # Two makers on both cores: nothing is measured meanwhile.
    both = (cores.server, cores.load)
    with (
        ProcessPoolExecutor(2, _CONTEXT, tokens.enter, (stage.client, both)) as makers,
        ProcessPoolExecutor(1, _CONTEXT, load.enter, (cores.load,)) as gun,
    ):

        def tickets(count: int) -> list[bytes]:
            shares = [count // 2, count - count // 2]
            return [token for share in makers.map(tokens.make, shares, [SERVICE] * len(shares)) for token in share]

        def volley(target: Target, count: int) -> Volley:
            total = count + CONNECTIONS
            values = tickets(total) if target.session is None else [target.session] * total
            requests = [target.request(value) for value in values]
            return gun.submit(load.fire, requests, port=target.port, server=target.pid).result()

        yield _targets(stage, tickets(len(_SERVERS))), volley


def _targets(stage: Stage, tickets: Sequence[bytes]) -> Sequence[Target]:
    """Each server in both ways; a ticket for each begins its session."""
    if stage.broker.process is None:
        raise RuntimeError("the broker has ended")
    servers = {
        BROKER: (urlsplit(stage.broker.url).port or 0, stage.broker.process.pid),
        APACHE: (stage.apache.port, stage.apache.pid),
        NAIVE: (stage.naive.port, stage.naive.pid),
    }
    targets = []
    for (name, (port, pid)), ticket in zip(servers.items(), tickets, strict=True):
        if name == APACHE:
            requests = asking_apache(port, FILE, "Authorization"), asking_apache(port, SESSION_FILE, "Cookie")
            cookie = begin_session(port, ticket, method="GET", path=SESSION_FILE)
        else:
            requests = asking_broker(port), asking_broker(port, "Cookie")
            cookie = begin_session(port, ticket)
        targets.append(Target(name=name, kind=TICKET, port=port, pid=pid, request=requests[0]))
        targets.append(Target(name=name, kind=SESSION, port=port, pid=pid, request=requests[1], session=cookie))
    return targets


def begin_session(port: int, ticket: bytes, *, method: str = "POST", path: str = wire.SESSIONS_PATH) -> bytes:
    """The value of Cookie that a server gives for a value of Authorization.

    Raises:
        WrongWork: It gives none.
    """
    connection = http.client.HTTPConnection("localhost", port, timeout=_PATIENCE)
    with contextlib.closing(connection):
        headers = {"Authorization": ticket.decode(), wire.REQUEST_HEADER: wire.REQUEST_HEADER_VALUE}
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        said, given = answer.read(), answer.headers["Set-Cookie"]
    if given is None:
        raise WrongWork(f"no session: {answer.status} {said!r}")
    return given.partition(";")[0].encode()


def _round(order: Sequence[Target], volley: Callable[[Target, int], Volley], requests: int) -> Round:
    found: dict[str, dict[str, Measured]] = {TICKET: {}, SESSION: {}}
    for target in order:
        found[target.kind][target.name] = _per_request(volley(target, requests))
    return Round(order=[(target.name, target.kind) for target in order], **found)


def _per_request(volley: Volley) -> Measured:
    return Measured(
        cpu_us=volley.server_cpu / volley.count * 1e6,
        p50_ms=quantile(volley.latencies, 0.5) * 1e3,
        p99_ms=quantile(volley.latencies, _TAIL) * 1e3,
        per_second=volley.count / volley.wall,
        load_share=volley.load_cpu / volley.server_cpu,
    )


def _check_work(stage: Stage, *, answers: int) -> None:
    """No role chain after the warm-up, and one good record for each answer."""
    if calls := stage.sts.calls():
        raise WrongWork(f"the brokers asked STS {len(calls)} times where their caches should have done")
    recorded = {BROKER: stage.broker.records(), NAIVE: stage.naive.events()}
    for name, records in recorded.items():
        issued = sum(record["event"] == "issued" for record in records)
        if issued != answers:
            raise WrongWork(f"{name}: {answers} answers, but {issued} records of credentials issued")
    verdict = stage.broker.admin("audit", "verify")
    if verdict.returncode:
        raise WrongWork(f"audit verify: {verdict.stdout}{verdict.stderr}")


def asking_broker(port: int, header: str = "Authorization") -> Callable[[bytes], bytes]:
    """Makes the whole request of the header's value, which says who asks."""
    body = f'{{"role":"{ROLE}"}}'
    head = (
        f"POST {wire.CREDENTIALS_PATH} HTTP/1.1\r\nHost: localhost:{port}\r\nUser-Agent: bench\r\nAccept: */*\r\n"
        f"X-Zerotrust-Request: 1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{header}: "
    )
    return lambda value: b"%b%b\r\n\r\n%b" % (head.encode(), value, body.encode())


def asking_apache(port: int, path: str, header: str) -> Callable[[bytes], bytes]:
    """Makes the whole request of the header's value, which says who asks."""
    head = f"GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nUser-Agent: bench\r\nAccept: */*\r\n{header}: "
    return lambda value: b"%b%b\r\n\r\n" % (head.encode(), value)
