"""Each fault as it is measured: how a broker is configured for it, what breaks it, and what mends it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.faults import FAULTS
from tests.fakes.broker import BrokerProcess, configuration
from tests.fakes.certificates import server_certificate
from tests.fakes.clockwork import clockwork, set_clock
from tests.fakes.disk import Disk
from tests.fakes.realm import Realm
from tests.fakes.redis import RedisServer
from tests.fakes.relay import Relay
from tests.fakes.resolver import silent_resolver
from tests.fakes.sts import StrictSts, demo

# Of one who answers late: three such answers are more than the broker's patience.
_LATE_SECONDS = 0.12
# 200 keys at 20 ms each, and a look at the clients after every one of them.
SLOWLY_LOADING = {"rdbcompression": "no", "key-load-delay": "20000", "loading-process-events-interval-bytes": "1024"}
_TO_LOAD = "for n = 1, 200 do redis.call('SET', n, string.rep('x', 1000)) end"
# More roles than a user asks for in one case, where each question is to be a miss.
ROLES = 400
_HOURS = 2 * 3600


@dataclass(slots=True)
class Scene:
    """One broker and what can be broken around it."""

    broker: BrokerProcess
    realm: Realm
    redis: RedisServer
    sts: StrictSts
    relay: Relay
    disk: Disk | None
    clock: Mapping[str, str]
    keytab: Path
    ending: contextlib.ExitStack

    def hang_up(self) -> None:
        """SIGHUP."""
        self.broker.reload()


Step = Callable[[Scene], object]


@dataclass(frozen=True, slots=True)
class Case:
    """``row`` counts in ``FAULTS``. With ``misses`` each question is for another role, so that nothing is at hand."""

    row: int
    what: str
    breaks: Step
    mends: Step
    misses: bool = False
    guard: str = "local"
    on_disk: bool = False
    tls: bool = False
    timed: bool = False
    nameless: bool = False
    relayed: bool = False

    @property
    def fault(self) -> str:
        """The row's fault."""
        return FAULTS[self.row].what


def _sts(kind: str, **more: Any) -> Step:
    return lambda scene: scene.sts.fault(kind, **more)


def _well(scene: Scene) -> None:
    scene.sts.clear_faults()


def _redis(*words: str) -> Step:
    return lambda scene: scene.redis.cli(*words)


def _late(seconds: float) -> Step:
    return lambda scene: setattr(scene.relay, "delay", seconds)


def _fail_over(to: str) -> Step:
    def taken(scene: Scene) -> None:
        scene.redis.cli("REPLICAOF", *to.split())
        scene.redis.cli("CLIENT", "KILL", "TYPE", "normal")

    return taken


def _load(scene: Scene) -> None:
    scene.redis.cli("EVAL", _TO_LOAD, "0")
    scene.redis.cli("SAVE")
    scene.redis.restart(emptied=False, patiently=False)


def _loaded(scene: Scene) -> None:
    scene.redis.restart()


def _nothing(_: Scene) -> None:
    pass


