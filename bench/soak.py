"""``python -m bench.soak --good N --bad N``: so many good and bad requests to one broker, and what it holds meanwhile.

A real KDC, a real Redis and a strict STS; the broker has limits, the shared replay guard and a durable log, as in production. Bad
requests are garbage and replayed tokens, tickets for another service, wrong hosts, malformed JSON, roles that do not exist, and
new addresses without end. Exit code 0 where every answer was right and nothing grew.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from bench import crowd, curve, machine
from bench.crowd import Answers, Place
from bench.curve import FLAT_BYTES, Point
from tests.fakes.broker import BrokerProcess, configuration
from tests.fakes.realm import Realm
from tests.fakes.redis import RedisServer
from tests.fakes.sts import StrictSts, demo_world

RESULT = Path(__file__).with_name("soak.json")
_WORKERS = 2
# All workers' together.
CONNECTIONS = _WORKERS * crowd.CONNECTIONS
_BATCH = 500  # good ones, and as many bad ones at most
_POINTS = 100
# Of the bad ones: so many come from new addresses first, so that what is kept of each (``authz.limits``) has its full size early.
FLOOD = 0.1
# As on a disk, and never on a tmpfs (hier(7)).


@dataclass(frozen=True, slots=True)
class House:
    """What a soak needs: the broker's process and Redis, and where to send requests."""

    broker: BrokerProcess
    redis: RedisServer
    realm: Realm
    place: Place

    def look(self, requests: int, started: float) -> Point:
        """One look at the broker and at Redis."""
        if self.broker.process is None or self.broker.process.poll() is not None:
            raise RuntimeError(f"the broker ended:\n{self.broker.output.read_text()[-2000:]}")
        told = dict(line.partition(":")[::2] for line in self.redis.cli("INFO", "memory").splitlines())
        stored = int(told["used_memory"]), int(self.redis.cli("DBSIZE"))
        seconds = time.monotonic() - started
        return curve.look(self.broker.process.pid, requests=requests, seconds=seconds, redis=stored)


@contextlib.contextmanager
def house(folder: Path, *, limits: bool = True) -> Iterator[House]:
    """A broker in front of a realm of its own, with Redis and STS, ended with the block.

    With ``limits`` it counts requests by asker and address, and keeps up to ``authz.limits.NAMES`` addresses in mind.
    """
    with contextlib.ExitStack() as stack:
        users = {"alice": "only-for-this-run", "mallory": "only-for-this-run"}
        services = ("HTTP/localhost", "host/localhost")
        realm = stack.enter_context(Realm.start(folder / "realm", principals=users, services=services))
        redis = stack.enter_context(RedisServer.start(folder / "redis"))
        sts = stack.enter_context(StrictSts(demo_world()))
        home = folder / "broker"
        home.mkdir(mode=0o700)
        password = home / "redis_password"
        password.touch(mode=0o600)
        password.write_text(redis.password)
        rate = "1000000/second"  # counted all the same
        settings = configuration(
            home,
            keytab=realm.keytab(home / "http.keytab", "HTTP/localhost"),
            sts_endpoint=sts.url,
            redis={"url": redis.url, "password_file": str(password)},
            server={
                "listen": ["http://127.0.0.1:0"],
                "hostnames": ["localhost"],
                **({"rate_limit": {"per_principal": rate, "per_address": rate}} if limits else {}),
            },
        )
        broker = stack.enter_context(BrokerProcess(home, settings, env=realm.env))
        caches = [realm.kinit(user, folder / user)["KRB5CCNAME"] for user in users]
        place = Place(
            port=int(broker.url.rpartition(":")[2]),
            role="developer",
            may=caches[0],
            may_not=caches[1],
            foreign="host@localhost",
        )
        yield House(broker, redis, realm, place)


def run(
    here: House, *, good: int, bad: int, points: int = _POINTS, tell: Callable[[Point], None] | None = None
) -> tuple[list[Point], Answers]:
    """Send them all; what the broker held meanwhile, and what was answered.

    Raises:
        RuntimeError: The broker ended.
    """
    started, answers, done, seen = time.monotonic(), Answers(), 0, list[Point]()
    whole = good + bad
    with ProcessPoolExecutor(
        _WORKERS, multiprocessing.get_context("spawn"), initializer=crowd.enter, initargs=(here.realm.env,)
    ) as workers:
        batches = _batches(good, bad, size=max(1, min(_BATCH, max(good, bad) // points)))
        flood = bad * FLOOD
        running: set[Future[Answers]] = set()
        seen.append(here.look(0, started))
        while True:
            while len(running) < _WORKERS and (batch := next(batches, None)) is not None:
                running.add(workers.submit(crowd.send, here.place, good=batch[0], bad=batch[1], is_flood=flood > 0))
                flood -= batch[1]
            if not running:
                break
            ended, running = wait(running, return_when=FIRST_COMPLETED)
            for future in ended:
                answers += future.result()
            done = sum(answers.values())
            if done >= len(seen) * whole / points:
                seen.append(here.look(done, started))
                if tell is not None:
                    tell(seen[-1])
    return seen, answers


def _batches(good: int, bad: int, *, size: int) -> Iterator[tuple[int, int]]:
    count = max(1, -(-max(good, bad) // size))
    for number in range(count):
        yield tuple((number + 1) * each // count - number * each // count for each in (good, bad))  # type: ignore[misc]


def wrong(answers: Answers) -> Answers:
    """Those that are not what they should be."""
    return Answers({key: count for key, count in answers.items() if not key[2]})


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--good", type=int, default=1_000_000)
    parser.add_argument("--bad", type=int, default=1_000_000)
    parser.add_argument("--output", type=Path, default=RESULT, help="where the numbers go")
    arguments = parser.parse_args()
    facts = machine.facts()
    with tempfile.TemporaryDirectory(prefix="soak-", dir=machine.DISK) as folder, house(Path(folder)) as here:
        seen, answers = run(here, good=arguments.good, bad=arguments.bad, tell=_tell)
        log = here.broker.output.stat().st_size
        ended = here.broker.stop()
    grown = curve.growth(seen)
    said = {
        "machine": facts,
        "good": arguments.good,
        "bad": arguments.bad,
        "answers": [[kind, status, is_right, count] for (kind, status, is_right), count in sorted(answers.items())],
        "growth_bytes_a_request": grown,
        "log_bytes": log,
        "points": [dataclasses.asdict(point) for point in seen],
    }
    arguments.output.write_text(json.dumps(said, indent=1) + "\n")
    print(f"{grown:+.2f} octets a request after the warm-up; wrong answers: {dict(wrong(answers)) or 'none'}")
    sys.exit(0 if ended == 0 and grown <= FLAT_BYTES and not wrong(answers) else 1)


def _tell(point: Point) -> None:
    print(
        f"{point.requests:>9,} requests {point.seconds:7.0f} s  RSS {point.rss / 1e6:6.1f} MB  PSS {point.pss / 1e6:6.1f} MB  "
        f"descriptors {point.descriptors:4}  threads {point.threads:3}  "
        f"Redis {point.redis_bytes / 1e6:6.1f} MB, {point.redis_keys:,} keys",
        flush=True,
    )


if __name__ == "__main__":
    main()
