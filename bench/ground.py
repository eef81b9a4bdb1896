"""A realm with fifty people, a strict STS, and brokers that are started on it one by one: for what is measured without a peer."""

from __future__ import annotations

import contextlib
import multiprocessing
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench import load, machine, tokens
from bench.load import CONNECTIONS, Volley
from bench.processes import Cores, on_core
from bench.stage import SERVICE
from broker import wire
from broker.config.load import load as load_configuration
from broker.config.model import Settings
from tests.fakes.broker import BrokerProcess, configuration
from tests.fakes.realm import Realm
from tests.fakes.sts import StrictSts, demo, demo_world

PEOPLE = tuple(f"user{number}" for number in range(50))
# What AssumeRole takes in the broker's own region.
STS_LATENCY_SECONDS = 0.06
# The default lets the first calls for fifty people wait for a second; where only what follows is measured, nobody has to.
MANY_CALLS = "10000/second"
_CONTEXT = multiprocessing.get_context("spawn")


@dataclass(frozen=True, slots=True)
class Ground:
    """What brokers stand on, and who asks them.

    Attributes:
        ccaches: The ticket caches of ``PEOPLE``, in their order.
        makers: Processes that make tokens, on both cores.
        gun: The process that sends, on the load's core.
    """

    cores: Cores
    folder: Path
    realm: Realm
    sts: StrictSts
    ccaches: Sequence[str]
    makers: ProcessPoolExecutor
    gun: ProcessPoolExecutor

    def prepared(
        self, name: str, *, inside: Callable[..., list[str]] = lambda *command: list(command), **sections: Any
    ) -> BrokerProcess:
        """A broker in a folder of its own that everybody may ask for both roles; ``sections`` replace top-level keys."""
        home = self.folder / name
        home.mkdir(mode=0o700)
        everybody = [{"name": "everybody", "principals": ["*@EXAMPLE.COM"], "roles": ["developer", "readonly"]}]
        settings = configuration(
            home, keytab=self.folder / "http.keytab", sts_endpoint=self.sts.url, **{"rules": everybody} | sections
        )
        return BrokerProcess(home, settings, env=self.realm.env, inside=inside)

    @contextlib.contextmanager
    def broker(self, name: str, **sections: Any) -> Iterator[BrokerProcess]:
        """The same, started on the servers' core."""
        broker = self.prepared(name, **sections)
        with on_core(self.cores.server):
            broker.start()
        with broker_ends(broker):
            yield broker

    def generous(self) -> Mapping[str, str]:
        """The section ``aws`` with which nobody waits for a turn to ask STS."""
        return {"region": "eu-central-1", "sts_endpoint": self.sts.url, "sts_rate": MANY_CALLS}

    def tickets(self, count: int, *, people: int = len(PEOPLE)) -> list[bytes]:
        """Values of Authorization, of the first of the people in turn."""
        # Each maker gets a multiple of all of them, but for the last.
        first = count // 2 // people * people
        shares = [first, count - first]
        made = self.makers.map(tokens.make, shares, [SERVICE] * 2, [self.ccaches[:people]] * 2)
        return [token for share in made for token in share]

    def volley(self, broker: BrokerProcess, count: int, *, people: int = 1) -> Volley:
        """So many requests of the first people in turn, with a ticket each; those that open the connections come on top."""
        requests = [asking(broker, "developer", token) for token in self.tickets(count + CONNECTIONS, people=people)]
        return self.gun.submit(load.fire, requests, port=port_of(broker), server=pid_of(broker)).result()


@contextlib.contextmanager
def ground(cores: Cores) -> Iterator[Ground]:
    """Lay it: all of it runs on the load's core, and is gone afterwards."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-", dir=machine.DISK)))
        with on_core(cores.load):
            people = dict.fromkeys(PEOPLE, "only-for-this-run")
            realm = stack.enter_context(Realm.start(folder / "realm", principals=people))
            sts = stack.enter_context(StrictSts(demo_world(), latency_ms=STS_LATENCY_SECONDS * 1000))
        realm.keytab(folder / "http.keytab", "HTTP/localhost")
        ccaches = [realm.kinit(user, folder / f"{user}.ccache")["KRB5CCNAME"] for user in PEOPLE]
        makers = ProcessPoolExecutor(2, _CONTEXT, tokens.enter, (realm.env, (cores.server, cores.load)))
        gun = ProcessPoolExecutor(1, _CONTEXT, load.enter, (cores.load,))
        yield Ground(
            cores=cores,
            folder=folder,
            realm=realm,
            sts=sts,
            ccaches=ccaches,
            makers=stack.enter_context(makers),
            gun=stack.enter_context(gun),
        )


@contextlib.contextmanager
def broker_ends(broker: BrokerProcess) -> Iterator[None]:
    """Stop a broker that was started behind the block."""
    try:
        yield
    finally:
        broker.stop()


def asking(broker: BrokerProcess, role: str, value: bytes, header: str = "Authorization") -> bytes:
    """A whole request for credentials; the header's value shows who asks."""
    body = f'{{"role":"{role}"}}'
    head = (
        f"POST {wire.CREDENTIALS_PATH} HTTP/1.1\r\nHost: localhost:{port_of(broker)}\r\n{wire.REQUEST_HEADER}: 1\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n{header}: "
    )
    return b"%b%b\r\n\r\n%b" % (head.encode(), value, body.encode())


def settings_of(broker: BrokerProcess) -> Settings:
    """Its configuration, as it reads it itself."""
    environ = {"AWS_ACCESS_KEY_ID": demo.BROKER_ACCESS_KEY_ID, "AWS_SECRET_ACCESS_KEY": demo.BROKER_SECRET_ACCESS_KEY}
    return load_configuration(broker.config, environ=environ)


def port_of(broker: BrokerProcess) -> int:
    """Where it listens on 127.0.0.1."""
    return urlsplit(broker.url).port or 0


def pid_of(broker: BrokerProcess) -> int:
    """Of its first process.

    Raises:
        RuntimeError: It has ended.
    """
    if broker.process is None:
        raise RuntimeError("the broker has ended")
    return broker.process.pid
