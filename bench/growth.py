"""What a warm request costs under a long policy: goal 8, for rules and principals.

Brokers with policies of different lengths, all at once; ten people, whose rules stand anywhere in them, ask each in turn.
"""

from __future__ import annotations

import contextlib
import random
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.ground import PEOPLE, Ground
from bench.row import Part, compared
from tests.fakes.broker import BrokerProcess
from tests.fakes.until import eventually

FEW, MANY = 10, 100_000
# So many fit into the shortest policy.
ASKERS = PEOPLE[:FEW]
_WARM_UP = 400
_RELOADED = "are in force"  # In the log, behind a reload.


@dataclass(frozen=True, slots=True)
class Growth:
    """By the number of rules: CPU microseconds a request in each round, and seconds from the start until it listened.

    Attributes:
        reload: Seconds from SIGHUP until the longest policy was in force; None where that was not measured.
    """

    cpu_us: Mapping[int, Sequence[float]]
    start: Mapping[int, float]
    reload: float | None


def measure(
    here: Ground, *, sizes: Sequence[int], rounds: int, requests: int, chance: random.Random, reload: bool
) -> Growth:
    """A round asks all brokers, in random order; the sizes are from few to many.

    Raises:
        UnexpectedAnswer: Somebody was refused.
    """
    brokers: dict[int, BrokerProcess] = {}
    start: dict[int, float] = {}
    cpu: dict[int, list[float]] = {size: [] for size in sizes}
    with contextlib.ExitStack() as stack:
        for size in sizes:
            began = time.monotonic()
            broker = here.broker(f"rules-{size}", aws=here.generous(), rules=rules(size, chance=chance))
            brokers[size] = stack.enter_context(broker)
            start[size] = time.monotonic() - began
            here.volley(brokers[size], _WARM_UP, people=len(ASKERS))
        for _ in range(rounds):
            for size in chance.sample(sizes, k=len(sizes)):
                done = here.volley(brokers[size], requests, people=len(ASKERS))
                cpu[size].append(done.server_cpu / done.count * 1e6)
        took = _reload(brokers[sizes[-1]]) if reload else None
    return Growth(cpu, start, took)


def rules(number: int, *, chance: random.Random) -> list[dict[str, Any]]:
    """A rule for each of so many principals, in no order; ``ASKERS`` are among them.

    Raises:
        ValueError: Fewer than ``ASKERS``.
    """
    if number < len(ASKERS):
        raise ValueError(f"{number} rules have no room for {len(ASKERS)} people")
    names = [*ASKERS, *(f"somebody{count}" for count in range(number - len(ASKERS)))]
    chance.shuffle(names)
    return [{"name": f"for-{name}", "principals": [f"{name}@EXAMPLE.COM"], "roles": ["developer"]} for name in names]


def part(found: Growth) -> Part:
    """The row of goal 8 about rules."""
    few, many = min(found.cpu_us), max(found.cpu_us)
    row = compared(
        8,
        f"warm Negotiate request under {many:,} rules and principals, against {few:,}: server CPU",
        "us",
        ours=found.cpu_us[many],
        peer=found.cpu_us[few],
        goal=1.20,
    )
    costs = ", ".join(f"{size:,}: {statistics.median(costs):.0f} us" for size, costs in found.cpu_us.items())
    listens = {size: f"{found.start[size]:.1f} s after its start" for size in (few, many)}
    starts = f"With {many:,} rules the broker listened {listens[many]}, with {few:,} {listens[few]}"
    reload = "" if found.reload is None else f"; a reload of {many:,} was in force after {found.reload:.1f} s"
    return Part([row], asdict(found), [f"CPU a request by the number of rules: {costs}.", f"{starts}{reload}."])


def _reload(broker: BrokerProcess) -> float:
    """One rule less."""
    broker.settings["rules"] = broker.settings["rules"][1:]
    broker.write_configuration()
    before = broker.output.read_text().count(_RELOADED)
    began = time.monotonic()
    broker.reload()
    eventually(lambda: broker.output.read_text().count(_RELOADED) > before)
    return time.monotonic() - began
