"""``python -m bench.scaling``: measure, and write the numbers down; with ``--users N`` reckon from what was written.

Takes root: the instances stand in network namespaces.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import fields
from pathlib import Path

from bench import machine
from bench.scaling import fleet, measure, page
from bench.scaling.model import Measured, People

NUMBERS = Path(__file__).with_name("measured.json")
DOCUMENT = Path(__file__).parents[2] / "docs" / "scaling.md"


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(prog="python -m bench.scaling", description=__doc__)
    for field in fields(People):
        option = f"--{field.name.replace('_', '-')}"
        default = None if field.name == "users" else field.default
        parser.add_argument(option, type=int if field.type == "int" else float, default=default, metavar="N")
    parser.add_argument("--instances", type=int, default=fleet.INSTANCES, help="how many are started (%(default)s)")
    parser.add_argument("--record", action="store_true", help="put the numbers into docs/scaling.md")
    given = vars(parser.parse_args())
    instances, record = given.pop("instances"), given.pop("record")
    if given["users"] is not None:
        print(page.answer(People(**given), read()))
        return
    measured = _measure(instances)
    print(page.content(measured))
    if record:
        NUMBERS.write_text(json.dumps(measured.members(), indent=2) + "\n")
        DOCUMENT.write_text(page.recorded(DOCUMENT.read_text(), measured))


def read() -> Measured:
    """What was written down."""
    return Measured.read(json.loads(NUMBERS.read_text()))


def _measure(instances: int) -> Measured:
    facts = machine.facts()
    alone = measure.measure()
    return Measured(
        broker_us={kind: cost.broker_us for kind, cost in alone.kinds.items()},
        redis_us={kind: cost.redis_us for kind, cost in alone.kinds.items()},
        audit_bytes={kind: cost.audit_bytes for kind, cost in alone.kinds.items()},
        redis_bytes=alone.redis_bytes,
        pss_bytes=alone.pss_bytes,
        fleet=fleet.measure(instances),
        machine=facts,
    )


if __name__ == "__main__":
    main()
