"""What one request of each kind costs a broker, its Redis and its disk, and what one kept thing takes: one instance, one Redis.

CPU time is of the broker's process and of Redis's, at sixteen connections; sizes are differences of Redis's own count, of the
audit folder and of the broker's share of memory, by many.
"""

from __future__ import annotations

import base64
import contextlib
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from bench import load, machine, tokens
from bench.load import CONNECTIONS
from bench.negotiate import begin_session
from bench.processes import Cores, on_core
from broker import wire
from tests.fakes.broker import BrokerProcess, configuration
from tests.fakes.realm import Realm
from tests.fakes.redis import RedisServer
from tests.fakes.sts import StrictSts, demo, demo_world

USER, SERVICE = "alice", "HTTP@localhost"
ROLES = 1000  # Each is a set of credentials to be fetched and kept.
SESSIONS = 90  # Of one person a hundred are noted (broker.authn.roll).
_ROUNDS, _REQUESTS, _WARM_UP = 5, 500, 300
_CONTEXT = multiprocessing.get_context("spawn")
_FORBIDDEN = "forbidden"
_TURNS_GONE_SECONDS = 3  # Whose turn it is to fetch is kept for 1.5 s (broker.cache.turns).


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one request."""

    broker_us: float
    redis_us: float
    audit_bytes: float


@dataclass(frozen=True, slots=True)
class Alone:
    """Everything that one instance tells."""

    kinds: Mapping[str, Cost]
    redis_bytes: Mapping[str, float]
    pss_bytes: Mapping[str, float]


class Bench:
    """One broker, its Redis, and someone who asks."""

    def __init__(self, broker: BrokerProcess, redis: RedisServer, realm: Realm, client: Mapping[str, str]) -> None:
        self.broker, self.redis, self.realm, self.client = broker, redis, realm, client
        self.port = urlsplit(broker.url).port or 0

    @property
    def pid(self) -> int:
        """The broker's."""
        if self.broker.process is None:
            raise RuntimeError("the broker has ended")
        return self.broker.process.pid

    def cookie(self) -> bytes:
        """A session."""
        token = base64.b64encode(self.realm.client_token(self.client))
        return begin_session(self.port, b"Negotiate " + token)

    def request(self, role: str, header: bytes) -> bytes:
        """For credentials; the header says who asks."""
        body = f'{{"role":"{role}"}}'
        head = (
            f"POST {wire.CREDENTIALS_PATH} HTTP/1.1\r\nHost: localhost:{self.port}\r\n{wire.REQUEST_HEADER}: 1\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        )
        return head.encode() + header + b"\r\n\r\n" + body.encode()

    def redis_seconds(self) -> float:
        """CPU that it has used."""
        info = self._info("cpu")
        return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])

    def redis_size(self) -> float:
        """Bytes that its data and connections take."""
        return float(self._info("memory")["used_memory"])

    def audit_size(self) -> int:
        """Bytes of records and checkpoints."""
        return sum(path.stat().st_size for path in self.broker.audit_directory.iterdir())

    def pss(self) -> float:
        """The broker's proportional share of memory, bytes (proc(5), smaps_rollup)."""
        lines = Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines()
        return 1024.0 * next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))

    def _info(self, section: str) -> dict[str, str]:
        lines = self.redis.cli("INFO", section).splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)


