"""Two instances on one port against one: goal 9.

Each has a socket of its own with SO_REUSEPORT, passed to it as systemd would, so that the kernel deals the connections out;
records, state and MIT's replay file are shared, as on any host with two instances. With the same load of 32 connections: one
instance has a core to itself, the load the other one; two instances have both cores, and the load takes its share from one of
them. So what two serve in a second is held against the cores' time that the load left them: rate x 2 / (2 - load's share). Where
they wait for each other, at a lock or at the disk, that time counts as theirs; their CPU time a request alone would not show it.
"""

from __future__ import annotations

import contextlib
import random
import socket
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial

from bench import load
from bench.ground import Ground, asking, broker_ends, pid_of, port_of
from bench.load import Volley
from bench.processes import cpu_seconds, on_core
from bench.row import Part, compared
from tests.fakes.broker import BrokerProcess

# Twice as many as one instance is measured with: each of two is as busy as the one.
_CONNECTIONS = 32
_CORES = 2
_WARM_UP = 600
_BACKLOG = 1024
# sd_listen_fds(3): the socket is descriptor 3, and meant for the process that the shell becomes.
_GIVEN = 'exec 3<&{socket}; export LISTEN_PID=$$ LISTEN_FDS=1; exec "$@"'


@dataclass(frozen=True, slots=True)
class Rate:
    """One volley: requests and CPU seconds of the load in a second, CPU microseconds a request of each instance."""

    per_second: float
    load: float
    cpu_us: Sequence[float]

    def of_cores(self, cores: int) -> float:
        """What so many cores serve in a second, where the load takes none of their time."""
        return self.per_second * cores / (cores - self.load)


@dataclass(frozen=True, slots=True)
class Round:
    """Both, right after each other, in the order that chance chose."""

    one: Rate
    two: Rate


def measure(here: Ground, *, rounds: int, requests: int, chance: random.Random) -> list[Round]:
    """All three instances run all the time; those that are not asked do next to nothing.

    Raises:
        UnexpectedAnswer: Anything but 200.
    """
    both = (here.cores.server, here.cores.load)
    with _instances(here, "one", both[:1]) as one, _instances(here, "two", both) as two:
        for some in (one, two):
            _volley(here, some, _WARM_UP)
        done = []
        for _ in range(rounds):
            order = chance.sample([one, two], k=2)
            found = {len(some): _volley(here, some, requests * len(some)) for some in order}
            done.append(Round(one=found[len(one)], two=found[len(two)]))
    return done


def part(rounds: Sequence[Round]) -> Part:
    """The row of goal 9."""
    row = compared(
        9,
        "two instances against one, warm Negotiate requests: throughput of the cores' time that the load leaves them",
        "/s",
        ours=[each.two.of_cores(_CORES) for each in rounds],
        # The load has a core of its own there.
        peer=[each.one.per_second for each in rounds],
        goal=1.80,
        is_floor=True,
    )
    seen = statistics.median(each.two.per_second / each.one.per_second for each in rounds)
    taken = statistics.median(each.two.load for each in rounds)
    cpu = statistics.median(sum(each.two.cpu_us) / sum(each.one.cpu_us) for each in rounds)
    remark = (
        f"Two instances served {seen:.2f} times as much in a second as one, while the load took {taken:.0%} of one of their two "
        f"cores; a request took {cpu:.2f} times the CPU."
    )
    return Part([row], [asdict(each) for each in rounds], [remark])


def _volley(here: Ground, some: Sequence[BrokerProcess], count: int) -> Rate:
    tickets = here.tickets(count + _CONNECTIONS, people=1)
    requests = [asking(some[0], "developer", ticket) for ticket in tickets]
    before = [cpu_seconds(pid_of(each)) for each in some]
    port, server = port_of(some[0]), pid_of(some[0])
    done: Volley = here.gun.submit(load.fire, requests, port=port, server=server, connections=_CONNECTIONS).result()
    used = [cpu_seconds(pid_of(each)) - then for each, then in zip(some, before, strict=True)]
    return Rate(
        per_second=done.count / done.wall,
        load=done.load_cpu / done.wall,
        cpu_us=[each / len(requests) * 1e6 for each in used],
    )


@contextlib.contextmanager
def _instances(here: Ground, name: str, cores: Sequence[int]) -> Iterator[list[BrokerProcess]]:
    """One on each core, all on one port and with one configuration."""
    with contextlib.ExitStack() as stack:
        listeners = _listeners(stack, len(cores))
        port = listeners[0].getsockname()[1]
        server = {"listen": [f"http://127.0.0.1:{port}"], "hostnames": ["localhost"]}
        found: list[BrokerProcess] = []
        settings = here.prepared(name, server=server, aws=here.generous()).settings
        for number, (core, listener) in enumerate(zip(cores, listeners, strict=True)):
            folder = here.folder / f"{name}-{number}"
            folder.mkdir(mode=0o700)
            descriptor = listener.fileno()
            broker = BrokerProcess(
                folder, settings, env=here.realm.env, inside=partial(_given, descriptor), pass_fds=[descriptor]
            )
            with on_core(core):
                broker.start()
            stack.enter_context(broker_ends(broker))
            found.append(broker)
        yield found


def _listeners(stack: contextlib.ExitStack, number: int) -> list[socket.socket]:
    """On one port of 127.0.0.1."""
    found: list[socket.socket] = []
    for _ in range(number):
        address = found[0].getsockname() if found else ("127.0.0.1", 0)
        found.append(stack.enter_context(socket.create_server(address, backlog=_BACKLOG, reuse_port=True)))
        found[-1].setblocking(False)
    return found


def _given(descriptor: int, *command: str) -> list[str]:
    return ["bash", "-c", _GIVEN.format(socket=descriptor), "bash", *command]
