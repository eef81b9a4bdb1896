"""What is measured without a peer: a cold herd, growth, two instances, memory at rest and the start; one after the other."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from bench import begin, cold, entries, growth, instances, records, rest
from bench.ground import ground
from bench.processes import Cores
from bench.row import Part


class Size(NamedTuple):
    """How much of each is measured.

    Attributes:
        rules: The lengths of the policies, from few to many.
        entries: Cached credentials.
        records: In the audit log.
        volley: Requests a round and broker.
        kept: Warm requests whose traces in memory are looked for.
    """

    herds: int
    starts: int
    brokers: int
    rules: Sequence[int]
    entries: int
    records: int
    rounds: int
    volley: int
    kept: int


QUICK = Size(
    herds=3,
    starts=5,
    brokers=2,
    rules=(growth.FEW, growth.MANY),
    entries=5_000,
    records=10_000,
    rounds=5,
    volley=400,
    kept=8_000,
)
FULL = Size(
    herds=7,
    starts=15,
    brokers=5,
    rules=(growth.FEW, 100, 1000, 10_000, growth.MANY),
    entries=100_000,
    records=300_000,
    rounds=13,
    volley=800,
    kept=100_000,
)


def measure(cores: Cores, *, full: bool, chance: random.Random) -> Mapping[str, Part]:
    """The parts by name. Raises what they raise."""
    size = FULL if full else QUICK
    with ground(cores) as here:
        herds = cold.measure(here, rounds=size.herds)
        grown = growth.measure(
            here, sizes=size.rules, rounds=size.rounds, requests=size.volley, chance=chance, reload=full
        )
        kept = entries.measure(here, number=size.entries, rounds=size.rounds, requests=size.volley, chance=chance)
        logged = records.measure(here, number=size.records, rounds=size.rounds, requests=size.volley, chance=chance)
        doubled = instances.measure(here, rounds=size.rounds, requests=size.volley, chance=chance)
        rested = rest.measure(here, brokers=size.brokers, requests=size.kept)
        begun = begin.measure(here, starts=size.starts)
    return {
        "cold": cold.part(herds),
        "growth": growth.part(grown),
        "entries": entries.part(kept),
        "records": records.part(logged),
        "instances": instances.part(doubled),
        "rest": rest.part(rested),
        "begin": begin.part(begun),
    }
