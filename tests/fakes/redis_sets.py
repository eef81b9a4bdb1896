"""Sets of real Redis servers that outlive one of them: a primary with replicas and sentinels, and a cluster.

All on 127.0.0.1, in the clear or by TLS, with one password. A set is impatient where a real one is patient (half a second without
an answer is a failure), so that a failover takes a second or two.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import TypeAdapter
from redis.crc import key_slot

from broker.assembly.redis_user import CLUSTER_COMMANDS
from broker.assembly.shared import CACHE, SHARED, VAULT
from broker.config.redis import Redis, RedisSection
from tests.fakes.front_door import server_tls
from tests.fakes.redis import ACCOUNT, RedisError, RedisServer

SERVICE = "zerotrust"
TAGS = (SHARED, CACHE, VAULT)
ELECTED_SECONDS = 60.0  # Two or three are enough on an idle machine.
DOWN_AFTER_MS = 500
PRIMARIES = 3  # The least that elects.
_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Tls:
    """For every server of a set, and for whoever speaks to it: one authority, and one certificate for 127.0.0.1."""

    ca: Path
    pair: Path

    @classmethod
    def made(cls, folder: Path) -> Tls:
        folder.mkdir(parents=True, exist_ok=True)
        _, ca = server_tls(folder, host="127.0.0.1")
        return cls(ca=ca, pair=folder / "127.0.0.1.pem")

    @property
    def settings(self) -> dict[str, str]:
        """Lines of redis.conf; clients must show a certificate, too."""
        return {
            "port": "0",
            "tls-port": "PORT",
            "tls-cert-file": str(self.pair),
            "tls-key-file": str(self.pair),
            "tls-ca-cert-file": str(self.ca),
            "tls-replication": "yes",
            "tls-cluster": "yes",
        }

    @property
    def section(self) -> dict[str, str]:
        """`redis.tls` of the broker's configuration."""
        return {"ca": str(self.ca), "certificate": str(self.pair), "private_key": str(self.pair)}


