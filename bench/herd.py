"""A thousand people at a broker that was just started: nothing is at hand, and each needs a chain of calls of their own.

Who is refused asks again when ``Retry-After`` says so, until everybody has credentials.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import multiprocessing
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from threading import Event
from urllib.request import urlopen

import aiohttp

from tests.fakes.broker import BrokerProcess, configuration
from tests.fakes.realm import Realm
from tests.fakes.redis import RedisServer
from tests.fakes.sts import StrictSts

PEOPLE = 1000
# Calls of STS a second, and the hops of each chain.
RATE, HOPS = 100, 2
# Each question takes a token; who still has nothing after so many has been let down.
_TRIES = 12
_PATIENCE = 15.0
_OK = 200
_LOOK_EVERY = 0.05


@dataclass(frozen=True, slots=True)
class Herd:
    """What a thousand saw. Times in seconds; ``busiest`` is the most calls that STS took within any second."""

    served_at_once: int
    served: int
    refusals: dict[str, int]
    slowest: float
    until_all: float
    slowest_health: float
    calls: int
    busiest: int
    unrecorded: int
    is_verified: bool

    def __str__(self) -> str:
        refused = ", ".join(f"{count:,} x {code}" for code, count in sorted(self.refusals.items())) or "none"
        return (
            f"{PEOPLE:,} principals ask a broker that was just started, all at once, each for a chain of {HOPS} hops; "
            f"`aws.sts_rate` is {RATE}/second. Served at the first question: {self.served_at_once}. Refused: {refused}; they ask "
            f"again after `Retry-After`, and {self.served:,} have credentials after {self.until_all:.1f} s. Slowest answer "
            f"{self.slowest:.1f} s; slowest /healthz meanwhile {self.slowest_health * 1000:.0f} ms. "
            f"Calls of STS: {self.calls:,}, at most {self.busiest} within a second. "
            f"Answers without a record: {self.unrecorded}; `audit verify` {'passes' if self.is_verified else 'FAILS'}."
        )


@dataclass(frozen=True, slots=True)
class _Answer:
    seconds: float
    status: int
    code: str
    key: str
    retry_after: float


def herd(folder: Path, *, redis: RedisServer, sts: StrictSts) -> Herd:
    """Let them go, and tell what came of it."""
    sts.clear()
    redis.renew()
    users = {f"u{number}": "only-for-this-run" for number in range(PEOPLE)}
    with Realm.start(folder / "realm", principals=users, services=("HTTP/localhost",)) as realm:
        tokens = [_tokens(realm, user, folder) for user in users]
        with _broker(folder, realm, redis, sts) as broker:
            # From a process of its own: this one has a thousand answers to take.
            with multiprocessing.get_context("spawn").Pool(1) as pool, multiprocessing.Manager() as manager:
                over = manager.Event()
                looking = pool.apply_async(_slowest_look, (broker.url, over))
                answers, until_all = asyncio.run(_all(broker.url, tokens))
                over.set()
                health = looking.get()
            ended = broker.stop()
            recorded = Counter(record["access_key_id"] for record in broker.records() if record["event"] == "issued")
            verified = broker.admin("audit", "verify").returncode == 0 and ended == 0
    every = [one for theirs in answers for one in theirs]
    times = [datetime.fromisoformat(call["time"]).timestamp() for call in sts.calls()]
    return Herd(
        served_at_once=sum(theirs[0].status == _OK for theirs in answers),
        served=sum(theirs[-1].status == _OK for theirs in answers),
        refusals=dict(Counter(f"{one.status} {one.code}".strip() for one in every if one.status != _OK)),
        slowest=max(one.seconds for one in every),
        until_all=until_all,
        slowest_health=health,
        calls=len(times),
        busiest=max(sum(begins <= moment < begins + 1 for moment in times) for begins in times),
        unrecorded=(Counter(one.key for one in every if one.key) - recorded).total(),
        is_verified=verified,
    )


@contextlib.contextmanager
def _broker(folder: Path, realm: Realm, redis: RedisServer, sts: StrictSts) -> Iterator[BrokerProcess]:
    password = folder / "redis_password"
    password.touch(mode=0o600)
    password.write_text(redis.password)
    settings = configuration(
        folder,
        keytab=realm.keytab(folder / "http.keytab", "HTTP/localhost"),
        sts_endpoint=sts.url,
        redis={"url": redis.url, "password_file": str(password)},
    )
    settings["aws"]["sts_rate"] = f"{RATE}/second"
    settings["rules"][0]["principals"] = ["*@EXAMPLE.COM"]
    with BrokerProcess(folder, settings, env=realm.env) as broker:
        yield broker


def _tokens(realm: Realm, user: str, folder: Path) -> list[str]:
    client = realm.kinit(user, folder / f"{user}.ccache")
    return [base64.b64encode(realm.client_token(client)).decode() for _ in range(_TRIES)]


def _slowest_look(url: str, over: Event) -> float:
    slowest = 0.0
    while not over.wait(_LOOK_EVERY):
        began = time.monotonic()
        with urlopen(f"{url}/healthz", timeout=_PATIENCE) as response:  # noqa: S310  # the broker's own
            response.read()
        slowest = max(slowest, time.monotonic() - began)
    return slowest


async def _all(url: str, tokens: Sequence[Sequence[str]]) -> tuple[list[list[_Answer]], float]:
    """Everybody's answers, and how long it took until all were done."""
    async with aiohttp.ClientSession(
        base_url=url, connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(_PATIENCE)
    ) as session:
        began = time.monotonic()
        answers = await asyncio.gather(*(_insist(session, theirs) for theirs in tokens))
        return answers, time.monotonic() - began


async def _insist(session: aiohttp.ClientSession, tokens: Sequence[str]) -> list[_Answer]:
    answers: list[_Answer] = []
    for token in tokens:
        answers.append(await _ask(session, token))
        if answers[-1].status == _OK:
            break
        await asyncio.sleep(answers[-1].retry_after)
    return answers


async def _ask(session: aiohttp.ClientSession, token: str) -> _Answer:
    headers = {"Authorization": f"Negotiate {token}", "X-Zerotrust-Request": "1"}
    began = time.monotonic()
    async with session.post("/v1/credentials", json={"role": "developer"}, headers=headers) as response:
        body = await response.json(content_type=None)
        retry_after = float(response.headers.get("Retry-After", 0))
        seconds = time.monotonic() - began
        return _Answer(seconds, response.status, body.get("code", ""), body.get("AccessKeyId", ""), retry_after)
