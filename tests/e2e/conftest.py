"""The whole house as processes: a KDC, a strict STS, the installed broker, and clients of every manner."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.broker import PROGRAMS, BrokerProcess, configuration
from tests.fakes.realm import Realm
from tests.fakes.sts import StrictSts, demo_world

KERBEROS = "1.2.840.113554.1.2.2"
ASK = {"X-Zerotrust-Request": "1", "Content-Type": "application/json"}
DEVELOPER = '{"role":"developer"}'


@dataclass(frozen=True)
class Reply:
    """An HTTP answer."""

    status: int
    headers: Message
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def code(self) -> str:
        """The problem's code."""
        assert self.headers["Content-Type"].startswith("application/problem+json")
        return str(self.json["code"])


class House:
    """One broker and its neighbours."""

    def __init__(self, broker: BrokerProcess, realm: Realm, sts: StrictSts) -> None:
        self.broker = broker
        self.realm = realm
        self.sts = sts

    @property
    def port(self) -> int:
        return int(self.broker.url.rpartition(":")[2])

    def send(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | Sequence[tuple[str, str]] = (),
        body: bytes | str | None = None,
        host: str | None = None,
        token: bytes | None = None,
    ) -> Reply:
        """One request exactly as given, with a Host and, if there is a token, the header that carries it."""
        lines = list(headers.items() if isinstance(headers, Mapping) else headers)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=15)
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        connection.putheader("Host", f"localhost:{self.port}" if host is None else host)
        if token is not None:
            connection.putheader("Authorization", negotiate(token))
        for name, value in lines:
            connection.putheader(name, value)
        data = body.encode() if isinstance(body, str) else body
        if data is not None:
            connection.putheader("Content-Length", str(len(data)))
        connection.endheaders(data)
        try:
            response = connection.getresponse()
            return Reply(response.status, response.headers, response.read())
        finally:
            connection.close()

    def ask(self, token: bytes | None, *, role: str = "developer") -> Reply:
        """Ask for credentials as our own helper does."""
        return self.send("POST", "/v1/credentials", headers=ASK, body=json.dumps({"role": role}), token=token)

    def raw(self, data: bytes, *, patience: float = 5) -> bytes:
        """Bytes as they are, and everything that comes back until the connection is closed."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=patience) as connection:
            answer = b""
            try:
                connection.sendall(data)
                while piece := connection.recv(65536):
                    answer += piece
            except ConnectionError:
                pass
            return answer

    def last_reason(self) -> str | None:
        """Why the last attempt was refused, as the audit record tells it."""
        reason: str | None = self.broker.last_record()["reason"]
        return reason

    def curl(self, who: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
        """``curl --negotiate -u :`` with somebody's tickets."""
        command = ["curl", "-s", "--max-time", "20", "--negotiate", "-u", ":", *arguments]
        return subprocess.run(
            command, env={"PATH": "/usr/bin:/bin", **who}, capture_output=True, text=True, check=False, timeout=30
        )

    def helper(self, who: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
        """``zerotrust``, the installed program."""
        command = [str(PROGRAMS / "zerotrust"), *arguments]
        return subprocess.run(
            command, env={"PATH": "/usr/bin:/bin", **who}, capture_output=True, text=True, check=False, timeout=30
        )


def negotiate(token: bytes) -> str:
    return "Negotiate " + base64.b64encode(token).decode()


def settings_of(folder: Path, realm: Realm, sts: StrictSts, **sections: Any) -> dict[str, Any]:
    """alice may be developer, nobody may have readonly; the keytab holds keys that must not be answered with."""
    keytab = realm.keytab(folder / "http.keytab", "HTTP/localhost", "HTTP/broker.localhost", "host/localhost")
    return configuration(folder, keytab=keytab, sts_endpoint=sts.url, **sections)


@pytest.fixture(scope="session")
def sts_service() -> Iterator[StrictSts]:
    with StrictSts(demo_world()) as running:
        yield running


@pytest.fixture
def sts(sts_service: StrictSts) -> StrictSts:
    """A strict STS in good health, with an empty log."""
    sts_service.clear()
    return sts_service


@pytest.fixture(scope="session")
def shared_house(realm: Realm, sts_service: StrictSts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    with BrokerProcess(folder, settings_of(folder, realm, sts_service), env=realm.env) as broker:
        yield House(broker, realm, sts_service)


@pytest.fixture
def house(shared_house: House, sts: StrictSts) -> House:
    """A broker that the tests of a worker share; whoever stops it or changes its settings makes one of its own."""
    return shared_house


@pytest.fixture(scope="session")
def alice(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """alice's tickets, as variables of a child process."""
    return realm.kinit("alice", tmp_path_factory.mktemp("alice") / "ccache")


@pytest.fixture(scope="session")
def mallory(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A user of the realm whom no rule names."""
    return realm.kinit("mallory", tmp_path_factory.mktemp("mallory") / "ccache")


@pytest.fixture(scope="session")
def partner_alice(partner_realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Another realm's user of the same name."""
    return partner_realm.kinit("alice", tmp_path_factory.mktemp("partner") / "ccache")
