"""Two hosts with a broker each, a third beside them, a Redis and a Sentinel on all three; and a KDC and an AWS for all.

What the brokers have in common is the keytab, the master key and the rules; disks, replay files and names are each host's own.
Users and AWS come over another network than the one between the hosts, which can be cut (`tests/fakes/hosts.py`).
"""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from tests.fakes.broker import BrokerProcess, configuration
from tests.fakes.hosts import Host, Network
from tests.fakes.operator import Operator
from tests.fakes.realm import Realm
from tests.fakes.redis_hosts import SERVICE, Quorum
from tests.fakes.sts import StrictSts, demo_world

BROKERS = ("one", "two")
HOSTS = (*BROKERS, "three")
PEOPLE = ("alice", "bob", "carol", "dave")
ROOT = "root/admin@EXAMPLE.COM"
ROLE = "developer"
_BROKER_PORT = 8080


class Site:
    """``with Site(folder) as site``: everything runs, and every broker is ready; gone at the end of the block.

    While it stands this process is in its realm.
    """

    def __init__(
        self,
        folder: Path,
        *,
        brokers: tuple[str, ...] = BROKERS,
        people: tuple[str, ...] = PEOPLE,
        sts_latency_ms: float = 0,
        sections: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        """``sections`` replace those of every broker's configuration."""
        self.folder = folder
        self._names = brokers
        self._people = people
        self._stack = contextlib.ExitStack()
        self._latency = sts_latency_ms
        self._sections = sections
        self.brokers: dict[str, BrokerProcess] = {}

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            people = dict.fromkeys([*self._people, "root/admin"], "one password for all")
            self.realm = stack.enter_context(Realm.start(self.folder / "realm", principals=people))
            stack.enter_context(self.realm.entered())
            self.network = stack.enter_context(Network(*dict.fromkeys((*HOSTS, *self._names))))
            ears = {name: self.network[name].listen() for name in self._names}
            self.aws_ports = {name: ear.getsockname()[1] for name, ear in ears.items()}
            self.sts = stack.enter_context(StrictSts(demo_world(), latency_ms=self._latency, also=tuple(ears.values())))
            for ear in ears.values():
                ear.close()
            voters = {name: self.network[name] for name in HOSTS}
            self.quorum = stack.enter_context(Quorum(voters, self.folder))
            for name in self._names:
                self.brokers[name] = self._broker(name)
                stack.callback(self.brokers[name].kill)
            # One after the other in this thread: a process ends with the thread that started it (tests/fakes/hosts.py).
            for broker in self.brokers.values():
                broker.start()
            self.quorum.wait_until_whole()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def host(self, broker: str) -> Host:
        """Where a broker is."""
        return self.network[broker]

    def port(self, broker: str) -> int:
        """Where it listens, on its host's loopback."""
        return urlsplit(self.brokers[broker].url).port or 0

    def operator(self) -> Operator:
        """Root, with tickets."""
        return Operator(self.realm, "root/admin", self.folder / "root.ccache")

    def admin(self, broker: str, *words: str) -> subprocess.CompletedProcess[str]:
        """An operator's command, at a broker's local socket."""
        where = {"ZEROTRUST_ADMIN_SOCKET": str(self.socket(broker)), "ZEROTRUST_HOST": "localhost"}
        return self.operator().admin(*words, **where)

    def socket(self, broker: str) -> Path:
        """The operators'."""
        return self.folder / broker / "admin"

    def ready(self, broker: str) -> dict[str, Any]:
        """What /readyz says."""
        connection = self.host(broker).dial(self.port(broker), patience=10)
        with connection, connection.makefile("rb") as answer:
            connection.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            _, _, body = answer.read().partition(b"\r\n\r\n")
        found: dict[str, Any] = json.loads(body)
        return found

    def _broker(self, name: str) -> BrokerProcess:
        home = self.folder / name
        home.mkdir(mode=0o700)
        (home / "state").mkdir(mode=0o700)
        password = home / "redis_password"
        password.touch(mode=0o600)
        password.write_text(self.quorum.password)
        settings = configuration(
            self.folder,
            keytab=self.realm.keytab(self.folder / "http.keytab", "HTTP/localhost"),
            sts_endpoint=f"http://127.0.0.1:{self.aws_ports[name]}",
            server={"listen": [f"http://127.0.0.1:{_BROKER_PORT}"], "hostnames": ["localhost"]},
            rules=[{"name": "everybody", "principals": ["*@EXAMPLE.COM"], "roles": [ROLE]}],
            audit={"directory": str(home / "audit")},
            state={"directory": str(home / "state")},
            admin={"socket": str(self.socket(name)), "principals": [ROOT]},
            **{"redis": self._redis(password), **self._sections},
        )
        # A replay file of its own, as on another machine: that a token was used the instances must tell each other.
        env = {**self.realm.env, "KRB5RCACHENAME": f"file2:{home}/replay"}
        return BrokerProcess(home, settings, env=env, inside=self.network[name].inside)

    def _redis(self, password: Path) -> dict[str, Any]:
        hosts = [f"rediss://{self.network[name].address}" for name in HOSTS]
        return {
            "sentinel": {"hosts": hosts, "service": SERVICE},
            "password_file": str(password),
            "tls": {"ca": str(self.quorum.certificate.certificate)},
        }
