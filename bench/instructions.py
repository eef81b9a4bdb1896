"""How many instructions a warm request with a ticket takes, of the broker and of Apache, counted the same way.

The broker has its 16 connections. Apache has one, with its threads as they are: where several of them wait for the lock of
the replay cache, valgrind (3.19) waits with them for ever, since it lets no other thread run while one is inside
fcntl(F_OFD_SETLKW). What is missing in Apache's number is a wait in the kernel, not an instruction of its own.
"""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from bench import load, machine, tokens
from bench.apache import FILE, Apache
from bench.callgrind import Counter
from bench.load import CONNECTIONS
from bench.negotiate import asking_apache, asking_broker
from bench.row import Part, compared
from bench.stage import SERVICE, USER
from tests.fakes.broker import BrokerProcess, configuration
from tests.fakes.realm import Realm
from tests.fakes.sts import StrictSts, demo_world

# Until the specialising interpreter and the caches have settled; then those that are counted.
_WARM_UP, _REQUESTS = 400, 400
_THOUSAND = 1000


@dataclass(frozen=True, slots=True)
class Counted:
    """Instructions a request."""

    broker: float
    apache: float


@dataclass(frozen=True, slots=True)
class _World:
    """What a server needs to be asked by somebody with a ticket."""

    folder: Path
    realm: Realm
    sts: StrictSts
    keytab: Path
    makers: ProcessPoolExecutor

    def tickets(self, count: int) -> list[bytes]:
        """Values of Authorization, each for one request."""
        return self.makers.submit(tokens.make, count, SERVICE).result()


def measure(runs: int) -> list[Counted]:
    """Count both servers, each started anew for each run.

    Raises:
        UnexpectedAnswer: Anything but 200.
        Uncounted: callgrind did not do what it was told.
    """
    return [Counted(broker=broker(), apache=apache()) for _ in range(runs)]


def part(counted: Sequence[Counted]) -> Part:
    """The row of goal 7."""
    row = compared(
        7,
        "warm Negotiate request, durable audit, against Apache + mod_auth_gssapi: instructions in user space",
        "k",
        ours=[each.broker / _THOUSAND for each in counted],
        peer=[each.apache / _THOUSAND for each in counted],
        goal=0.80,
    )
    return Part([row], [dataclasses.asdict(each) for each in counted])


def broker() -> float:
    """Instructions a request of the broker, over 16 connections."""
    with _world() as world:
        home = world.folder / "broker"
        home.mkdir(mode=0o700)
        counter = Counter(home)
        settings = configuration(home, keytab=world.keytab, sts_endpoint=world.sts.url)
        # The same order of the same sets each time.
        environment: Mapping[str, str] = {**world.realm.env, "PYTHONHASHSEED": "0"}
        with BrokerProcess(home, settings, env=environment, inside=counter.inside) as here:
            assert here.process is not None  # noqa: S101  # it was just started
            port = urlsplit(here.url).port or 0
            pid = here.process.pid

            def fire(count: int) -> None:
                made = map(asking_broker(port), world.tickets(count + CONNECTIONS))
                load.fire(list(made), port=port, server=pid)

            fire(_WARM_UP)
            with counter.counting(pid):
                fire(_REQUESTS)
        return counter.instructions() / (_REQUESTS + CONNECTIONS)


def apache() -> float:
    """Instructions a request of Apache, over one connection."""
    with _world() as world:
        warm, all_ = (_apache(world, requests=count) for count in (_WARM_UP, _WARM_UP + _REQUESTS))
        return (all_ - warm) / _REQUESTS


def _apache(world: _World, *, requests: int) -> int:
    """Instructions of a whole life: a server of several processes cannot be told reliably when to begin to count."""
    folder = world.folder / f"apache-{requests}"
    counter = Counter(folder)
    with Apache(
        folder, keytab=world.keytab, krb5_conf=world.realm.folder / "krb5.conf", inside=counter.throughout
    ) as here:
        made = map(asking_apache(here.port, FILE, "Authorization"), world.tickets(requests))
        load.fire(list(made), port=here.port, server=here.pid, connections=1)
    return counter.instructions()


@contextlib.contextmanager
def _world() -> Iterator[_World]:
    context = multiprocessing.get_context("spawn")
    cores = tuple(os.sched_getaffinity(0))
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gate-", dir=machine.DISK)))
        folder.chmod(0o711)
        realm = stack.enter_context(Realm.start(folder / "realm", principals={USER: "only-for-this-run"}))
        sts = stack.enter_context(StrictSts(demo_world()))
        keytab = realm.keytab(folder / "http.keytab", "HTTP/localhost")
        client = realm.kinit(USER, folder / "ccache")
        makers = stack.enter_context(ProcessPoolExecutor(1, context, tokens.enter, (client, cores)))
        yield _World(folder=folder, realm=realm, sts=sts, keytab=keytab, makers=makers)