def _half_a_keytab(scene: Scene) -> None:
    content = scene.keytab.read_bytes()
    scene.keytab.write_bytes(content[: len(content) // 2])
    scene.hang_up()


def _whole_keytab(scene: Scene) -> None:
    scene.realm.keytab(scene.keytab, "HTTP/localhost")
    scene.hang_up()


def _bad_file(scene: Scene) -> None:
    scene.broker.config.write_text("roles: [")
    scene.hang_up()


def _good_file(scene: Scene) -> None:
    scene.broker.write_configuration()
    scene.hang_up()


def _half_a_certificate(scene: Scene) -> None:
    path = Path(scene.broker.settings["tls"]["certificate"])
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    scene.hang_up()


def _whole_certificate(scene: Scene) -> None:
    server_certificate(scene.broker.folder, "ecdsa-sha256")
    scene.hang_up()


def _freeze_disk(scene: Scene) -> None:
    assert scene.disk is not None  # noqa: S101  # of a case that is ``on_disk``
    scene.ending.enter_context(scene.disk.frozen())


def _disk(step: Callable[[Disk], object]) -> Step:
    def taken(scene: Scene) -> None:
        assert scene.disk is not None  # noqa: S101  # of a case that is ``on_disk``
        step(scene.disk)

    return taken


def _restart(scene: Scene) -> None:
    port = scene.broker.url.rpartition(":")[2]
    scheme = scene.broker.url.partition(":")[0]
    scene.broker.settings["server"]["listen"] = [f"{scheme}://127.0.0.1:{port}"]
    scene.broker.write_configuration()
    scene.broker.start()


def _with_a_name(scene: Scene) -> None:
    scene.broker.settings["aws"]["sts_endpoint"] = scene.sts.url
    scene.broker.stop()
    _restart(scene)


CASES = (
    Case(0, "Redis stopped", lambda scene: scene.redis.stop(), lambda scene: scene.redis.restart(), misses=True),
    Case(0, "Redis frozen", lambda scene: scene.redis.freeze(), lambda scene: scene.redis.thaw(), misses=True),
    Case(
        0,
        "Redis frozen, replay guard shared",
        lambda scene: scene.redis.freeze(),
        lambda scene: scene.redis.thaw(),
        guard="shared",
    ),
    Case(0, "Redis answers 120 ms late", _late(_LATE_SECONDS), _late(0.0), misses=True, relayed=True),
    Case(1, "Redis flushed", _redis("FLUSHALL"), _nothing),
    Case(
        1,
        "Redis full",
        _redis("CONFIG", "SET", "maxmemory", "1"),
        _redis("CONFIG", "SET", "maxmemory", "0"),
        misses=True,
    ),
    Case(
        1,
        "Redis takes no writes",
        _redis("CONFIG", "SET", "min-replicas-to-write", "1"),
        _redis("CONFIG", "SET", "min-replicas-to-write", "0"),
        misses=True,
    ),
    Case(1, "Redis failed over", _fail_over("127.0.0.1 1"), _fail_over("NO ONE"), misses=True),
    Case(1, "Redis loads its data", _load, _loaded, misses=True),
    Case(2, "STS throttles, nothing at hand", _sts("throttle"), _well, misses=True),
    Case(2, "STS throttles, credentials at hand", _sts("throttle"), _well),
    Case(3, "STS answers 500", _sts("error500"), _well, misses=True),
    Case(3, "STS hangs", _sts("hang", seconds=10), _well, misses=True),
    Case(3, "STS sends HTML with 200", _sts("html"), _well, misses=True),
    Case(3, "the name server hangs; put right by a restart", _nothing, _with_a_name, misses=True, nameless=True),
    Case(4, "the second hop is denied", _sts("deny", role_arn=demo.DEVELOPER_ROLE), _well, misses=True),
    Case(4, "base credentials ended, once", _sts("expired_base", count=1), _well, misses=True),
    Case(4, "clock skew with STS", _sts("clock_skew"), _well, misses=True),
    Case(5, "KDC stopped", lambda scene: scene.realm.stop(), lambda scene: scene.realm.start_kdc()),
    Case(6, "keytab cut in half", _half_a_keytab, _whole_keytab),
    Case(7, "audit disk full", _disk(Disk.fill), _disk(Disk.empty), on_disk=True),
    Case(7, "audit disk gone (EIO)", _disk(Disk.go_away), _disk(Disk.repair), on_disk=True),
    Case(7, "audit disk hangs", _freeze_disk, lambda scene: scene.ending.close(), on_disk=True),
    Case(8, "kill -9, started again", lambda scene: scene.broker.kill(), _restart),
    Case(9, "SIGTERM under load, started again", lambda scene: scene.broker.stop(), _restart),
    Case(9, "SIGHUP with a bad file", _bad_file, _good_file),
    Case(10, "certificate cut in half", _half_a_certificate, _whole_certificate, tls=True),
    Case(
        11,
        "clock set ahead by two hours, and back",
        lambda scene: set_clock(scene.clock, wall=_HOURS),
        lambda scene: set_clock(scene.clock, wall=0),
        timed=True,
    ),
)


@contextlib.contextmanager
def scene_of(case: Case, folder: Path, *, realm: Realm, redis: RedisServer, sts: StrictSts) -> Iterator[Scene]:
    """The broker that a case is about, and what it breaks, whole."""
    with contextlib.ExitStack() as stack:
        sts.clear()
        redis.renew()
        disk = stack.enter_context(Disk(folder)) if case.on_disk else None
        clock = clockwork(folder) if case.timed else {}
        password = folder / "redis_password"
        password.touch(mode=0o600)
        password.write_text(redis.password)
        keytab = realm.keytab(folder / "http.keytab", "HTTP/localhost")
        relay = stack.enter_context(Relay(redis.port))
        url = redis.url.replace(str(redis.port), str(relay.port)) if case.relayed else redis.url
        sections: dict[str, Any] = {"redis": {"url": url, "password_file": str(password)}}
        if disk is not None:
            sections["audit"] = {"directory": str(disk.path / "audit")}
            sections["state"] = {"directory": str(folder / "state")}
        if case.tls:
            made = server_certificate(folder, "ecdsa-sha256")
            sections["tls"] = {"certificate": str(made.certificate), "private_key": str(made.key)}
            sections["server"] = {"listen": ["https://127.0.0.1:0"], "hostnames": ["localhost"]}
        settings = configuration(folder, keytab=keytab, sts_endpoint=sts.url, **sections)
        settings["kerberos"]["replay_guard"] = case.guard
        many = {f"role{number}": settings["roles"]["developer"] for number in range(ROLES)}
        settings["roles"] = {"developer": settings["roles"]["developer"], **many}
        settings["rules"][0]["roles"] = list(settings["roles"])
        around: dict[str, Any] = {}
        if case.nameless:
            settings["aws"]["sts_endpoint"] = "https://sts.example.com"
            around["inside"] = stack.enter_context(silent_resolver(folder))
        broker = stack.enter_context(BrokerProcess(folder, settings, env={**realm.env, **clock}, **around))
        ending = stack.enter_context(contextlib.ExitStack())
        yield Scene(broker, realm, redis, sts, relay, disk, clock, keytab, ending)