class _Set:
    servers: list[RedisServer]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends all of it."""
        for server in self.servers:
            server.close()


class SentinelSet(_Set):
    """A primary, its replicas, and three sentinels.

    Attributes:
        redis: The servers, first the one that is the primary at the start.
        sentinels: Who watches them.
        password: Of the servers and of the sentinels.
    """

    def __init__(self, folder: Path, *, replicas: int = 2, tls: Tls | None = None, **settings: str) -> None:
        """Starts all of it, and returns when the sentinels know everybody."""
        self.tls = tls
        self.servers = []
        try:
            self._begin(folder, replicas, (tls.settings if tls else {}), settings)
        except BaseException:
            self.close()
            raise

    def _begin(self, folder: Path, replicas: int, speaking: dict[str, str], settings: dict[str, str]) -> None:
        common = speaking | {"repl-diskless-sync-delay": "0"} | settings
        first = RedisServer.start(folder / "redis-0", settings=common)
        self.password = first.password
        self.redis = self.servers = [first]
        following = common | {"masterauth": self.password, "replicaof": f"127.0.0.1 {first.port}"}
        # Who is the primary today follows another one tomorrow.
        first.cli("CONFIG", "SET", "masterauth", self.password)
        for number in range(1, replicas + 1):
            self.redis.append(RedisServer.start(folder / f"redis-{number}", settings=following, password=self.password))
        # A sentinel asks a primary for its replicas at once, and then every ten seconds.
        until(lambda: first.cli("INFO", "replication").count("state=online") == replicas)
        watching = speaking | {
            "sentinel monitor": f"{SERVICE} 127.0.0.1 {first.port} 2",
            "sentinel auth-pass": f"{SERVICE} {self.password}",
            "sentinel sentinel-pass": self.password,
            "sentinel down-after-milliseconds": f"{SERVICE} {DOWN_AFTER_MS}",
            "sentinel failover-timeout": f"{SERVICE} 1000",
        }
        self.sentinels: list[RedisServer] = []
        self.servers = [*self.redis]
        for number in range(3):
            folder_of = folder / f"sentinel-{number}"
            self.sentinels.append(
                RedisServer.start(folder_of, settings=watching, password=self.password, mode=("--sentinel",))
            )
            self.servers.append(self.sentinels[-1])
        until(lambda: all(self._knows_all(sentinel) for sentinel in self.sentinels))

    @property
    def section(self) -> dict[str, Any]:
        """`redis` of the broker's configuration."""
        hosts = [f"{each.scheme}://127.0.0.1:{each.port}" for each in self.sentinels]
        where = {"hosts": hosts, "service": SERVICE, "username": ACCOUNT, "password": self.password}
        section: dict[str, Any] = {"sentinel": where, "username": ACCOUNT, "password": self.password}
        return section | ({"tls": self.tls.section} if self.tls else {})

    @property
    def primary(self) -> RedisServer:
        """Whom most sentinels name."""
        named = [int(each.cli("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE).split()[1]) for each in self._alive]
        port = max(set(named), key=named.count)
        return next(server for server in self.redis if server.port == port)

    def elected(self, *, instead_of: RedisServer) -> RedisServer:
        """Waits for another primary than this one, which takes writes."""
        until(lambda: self.primary is not instead_of and "role:master" in self.primary.cli("INFO", "replication"))
        return self.primary

    @property
    def _alive(self) -> list[RedisServer]:
        return [each for each in self.sentinels if each.is_running]

    def _knows_all(self, sentinel: RedisServer) -> bool:
        said = sentinel.cli("SENTINEL", "MASTER", SERVICE).split()
        state = dict(zip(said[::2], said[1::2], strict=False))
        return state["num-slaves"] == str(len(self.redis) - 1) and state["num-other-sentinels"] == "2"


class ClusterSet(_Set):
    """A cluster of three primaries, each with as many replicas."""

    def __init__(self, folder: Path, *, replicas: int = 1) -> None:
        """Starts all of it, and returns when each knows everybody."""
        self.servers = []
        try:
            self._begin(folder, replicas)
        except BaseException:
            self.close()
            raise

    def _begin(self, folder: Path, replicas: int) -> None:
        for number in range(PRIMARIES * (1 + replicas)):
            password = self.servers[0].password if self.servers else None
            self.servers.append(RedisServer.start(folder / str(number), settings=_in_cluster(), password=password))
            self.servers[-1].cli("CONFIG", "SET", "masterauth", self.servers[0].password)
            self.servers[-1].cli("ACL", "SETUSER", ACCOUNT, *(f"+{name}" for name in CLUSTER_COMMANDS))
        hosts = [f"127.0.0.1:{server.port}" for server in self.servers]
        command = ["redis-cli", "-a", self.servers[0].password, "--cluster", "create", *hosts]
        command += ["--cluster-replicas", str(replicas), "--cluster-yes"]
        subprocess.run(command, check=True, capture_output=True, timeout=ELECTED_SECONDS)
        until(lambda: all("cluster_state:ok" in server.cli("CLUSTER", "INFO") for server in self.servers))
        until(
            lambda: all(
                self.primary_of(tag).cli("INFO", "replication").count("state=online") == replicas for tag in TAGS
            )
        )

    @property
    def section(self) -> dict[str, Any]:
        """`redis` of the broker's configuration."""
        hosts = [f"redis://127.0.0.1:{server.port}" for server in self.servers]
        return {"cluster": {"hosts": hosts}, "username": ACCOUNT, "password": self.servers[0].password}

    def primary_of(self, tag: str, *, but: RedisServer | None = None) -> RedisServer:
        """Whom most name for the keys with this tag; of one that is frozen it is not asked."""
        slot = key_slot(tag.encode())
        named = [port for server in self.servers if server is not but for port in _primaries(server, slot)]
        port = max(set(named), key=named.count)
        return next(server for server in self.servers if server.port == port)

    def elected(self, tag: str, *, instead_of: RedisServer) -> RedisServer:
        """Waits for another primary than this one."""
        until(lambda: self.primary_of(tag, but=instead_of) is not instead_of)
        return self.primary_of(tag, but=instead_of)

    @contextlib.contextmanager
    def moving(self, tag: str) -> Iterator[None]:
        """The keys with this tag are on their way to another primary, and at the end they are there."""
        slot, former = str(key_slot(tag.encode())), self.primary_of(tag)
        other = next(primary for name in TAGS if (primary := self.primary_of(name)) is not former)
        there, here = (server.cli("CLUSTER", "MYID").strip() for server in (other, former))
        other.cli("CLUSTER", "SETSLOT", slot, "IMPORTING", here)
        former.cli("CLUSTER", "SETSLOT", slot, "MIGRATING", there)
        while keys := former.cli("CLUSTER", "GETKEYSINSLOT", slot, "100").split():
            target = ("MIGRATE", "127.0.0.1", str(other.port), "", "0", "5000", "AUTH", former.password, "KEYS", *keys)
            former.cli(*target)
        yield
        for server in (other, former):
            server.cli("CLUSTER", "SETSLOT", slot, "NODE", there)


def _in_cluster() -> dict[str, str]:
    # Its bus listens 10,000 ports higher otherwise, where there may be no port any more.
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        bus = probe.getsockname()[1]
    return {
        "cluster-enabled": "yes",
        "cluster-node-timeout": "1000",
        "cluster-port": str(bus),
        "repl-diskless-sync-delay": "0",
        # Where one primary has no replica any more, it is given none of another's.
        "cluster-allow-replica-migration": "no",
    }


def _primaries(server: RedisServer, slot: int) -> Iterator[int]:
    """The port of whoever has the slot, as this one sees it: CLUSTER NODES is id, address, flags, ..., slots."""
    with contextlib.suppress(RedisError, subprocess.TimeoutExpired):
        for line in server.cli("CLUSTER", "NODES").splitlines():
            _, address, flags, *_ = fields = line.split(" ")
            ranges = [span.partition("-") for span in fields[8:] if not span.startswith("[")]
            if "fail" not in flags.split(",") and any(int(a) <= slot <= int(b or a) for a, _, b in ranges):
                yield int(address.partition("@")[0].rpartition(":")[2])


def until(condition: Callable[[], bool], *, seconds: float = ELECTED_SECONDS) -> None:
    """Waits for it; what fails meanwhile (a server that is down) is tried again."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(Exception):
            if condition():
                return
        time.sleep(_POLL_SECONDS)
    raise TimeoutError(f"nothing came of it within {seconds} s")


def section_of(members: dict[str, Any]) -> Redis:
    """What the loader makes of the section `redis`."""
    return TypeAdapter(RedisSection).validate_python(_frozen(members), strict=True)


def _frozen(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _frozen(inner) for key, inner in value.items()}
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
