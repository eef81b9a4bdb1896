"""A Redis and a Sentinel on each of several hosts, with TLS between all of them, as docs/redis.md has it.

One certificate stands for all, with every address in it: who may speak for which host is no question here. The test looks at each
server over its Unix socket, which no cut of the network concerns.
"""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis
from redis.exceptions import RedisError

from tests.fakes.certificates import ServerCertificate, server_certificate
from tests.fakes.hosts import Host
from tests.fakes.server_process import ServerProcess
from tests.fakes.until import eventually

SERVICE = "broker"
PORT, SENTINEL_PORT = 6379, 26379
# Short, so that a test is; an operator's network may need more (docs/redis.md). Two of three must agree.
DOWN_AFTER_MS = 1000
FAILOVER_TIMEOUT_MS = 3000
QUORUM = 2
_LOOK_SECONDS = 2.0


class RedisNode(ServerProcess):
    """One redis-server of the quorum, or one Sentinel."""

    def __init__(
        self, host: Host, folder: Path, lines: Sequence[str], *, password: str, arguments: Sequence[str] = ()
    ) -> None:
        """Write the configuration; Sentinel writes what it learns into the same file."""
        self.host = host
        self.folder = folder
        folder.mkdir(mode=0o700, parents=True)
        self._conf = folder / "redis.conf"
        self._conf.touch(mode=0o600)
        own = [f"bind {host.address}", "port 0", f"dir {folder}", f"logfile {folder}/log", f"unixsocket {folder}/s"]
        self._conf.write_text("\n".join([*own, "unixsocketperm 600", *lines, ""]))
        self._arguments = arguments
        self._client = redis.Redis(
            unix_socket_path=f"{folder}/s", password=password, socket_timeout=_LOOK_SECONDS, decode_responses=True
        )

    def start(self, *arguments: str) -> Self:
        """Return when it answers; arguments count before the configuration's lines."""
        command = self.host.inside("redis-server", str(self._conf), *self._arguments, *arguments)
        self._server = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        eventually(lambda: self.says("PING"))
        return self

    def says(self, *command: str) -> Any:
        """What it answers over its Unix socket; None when it does not."""
        try:
            return self._client.execute_command(*command)
        except (RedisError, OSError):
            return None

    def kill(self) -> None:
        """SIGKILL."""
        if self._server is not None:
            self._server.kill()
            self._server.wait()
            self._server = None

    def close(self) -> None:
        """See ``ServerProcess``."""
        self._client.close()
        self.kill()

    @property
    def is_primary(self) -> bool:
        """By its own word."""
        role = self.says("ROLE")
        return bool(role) and role[0] == "master"

    @property
    def replicas(self) -> int:
        """How many it has in step with it."""
        role = self.says("ROLE")
        return len(role[2]) if role and role[0] == "master" else 0


