"""``python -m bench``: measure, print the table, write ``bench/results.json``."""

from __future__ import annotations

import argparse
import random
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import NamedTuple, NoReturn

from bench import helper, instructions, machine, negotiate, report, sizes
from bench.processes import Cores
from bench.stage import stage

RESULTS = Path(__file__).with_name("results.json")
DOCUMENT = Path(__file__).parents[1] / "docs" / "performance.md"


class Size(NamedTuple):
    """How much is measured."""

    rounds: int
    requests: int
    pairs: int
    counts: int


QUICK = Size(rounds=5, requests=500, pairs=20, counts=1)
# Enough for an interval of 5 to 9 % on a quiet machine.
FULL = Size(rounds=13, requests=1000, pairs=60, counts=2)


def main() -> None:
    """Exit code 0 when everything could be measured, whether the goals are reached or not: a busy machine is no defect."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--full", action="store_true", help="13 rounds of 1,000 instead of 5 of 500")
    parser.add_argument("--record", action="store_true", help="put the table into docs/performance.md")
    arguments = parser.parse_args()
    size = FULL if arguments.full else QUICK
    # Terminated or hung up, the servers still end: the blocks below unwind.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)

    facts = machine.facts()
    cores = Cores.of_this_machine()
    chance = random.Random()  # noqa: S311  # the order of the rounds
    with stage(cores) as here:
        rounds = negotiate.measure(here, cores, rounds=size.rounds, requests=size.requests, chance=chance)
        pairs = helper.measure(here, cores, pairs=size.pairs)
    counted = instructions.measure(size.counts)
    alone = sizes.measure(cores, full=arguments.full, chance=chance)

    parts = {
        "negotiate": negotiate.part(rounds),
        "helper": helper.part(pairs),
        "instructions": instructions.part(counted),
        **alone,
    }
    table = report.table([row for part in parts.values() for row in part.rows])
    remarks = report.remarks(facts, parts)
    print(f"{table}\n\n{remarks}")
    report.write(RESULTS, machine=facts, parts=parts)
    if arguments.record:
        DOCUMENT.write_text(report.recorded(DOCUMENT.read_text(), f"{table}\n\n{remarks}"))


def _leave(number: int, _: FrameType | None) -> NoReturn:
    sys.exit(128 + number)


if __name__ == "__main__":
    main()
