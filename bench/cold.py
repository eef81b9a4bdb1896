"""A herd of 300 cold requests, all sent at once to a broker that was just started: goal 6.

Once for one principal, once for fifty with six each; all for one role, whose chain has two hops, with 60 ms for each call of STS.
Then the same broker is asked once more, alone and for another role: what its chain takes is what the last answer of the herd
is held against. What a broker loads with its first call of STS is therefore in the herd's time, and not in the chain's.
"""

from __future__ import annotations

import contextlib
import socket
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from bench import load
from bench.ground import PEOPLE, STS_LATENCY_SECONDS, Ground, asking, port_of
from bench.row import Part, alone, compared

REQUESTS = 300
HOPS = 2
ONE, MANY = 1, len(PEOPLE)
_PATIENCE = 30.0


@dataclass(frozen=True, slots=True)
class Herd:
    """What came of one: calls of STS, and seconds until its last answer, and of one request alone behind it."""

    principals: int
    calls: int
    last: float
    chain: float

    @property
    def calls_each(self) -> float:
        """Calls of STS over those that nobody can do without; 1 is none too many."""
        return self.calls / (HOPS * self.principals)


class Unrecorded(RuntimeError):
    """Somebody was answered without a record."""


def measure(here: Ground, *, rounds: int) -> list[Herd]:
    """Each herd has a broker of its own.

    Raises:
        UnexpectedAnswer: Not everybody got credentials.
        Unrecorded: There are more answers than records.
    """
    return [_herd(here, principals, number) for number in range(rounds) for principals in (ONE, MANY)]


def part(herds: Sequence[Herd]) -> Part:
    """The rows of goal 6."""
    of = {number: [herd for herd in herds if herd.principals == number] for number in (ONE, MANY)}
    rows = [
        alone(
            6,
            f"calls of STS for {REQUESTS} cold requests at once, {text}: over chain length x principals",
            "x",
            ours=[herd.calls_each for herd in of[number]],
            goal=1.00,
        )
        for number, text in ((ONE, "one principal"), (MANY, f"{MANY} principals"))
    ]
    rows.append(
        compared(
            6,
            "the last answer to one principal's, against one cold request alone: wall time",
            "ms",
            ours=[herd.last * 1000 for herd in of[ONE]],
            peer=[herd.chain * 1000 for herd in of[ONE]],
            goal=1.50,
        )
    )
    return Part(rows, [asdict(herd) for herd in herds], [_remark(of)])


def _remark(of: Mapping[int, Sequence[Herd]]) -> str:
    last = statistics.median(herd.last for herd in of[MANY])
    return (
        f"Each of {HOPS} hops waited {STS_LATENCY_SECONDS * 1000:.0f} ms for STS. The herd of {MANY} principals had its last "
        f"answer after {last * 1000:.0f} ms: its {HOPS * MANY} calls are held to 100 a second, the default of `aws.sts_rate`."
    )


def _herd(here: Ground, principals: int, number: int) -> Herd:
    with here.broker(f"cold-{principals}-{number}") as broker:
        tokens = here.tickets(REQUESTS, people=principals)
        (alone_token,) = here.tickets(1)
        here.sts.clear_calls()
        herd = [asking(broker, "developer", token) for token in tokens]
        last = here.gun.submit(at_once, herd, port=port_of(broker)).result()
        calls = len(here.sts.calls())
        single = [asking(broker, "readonly", alone_token)]
        chain = here.gun.submit(at_once, single, port=port_of(broker)).result()
        issued = sum(record["event"] == "issued" for record in broker.records())
        if issued != REQUESTS + 1:
            raise Unrecorded(f"{REQUESTS + 1} answers, but {issued} records of credentials issued")
    return Herd(principals=principals, calls=calls, last=last, chain=chain)


def at_once(requests: Sequence[bytes], *, port: int) -> float:
    """Seconds from the first octet sent to the last answer, on connections that are open already, one for each request."""
    with contextlib.ExitStack() as stack:
        connections = []
        for _ in requests:
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), _PATIENCE))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connections.append(connection)
        began = time.perf_counter()
        load.exchange(connections, iter(requests), status=200)
        return time.perf_counter() - began