class Quorum:
    """A primary on the first host, replicas on the others, and a Sentinel on each.

    In the block all of them run; until ``wait_until_whole`` the Sentinels do not know each other, and vote for nobody.
    """

    def __init__(self, hosts: Mapping[str, Host], folder: Path, *, settings: Sequence[str] = ()) -> None:
        """``settings`` are further lines of each Redis."""
        self.password = secrets.token_urlsafe(24)
        addresses = [host.address for host in hosts.values()]
        self.certificate = server_certificate(folder / "tls", "ecdsa-sha256", host=addresses[0], also=addresses[1:])
        first = addresses[0]
        self.nodes = {
            name: RedisNode(
                host,
                folder / f"redis-{name}",
                [*self._redis(host, first), *settings],
                password=self.password,
            )
            for name, host in hosts.items()
        }
        self.sentinels = {
            name: RedisNode(
                host,
                folder / f"sentinel-{name}",
                self._sentinel(first),
                password="",
                arguments=["--sentinel"],
            )
            for name, host in hosts.items()
        }

    def __enter__(self) -> Self:
        for node in self.nodes.values():
            node.start()
        eventually(lambda: self.primary is not None and self.nodes[self.primary].replicas == len(self.nodes) - 1)
        for sentinel in self.sentinels.values():
            sentinel.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in (*self.sentinels.values(), *self.nodes.values()):
            server.close()

    @property
    def primary(self) -> str | None:
        """The name of the host whose Redis calls itself primary, where it is one."""
        claiming = self.claiming
        return claiming[0] if len(claiming) == 1 else None

    @property
    def claiming(self) -> list[str]:
        """The hosts whose Redis takes itself for the primary: two, while one of them is cut off."""
        return [name for name, node in self.nodes.items() if node.is_running and node.is_primary]

    def agreed(self, *, by: str) -> str | None:
        """The host of the primary, as the Sentinel of a host sees it."""
        found = self.sentinels[by].says("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
        return next((name for name, node in self.nodes.items() if found and node.host.address == found[0]), None)

    def bring_back(self, name: str) -> None:
        """Start a Redis that had ended, as a replica of whoever is the primary now.

        Started as it once was, an empty primary, it would wait eight seconds for a Sentinel to tell it otherwise.
        """
        primary = next((other for other in self.claiming if other != name), None)
        follow = ["--replicaof", self.nodes[primary].host.address, str(PORT)] if primary else []
        self.nodes[name].start(*follow)

    def move_to(self, names: Sequence[str]) -> None:
        """Until the primary is on one of these hosts; Sentinel chooses, so it may take more than one move.

        By `replica-priority` it would be easier, and wrong: that counts for Sentinel before who has most of what was written.
        """
        eventually(self._is_whole)
        while (primary := self.primary) not in names:
            self.sentinels[names[0]].says("SENTINEL", "FAILOVER", SERVICE)
            self.wait_for_another_primary(primary or "")
            eventually(self._is_whole)

    def wait_for_another_primary(self, former: str) -> float:
        """Until a Sentinel of another host has put somebody else into the place; the seconds that it took."""
        witness = next(name for name in self.nodes if name != former)
        return eventually(lambda: self.agreed(by=witness) not in {None, former})

    def wait_until_whole(self) -> float:
        """Until there is one primary with all others in step, and every Sentinel says so; the seconds that it took."""
        return eventually(self._is_whole)

    def _is_whole(self) -> bool:
        primary = self.primary
        if primary is None or self.nodes[primary].replicas != len(self.nodes) - 1:
            return False
        return all(
            self.agreed(by=name) == primary and self._is_complete(sentinel) for name, sentinel in self.sentinels.items()
        )

    def _is_complete(self, sentinel: RedisNode) -> bool:
        found = sentinel.says("SENTINEL", "MASTER", SERVICE)
        if not isinstance(found, dict):
            return False
        others = str(len(self.nodes) - 1)
        return (found["num-slaves"], found["num-other-sentinels"], found["flags"]) == (others, others, "master")

    def _tls(self) -> list[str]:
        made: ServerCertificate = self.certificate
        files = [
            f"tls-cert-file {made.certificate}",
            f"tls-key-file {made.key}",
            f"tls-ca-cert-file {made.certificate}",
        ]
        return [*files, "tls-auth-clients no", "tls-replication yes"]

    def _redis(self, host: Host, first: str) -> list[str]:
        follow = [] if host.address == first else [f"replicaof {first} {PORT}"]
        # Memory only, as the product's own advice has it: what must outlive Redis lies on the disks of the instances.
        memory = ['save ""', "appendonly no", "repl-diskless-sync-delay 0"]
        return [
            f"tls-port {PORT}",
            *self._tls(),
            f"requirepass {self.password}",
            f"masterauth {self.password}",
            *memory,
            *follow,
        ]

    def _sentinel(self, first: str) -> list[str]:
        return [
            f"tls-port {SENTINEL_PORT}",
            *self._tls(),
            f"sentinel monitor {SERVICE} {first} {PORT} {QUORUM}",
            f"sentinel auth-pass {SERVICE} {self.password}",
            f"sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER_MS}",
            f"sentinel failover-timeout {SERVICE} {FAILOVER_TIMEOUT_MS}",
            f"sentinel parallel-syncs {SERVICE} 2",
        ]
