"""Everything that takes part, started for one run and gone after it: realm, strict STS, broker, and its peers."""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench import machine
from bench.apache import Apache
from bench.naive_process import NaiveBroker
from bench.processes import Cores, on_core
from tests.fakes.broker import BrokerProcess, configuration
from tests.fakes.certificates import server_certificate
from tests.fakes.realm import Realm
from tests.fakes.redis import RedisServer
from tests.fakes.sts import StrictSts, demo_world

USER = "alice"
ROLE = "developer"
SERVICE = "HTTP@localhost"


@dataclass(frozen=True, slots=True)
class Stage:
    """Who takes part.

    Attributes:
        client: The variables that make a process the user with a ticket.
    """

    broker: BrokerProcess
    apache: Apache
    naive: NaiveBroker
    sts: StrictSts
    client: Mapping[str, str]
    folder: Path
    realm: Realm
    certificate: Path

    @property
    def socket(self) -> Path:
        """The broker's, of its third listener."""
        return self.folder / "broker.sock"

    @property
    def https(self) -> str:
        """The broker's second listener."""
        found = re.search(r"listening on .*(https://127\.0\.0\.1:\d+)", self.broker.output.read_text())
        if found is None:
            raise RuntimeError("the broker does not listen with TLS")
        return found[1].replace("127.0.0.1", "localhost")


@contextlib.contextmanager
def stage(cores: Cores) -> Iterator[Stage]:
    """Start them all: the servers that are measured on the server's core, the rest on the other."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-", dir=machine.DISK)))
        # Apache gives root away and has to reach its folder in here; everything else below stays closed.
        folder.chmod(0o711)
        with on_core(cores.load):
            realm = stack.enter_context(Realm.start(folder / "realm", principals={USER: "only-for-this-run"}))
            sts = stack.enter_context(StrictSts(demo_world()))
            redis = stack.enter_context(RedisServer.start(folder / "redis"))
        keytab = realm.keytab(folder / "http.keytab", "HTTP/localhost")
        home = folder / "broker"
        home.mkdir(mode=0o700)
        certificate = server_certificate(home, "ecdsa-sha256")
        listen = ["http://127.0.0.1:0", "https://127.0.0.1:0", f"unix:{folder / 'broker.sock'}"]
        settings = configuration(
            home,
            keytab=keytab,
            sts_endpoint=sts.url,
            server={"listen": listen, "hostnames": ["localhost"]},
            tls={"certificate": str(certificate.certificate), "private_key": str(certificate.key)},
        )
        broker = BrokerProcess(home, settings, env=realm.env)
        apache = Apache(folder / "apache", keytab=keytab, krb5_conf=realm.folder / "krb5.conf")
        with on_core(cores.server):
            stack.enter_context(broker)
            stack.enter_context(apache)
            naive = stack.enter_context(
                NaiveBroker(folder / "naive", keytab=keytab, realm=realm.env, redis=redis, settings=settings)
            )
        client = realm.kinit(USER, folder / "ccache")
        yield Stage(
            broker=broker,
            apache=apache,
            naive=naive,
            sts=sts,
            client=client,
            folder=folder,
            realm=realm,
            certificate=certificate.certificate,
        )
