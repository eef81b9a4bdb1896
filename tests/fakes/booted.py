"""A host that systemd has booted, with the broker installed as its units say, and its neighbours on the same ``lo``.

KDC, Redis and the strict STS are this host's programs in the machine's network; units, account, folders and files are its own.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import re
import secrets
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.fakes.broker import configuration
from tests.fakes.certificates import server_certificate
from tests.fakes.machine import ROOT, Machine, programs_shown
from tests.fakes.realm import Realm
from tests.fakes.redis import RedisServer
from tests.fakes.sts import StrictSts, demo, demo_world

UNITS = ROOT / "systemd"
PORT = 8443
CONFIG = "/etc/zerotrust/config.yaml"
SECRETS = "/etc/zerotrust/secrets"
_OF_THE_BROKER = "root:zerotrust"
_PATIENCE = 60.0
_ASK = {"X-Zerotrust-Request": "1", "Content-Type": "application/json", "Host": f"localhost:{PORT}"}


@dataclass
class Load:
    """What became of the requests of some clients that ask one after the other. ``slowest`` in seconds."""

    done: int = 0
    failures: list[str] = field(default_factory=list)
    slowest: float = 0.0


class Host:
    """The machine with everything on it; nothing of the broker runs yet."""

    def __init__(self, machine: Machine, *, folder: Path, realm: Realm, redis: RedisServer, sts: StrictSts) -> None:
        self.machine = machine
        self.realm = realm
        self.redis = redis
        self.sts = sts
        self.alice = realm.kinit("alice", folder / "alice")
        self._certificate = server_certificate(folder / "tls", "ecdsa-sha256")
        self.settings = configuration(
            folder,
            keytab=Path("/etc/zerotrust/keytabs/http.keytab"),
            sts_endpoint=sts.url,
            server={"listen": [f"https://0.0.0.0:{PORT}"], "hostnames": ["localhost"]},
            tls={"certificate": "/etc/zerotrust/tls/server.crt", "private_key": "/etc/zerotrust/tls/server.key"},
            redis={"url": redis.url, "password_file": f"{SECRETS}/redis_password"},
            encryption={"key_file": f"{SECRETS}/encryption_key"},
            audit={"directory": "/var/log/zerotrust/audit"},
        )
        self._keytab = realm.keytab(folder / "http.keytab", "HTTP/localhost")

    def install(self) -> None:
        """Put programs, units and account of this working copy there, as an administrator without a package does."""
        self.machine.install_programs()
        self.copy_units()
        self.machine.run("systemd-sysusers")
        self.machine.run("systemd-tmpfiles", "--create", "zerotrust.conf")

    def set_up(self) -> None:
        """Write the configuration and what it names. The account is there."""
        self.machine.write("/etc/hosts", "127.0.0.1 localhost\n")
        # Those two are for a bare kinit in the realm's own folder (krb5/README.md).
        realm = Path(self.realm.env["KRB5_CONFIG"]).read_text()
        self.machine.write("/etc/krb5.conf", re.sub(r"(?m)^ *default_[cr]cache_name.*$", "", realm))
        for path, data in {
            "/etc/zerotrust/keytabs/http.keytab": self._keytab.read_bytes(),
            "/etc/zerotrust/tls/server.crt": self._certificate.pem,
            "/etc/zerotrust/tls/server.key": self._certificate.key_pem,
            f"{SECRETS}/redis_password": self.redis.password.encode(),
            f"{SECRETS}/encryption_key": base64.b64encode(secrets.token_bytes(32)),
        }.items():
            self.machine.write(path, data, mode=0o640, owner=_OF_THE_BROKER)
        keys = (
            f"AWS_ACCESS_KEY_ID={demo.BROKER_ACCESS_KEY_ID}\nZEROTRUST_AWS_SECRET_KEY={demo.BROKER_SECRET_ACCESS_KEY}\n"
        )
        self.machine.write("/etc/zerotrust/environment", keys, mode=0o600)
        self.configure()

    @property
    def certificate(self) -> bytes:
        """What clients trust, PEM."""
        return self._certificate.pem

    def copy_units(self) -> None:
        """Put the units where an administrator does."""
        for file in [
            *UNITS.glob("zerotrust-broker*"),
            *UNITS.glob("zerotrust-probe*"),
            *UNITS.glob("zerotrust-agent.*"),
        ]:
            self.machine.copy(file, f"/etc/systemd/system/{file.name}")
        for file in UNITS.glob("zerotrust-agent-user.*"):
            self.machine.copy(file, f"/etc/systemd/user/{file.name}")
        for name, folder in (("sysusers", "sysusers.d"), ("tmpfiles", "tmpfiles.d")):
            self.machine.copy(UNITS / f"zerotrust.{name}.conf", f"/etc/{folder}/zerotrust.conf")
        self.machine.copy(UNITS / "zerotrust.catalog", "/usr/lib/systemd/catalog/zerotrust.catalog")
        self.machine.run("journalctl", "--update-catalog")
        self.machine.run("systemctl", "daemon-reload")

    def configure(self, **sections: Any) -> None:
        """Write the configuration, with these sections in the place of what was there."""
        self.settings |= sections
        self.machine.write(CONFIG, json.dumps(self.settings, indent=2), mode=0o640, owner=_OF_THE_BROKER)

    def guard_alone(self) -> None:
        """Where it is counted what a restart costs, a Redis that is late on a busy machine is none of it."""
        self.configure(kerberos={**self.settings["kerberos"], "replay_guard": "local"})

    def drop_in(self, unit: str, text: str, *, name: str = "test.conf") -> None:
        """Change a unit as ``systemctl edit`` does."""
        self.machine.write(f"/etc/systemd/system/{unit}.d/{name}", text)
        self.machine.run("systemctl", "daemon-reload")

    def start(self, *units: str) -> None:
        """Start, and say why it did not come up where it did not."""
        done = self.machine.run("systemctl", "start", *units, check=False)
        assert done.returncode == 0, self.log()

    def log(self) -> str:
        """What the journal says of the broker, as an operator reads it."""
        return self.machine.run("journalctl", "--no-pager", "--quiet", "--unit=zerotrust-broker*").stdout

    def until(self, unit: str, **properties: str) -> dict[str, str]:
        """Wait until a unit's properties are so; the properties."""
        deadline = time.monotonic() + _PATIENCE
        while (found := self.machine.show(unit, *properties)) != properties:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{unit} is {found}, not {properties}: {self.log()}")
            time.sleep(0.05)
        return found

    def records(self) -> list[dict[str, Any]]:
        """Every audit record."""
        text = self.machine.run("sh", "-c", "cat /var/log/zerotrust/audit/audit-*.jsonl").stdout
        return [json.loads(line) for line in text.splitlines()]

    # ---- clients: inside ``machine.network()`` ----

    def connect(self) -> http.client.HTTPSConnection:
        context = ssl.create_default_context(cadata=self._certificate.pem.decode())
        return http.client.HTTPSConnection("localhost", PORT, timeout=_PATIENCE, context=context)

    def ask(self, connection: http.client.HTTPSConnection) -> tuple[int, bytes]:
        """Ask for credentials with a fresh token."""
        token = base64.b64encode(self.realm.client_token(self.alice)).decode()
        headers = _ASK | {"Authorization": f"Negotiate {token}"}
        connection.request("POST", "/v1/credentials", body='{"role":"developer"}', headers=headers)
        response = connection.getresponse()
        return response.status, response.read()

    def get(self, path: str) -> tuple[int, bytes]:
        with contextlib.closing(self.connect()) as connection:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()

    @contextlib.contextmanager
    def under_load(self, *, fresh: int = 2, kept: int = 2) -> Iterator[Load]:
        """Clients that ask all the time: each request on a connection of its own, or on one that is kept for as long as it goes.

        Whoever keeps one connects again where the broker said that it would close it, and only there.
        """
        load, over = Load(), threading.Event()
        kinds = ["fresh"] * fresh + ["kept"] * kept
        threads = [threading.Thread(target=self._client, args=(load, over, kind)) for kind in kinds]
        for thread in threads:
            thread.start()
        try:
            yield load
        finally:
            over.set()
            for thread in threads:
                thread.join()

    def _client(self, load: Load, over: threading.Event, kind: str) -> None:
        connection = self.connect()
        while not over.is_set():
            began = time.monotonic()
            try:
                status, body = self.ask(connection)
                if status != 200:
                    load.failures.append(f"{kind}: {status} {body[:200]!r}")
            except Exception as error:  # noqa: BLE001  # whatever it is, a client failed
                load.failures.append(f"{kind}: {error!r}")
                connection.close()
            load.done += 1
            load.slowest = max(load.slowest, time.monotonic() - began)
            # http.client closes by itself where the answer said so, and connects again with the next request.
            if kind == "fresh":
                connection.close()
        connection.close()


@contextlib.contextmanager
def host(tree: Path, folder: Path) -> Iterator[Host]:
    """Boot one with this working copy's broker; ``tree``: what ``machine.unpacked`` returned."""
    with bare_host(tree, folder, shown=programs_shown()) as booted:
        booted.install()
        booted.set_up()
        yield booted


@contextlib.contextmanager
def bare_host(tree: Path, folder: Path, *, shown: Mapping[str, Path]) -> Iterator[Host]:
    """Boot one on which nothing of ours is installed; ``shown``: see ``Machine.start``."""
    with contextlib.ExitStack() as stack:
        machine = stack.enter_context(Machine.start(tree, shown=shown))
        with machine.network():
            principals = {"alice": "wonderland"}
            realm = stack.enter_context(Realm.start(folder / "realm", principals=principals))
            redis = stack.enter_context(RedisServer.start(folder / "redis"))
            sts = stack.enter_context(StrictSts(demo_world()))
            booted = Host(machine, folder=folder, realm=realm, redis=redis, sts=sts)
            with realm.entered():
                yield booted
