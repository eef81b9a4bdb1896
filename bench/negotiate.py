"""A warm request with a ticket: the broker against Apache, CPU time and the slowest hundredth of the answers.

Warm means that the credentials lie in the broker's cache. All the rest of the way is gone each time: the ticket is accepted,
the policy decides, the sealed entry is opened, the record is signed, chained and on the disk before the answer leaves.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import random
import statistics
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from urllib.parse import urlsplit

from bench import load, tokens
from bench.apache import FILE
from bench.load import CONNECTIONS, Volley
from bench.processes import Cores
from bench.ratios import quantile
from bench.row import Part, compared
from bench.stage import ROLE, SERVICE, Stage

_TAIL = 0.99
# Above this share of the server's CPU the load itself may hide a slow tail.
_LOAD_SHARE = 0.10
# Until the allocator, the replay cache and Python's specialising interpreter have settled.
_WARM_UP = 300
# A spawned worker has none of our threads and sockets, and reads the realm's variables before libkrb5 does.
_CONTEXT = multiprocessing.get_context("spawn")


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
    """Both servers, one right after the other, in the order that chance chose."""

    first: str
    broker: Measured
    apache: Measured


@dataclass(frozen=True, slots=True)
class Target:
    """A server, and what its requests look like around a token."""

    name: str
    port: int
    pid: int
    request: Callable[[bytes], bytes]


def measure(stage: Stage, cores: Cores, *, rounds: int, requests: int, chance: random.Random) -> list[Round]:
    """Measure the rounds, then make sure that what was measured is what it is called.

    Raises:
        UnexpectedAnswer: Anything but 200.
        WrongWork: The broker did not serve from its cache, or has not recorded every answer.
    """
    targets = _targets(stage)
    done = []
    # Two makers on both cores: nothing is measured meanwhile.
    both = (cores.server, cores.load)
    with (
        ProcessPoolExecutor(2, _CONTEXT, tokens.enter, (stage.client, both)) as makers,
        ProcessPoolExecutor(1, _CONTEXT, load.enter, (cores.load,)) as gun,
    ):

        def volley(target: Target, count: int) -> Volley:
            return _volley(target, count, makers=makers, gun=gun)

        for target in targets:
            volley(target, _WARM_UP)
        for _ in range(rounds):
            order = chance.sample(targets, k=len(targets))
            found = {target.name: _per_request(volley(target, requests)) for target in order}
            done.append(Round(first=order[0].name, broker=found["broker"], apache=found["apache"]))
    _check_work(stage, answers=_WARM_UP + rounds * requests + (rounds + 1) * CONNECTIONS)
    return done


def part(rounds: Sequence[Round]) -> Part:
    """The rows of goals 1 and 2."""
    ours, apache = [each.broker for each in rounds], [each.apache for each in rounds]
    rows = [
        compared(
            1,
            "warm Negotiate request, durable audit, against Apache + mod_auth_gssapi: server CPU",
            "us",
            ours=[each.cpu_us for each in ours],
            peer=[each.cpu_us for each in apache],
            goal=1.00,
        ),
        compared(
            2,
            "the same: p99 latency at 16 connections",
            "ms",
            ours=[each.p99_ms for each in ours],
            peer=[each.p99_ms for each in apache],
            goal=0.60,
        ),
    ]
    shares = [statistics.median(each.load_share for each in those) for those in (ours, apache)]
    remarks = [
        f"{len(rounds)} rounds for each server.",
        f"The load generator used {shares[0]:.0%} of the broker's CPU time and {shares[1]:.0%} of Apache's.",
    ]
    if max(shares) > _LOAD_SHARE:
        remarks.append(f"More than {_LOAD_SHARE:.0%}: latencies include the generator's own queue.")
    return Part(rows, [dataclasses.asdict(each) for each in rounds], remarks)


class WrongWork(RuntimeError):
    """The numbers are of something else than a warm, recorded request."""


def _targets(stage: Stage) -> Sequence[Target]:
    if stage.broker.process is None:
        raise RuntimeError("the broker has ended")
    port = urlsplit(stage.broker.url).port or 0
    return (
        Target(name="broker", port=port, pid=stage.broker.process.pid, request=asking_broker(port)),
        Target(name="apache", port=stage.apache.port, pid=stage.apache.pid, request=_asking_apache(stage.apache.port)),
    )


def _volley(target: Target, count: int, *, makers: ProcessPoolExecutor, gun: ProcessPoolExecutor) -> Volley:
    total = count + CONNECTIONS
    shares = [total // 2, total - total // 2]
    made = [token for share in makers.map(tokens.make, shares, [SERVICE] * len(shares)) for token in share]
    requests = [target.request(token) for token in made]
    return gun.submit(load.fire, requests, port=target.port, server=target.pid).result()


def _per_request(volley: Volley) -> Measured:
    return Measured(
        cpu_us=volley.server_cpu / volley.count * 1e6,
        p50_ms=quantile(volley.latencies, 0.5) * 1e3,
        p99_ms=quantile(volley.latencies, _TAIL) * 1e3,
        per_second=volley.count / volley.wall,
        load_share=volley.load_cpu / volley.server_cpu,
    )


def _check_work(stage: Stage, *, answers: int) -> None:
    """One role chain for all requests, and one good record for each answer."""
    chains = len(stage.sts.calls()) / len(stage.broker.settings["roles"][ROLE]["chain"])
    if chains != 1:
        raise WrongWork(f"the broker walked {chains} role chains where one and the cache should have done")
    issued = sum(record["event"] == "issued" for record in stage.broker.records())
    if issued != answers:
        raise WrongWork(f"{answers} answers, but {issued} records of credentials issued")
    verdict = stage.broker.admin("audit", "verify")
    if verdict.returncode:
        raise WrongWork(f"audit verify: {verdict.stdout}{verdict.stderr}")


def asking_broker(port: int) -> Callable[[bytes], bytes]:
    """Makes the whole request of a value of Authorization."""
    body = f'{{"role":"{ROLE}"}}'
    head = (
        f"POST /v1/credentials HTTP/1.1\r\nHost: localhost:{port}\r\nUser-Agent: bench\r\nAccept: */*\r\n"
        f"X-Zerotrust-Request: 1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\nAuthorization: "
    )
    return lambda token: b"%b%b\r\n\r\n%b" % (head.encode(), token, body.encode())


def _asking_apache(port: int) -> Callable[[bytes], bytes]:
    head = f"GET {FILE} HTTP/1.1\r\nHost: localhost:{port}\r\nUser-Agent: bench\r\nAccept: */*\r\nAuthorization: "
    return lambda token: b"%b%b\r\n\r\n" % (head.encode(), token)