def measure() -> Alone:
    """About a minute on a quiet machine."""
    cores = Cores.of_this_machine()
    both = (cores.server, cores.load)
    with _bench(cores) as bench:
        client = {**bench.realm.env, **bench.client}
        with (
            ProcessPoolExecutor(1, _CONTEXT, tokens.enter, (client, both)) as maker,
            ProcessPoolExecutor(1, _CONTEXT, load.enter, (cores.load,)) as gun,
        ):

            def volley(requests: list[bytes], *, status: int = 200) -> Cost:
                redis, audit = bench.redis_seconds(), bench.audit_size()
                done = gun.submit(load.fire, requests, port=bench.port, server=bench.pid, status=status).result()
                return Cost(
                    broker_us=done.server_cpu / done.count * 1e6,
                    redis_us=(bench.redis_seconds() - redis) / len(requests) * 1e6,
                    audit_bytes=(bench.audit_size() - audit) / len(requests),
                )

            def by_ticket(count: int) -> list[bytes]:
                made = maker.submit(tokens.make, count + CONNECTIONS, SERVICE).result()
                return [bench.request("role0", b"Authorization: " + token) for token in made]

            session = b"Cookie: " + bench.cookie()
            volley(by_ticket(_WARM_UP))
            kinds: dict[str, list[Cost]] = {"ticket": [], "session": [], "refused": []}
            empty, rest = bench.redis_size(), bench.pss()
            kinds["miss"] = [volley([bench.request(f"role{number}", session) for number in range(1, ROLES)])]
            time.sleep(_TURNS_GONE_SECONDS)
            entry, kept = (bench.redis_size() - empty) / (ROLES - 1), (bench.pss() - rest) / (ROLES - 1)
            before = bench.redis_size()
            for _ in range(_ROUNDS):
                kinds["ticket"].append(volley(by_ticket(_REQUESTS)))
            token = (bench.redis_size() - before) / (_ROUNDS * (_REQUESTS + CONNECTIONS))
            for _ in range(_ROUNDS):
                kinds["session"].append(volley([bench.request("role0", session)] * _REQUESTS))
                kinds["refused"].append(volley([bench.request(_FORBIDDEN, session)] * _REQUESTS, status=403))
            before = bench.redis_size()
            for _ in range(SESSIONS):
                bench.cookie()
            # A session was had for a ticket, whose use is remembered as well.
            made = (bench.redis_size() - before) / SESSIONS - token
    return Alone(
        kinds={kind: _median(costs) for kind, costs in kinds.items()},
        redis_bytes={"empty": empty, "entry": entry, "token": token, "session": max(0.0, made)},
        pss_bytes={"rest": rest, "entry": kept},
    )


def _median(costs: list[Cost]) -> Cost:
    return Cost(
        broker_us=statistics.median(cost.broker_us for cost in costs),
        redis_us=statistics.median(cost.redis_us for cost in costs),
        audit_bytes=statistics.median(cost.audit_bytes for cost in costs),
    )


@contextlib.contextmanager
def _bench(cores: Cores) -> Iterator[Bench]:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="scaling-", dir=machine.DISK)))
        with on_core(cores.load):
            realm = stack.enter_context(Realm.start(folder / "realm", principals={USER: "only-for-this-run"}))
            stack.enter_context(realm.entered())
            sts = stack.enter_context(StrictSts(demo_world()))
            redis = stack.enter_context(RedisServer.start(folder / "redis"))
        chain = [
            {"arn": demo.HUB_ROLE, "external_id": demo.HUB_EXTERNAL_ID},
            {"arn": demo.DEVELOPER_ROLE, "external_id": demo.DEVELOPER_EXTERNAL_ID},
        ]
        names = [f"role{number}" for number in range(ROLES)]
        settings = configuration(
            folder,
            keytab=realm.keytab(folder / "http.keytab", "HTTP/localhost"),
            sts_endpoint=sts.url,
            aws={"region": "eu-central-1", "sts_endpoint": sts.url, "sts_rate": "10000/second"},
            roles={name: {"chain": chain} for name in [*names, _FORBIDDEN]},
            rules=[{"name": "everybody", "principals": ["*@EXAMPLE.COM"], "roles": names}],
            redis={"url": redis.url, "password": redis.password},
        )
        with on_core(cores.server):
            broker = stack.enter_context(BrokerProcess(folder, settings, env=realm.env))
        yield Bench(broker, redis, realm, realm.kinit(USER, folder / "ccache"))
