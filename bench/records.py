"""What a warm request costs behind a long audit log: goal 8, for records.

The records are written here, by the broker's own writer with its own keys, behind those of a broker that was stopped for it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.ground import Ground, broker_ends, settings_of
from bench.processes import on_core
from bench.row import Part, compared
from broker.assembly.keys import hierarchy_of
from broker.audit.signer import signers_by
from broker.audit.writer import Writer
from broker.core.clock import SystemClock
from tests.fakes.broker import BrokerProcess

_WARM_UP = 300
# As many as come in a batch of a busy broker; and in half a minute of one, behind which it states where the chain stands.
_BATCH, _STATED_EVERY = 16, 16 * 1250
_OF_THE_CHAIN = frozenset({"instance", "seq", "prev", "kid", "sig"})


@dataclass(frozen=True, slots=True)
class Records:
    """CPU microseconds a request in each round, with a log of a few records and with so many.

    Attributes:
        start: Seconds until it listened again, behind so many.
        verify: Seconds that ``zerotrust-admin audit verify`` took for all of them.
    """

    number: int
    few_us: Sequence[float]
    many_us: Sequence[float]
    start: float
    verify: float


class BrokenLog(RuntimeError):
    """What was measured is no whole log."""


def measure(here: Ground, *, number: int, rounds: int, requests: int, chance: random.Random) -> Records:
    """A round asks both brokers, in random order.

    Raises:
        UnexpectedAnswer: Somebody was refused.
        BrokenLog: ``audit verify`` finds fault with the long one.
    """
    many = here.prepared("records-many")
    with on_core(here.cores.server):
        many.start()
    with broker_ends(many):
        here.volley(many, _WARM_UP)
    _write(many, number)
    with here.broker("records-few") as few, on_core(here.cores.server):
        began = time.monotonic()
        many.start()
        start = time.monotonic() - began
        with broker_ends(many):
            cost = _rounds(here, {"few": few, "many": many}, rounds=rounds, requests=requests, chance=chance)
    began = time.monotonic()
    verdict = many.admin("audit", "verify")
    if verdict.returncode:
        raise BrokenLog(f"audit verify: {verdict.stdout}{verdict.stderr}")
    return Records(number, cost["few"], cost["many"], start, time.monotonic() - began)


def part(found: Records) -> Part:
    """The row of goal 8 about records."""
    row = compared(
        8,
        f"warm Negotiate request behind an audit log of {found.number:,} records, against a new one: server CPU",
        "us",
        ours=found.many_us,
        peer=found.few_us,
        goal=1.20,
    )
    remark = (
        f"Behind {found.number:,} records the broker listened {found.start:.1f} s after its start; `audit verify` of all took "
        f"{found.verify:.1f} s."
    )
    return Part([row], asdict(found), [remark])


def _rounds(
    here: Ground, brokers: Mapping[str, BrokerProcess], *, rounds: int, requests: int, chance: random.Random
) -> Mapping[str, Sequence[float]]:
    cost: dict[str, list[float]] = {name: [] for name in brokers}
    for broker in brokers.values():
        here.volley(broker, _WARM_UP)
    for _ in range(rounds):
        for name in chance.sample(sorted(brokers), k=len(brokers)):
            done = here.volley(brokers[name], requests)
            cost[name].append(done.server_cpu / done.count * 1e6)
    return cost


def _write(broker: BrokerProcess, number: int) -> None:
    """So many records more, each like the last one that somebody was given credentials on."""
    issued: Mapping[str, Any] = [record for record in broker.records() if record["event"] == "issued"][-1]
    members = {name: value for name, value in issued.items() if name not in _OF_THE_CHAIN}
    settings = settings_of(broker)
    signer, *former = signers_by(hierarchy_of(settings))
    writer = Writer(directory=settings.audit.directory, signer=signer, former=former, clock=SystemClock())
    for written in range(_BATCH, number + _BATCH, _BATCH):
        writer.commit([members] * _BATCH)
        if written % _STATED_EVERY == 0 and (draft := writer.draft()) is not None:
            writer.publish(draft)
    writer.close()
