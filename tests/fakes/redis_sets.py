"""Sets of real Redis servers that outlive one of them: a primary with replicas and sentinels, and a cluster.

All on 127.0.0.1, in the clear or by TLS, with one password. A set is impatient where a real one is patient (half a second without
an answer is a failure), so that a failover takes a second or two.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import TypeAdapter

from broker.config.redis import Redis, RedisSection
from tests.fakes.front_door import server_tls
from tests.fakes.redis import ACCOUNT, RedisServer

SERVICE = "zerotrust"
ELECTED_SECONDS = 60.0  # Two or three are enough on an idle machine.
DOWN_AFTER_MS = 500
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
