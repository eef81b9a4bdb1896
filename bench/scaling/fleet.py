"""Many instances, each on a host of its own in a network namespace, with one quorum of Redis.

What they cost when nobody asks, how long news take to all of them, and how often STS is asked when everybody comes at once.

They share two cores here, so how much they serve together says nothing; that is reckoned from the cost of one request.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench import machine
from bench.processes import cpu_seconds
from tests.fakes.site import HOSTS, Site
from tests.fakes.traffic import Traffic

INSTANCES = 16
_PEOPLE = tuple(f"user{number}" for number in range(50))
_IDLE_SECONDS = 20.0
_SETTLED_SECONDS = 10.0  # Until every instance has heard every other's beat.
_EARLY = _REVOKED = _PEOPLE[0]
_SERVED = 200
HOPS = 2


def measure(instances: int = INSTANCES) -> Mapping[str, float]:
    """Members as ``Measured.fleet`` has them.

    `idle_us` and `redis_us_idle` are CPU microseconds a second of an instance that nobody asks, and of Redis for it;
    `redis_commands` what it asks Redis in a second. The `herd_...` are everybody at every instance at once, with nothing cached.
    `revoked_seconds`: from the first instance that stopped serving somebody to the last.
    """
    names = (*HOSTS, *(f"host{number}" for number in range(len(HOSTS) + 1, instances + 1)))[:instances]
    with (
        tempfile.TemporaryDirectory(prefix="fleet-", dir=machine.DISK) as folder,
        Site(Path(folder), brokers=names, people=_PEOPLE, sts_latency_ms=60) as site,
    ):
        time.sleep(_SETTLED_SECONDS)
        return {"instances": len(site.brokers), **_idle(site), **_herd(site), **_revocation(site)}


def _idle(site: Site) -> Mapping[str, float]:
    primary = site.quorum.nodes[site.quorum.primary or HOSTS[0]]
    pids = [broker.process.pid for broker in site.brokers.values() if broker.process]

    def look() -> tuple[float, float, float]:
        cpu, stats = primary.says("INFO", "cpu"), primary.says("INFO", "stats")
        redis = float(cpu["used_cpu_user"]) + float(cpu["used_cpu_sys"])
        return sum(map(cpu_seconds, pids)), redis, float(stats["total_commands_processed"])

    before = look()
    time.sleep(_IDLE_SECONDS)
    brokers, redis, commands = (
        (now - then) / _IDLE_SECONDS / len(pids) for now, then in zip(look(), before, strict=True)
    )
    return {"idle_us": brokers * 1e6, "redis_us_idle": redis * 1e6, "redis_commands": commands}


def _herd(site: Site) -> Mapping[str, float]:
    traffic = Traffic(site, people=_PEOPLE)
    for name in site.brokers:
        # What an instance loads at its first call of STS is no part of a herd.
        traffic.ask(name, traffic.token(_EARLY))
    asked = [(name, traffic.token(user)) for user in _PEOPLE if user != _EARLY for name in site.brokers]
    site.sts.clear_calls()
    began = time.monotonic()
    with ThreadPoolExecutor(len(site.brokers)) as threads:
        answers = list(threads.map(lambda pair: traffic.ask(*pair), asked))
    took = time.monotonic() - began
    return {
        "herd_people": len(_PEOPLE) - 1,
        "herd_calls": len(site.sts.calls()),
        "herd_alone": len(asked) * HOPS,
        "herd_seconds": took,
        "herd_refused": sum(answer.status != _SERVED for answer in answers),
    }


def _revocation(site: Site) -> Mapping[str, float]:
    """Everybody of a fleet is asked over and over; the last answer behind the revocation counts."""
    traffic, stop = Traffic(site, people=_PEOPLE), threading.Event()
    cookie = traffic.session(_REVOKED, next(iter(site.brokers)))

    def ask(broker: str) -> None:
        while not stop.is_set():
            traffic.by_session(broker, _REVOKED, cookie)

    with ThreadPoolExecutor(len(site.brokers)) as threads:
        asking = [threads.submit(ask, name) for name in site.brokers]
        time.sleep(1)
        said = site.admin(next(iter(site.brokers)), "revoke-sessions", "--user", f"{_REVOKED}@EXAMPLE.COM")
        # Said behind the waiting for everybody's word; the record says when it began to count.
        time.sleep(2)
        stop.set()
        for each in asking:
            each.result()
    if said.returncode:
        raise RuntimeError(said.stdout + said.stderr)
    first = min(each.began for each in traffic.attempts if each.status != _SERVED)
    last = max((each.ended for each in traffic.attempts if each.status == _SERVED), default=first)
    return {"revoked_seconds": max(0.0, last - first)}
