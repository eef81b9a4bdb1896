"""``python -m bench.gate``: how many instructions a warm request with a ticket takes, against the number that is written down.

callgrind counts them, so neither the machine's speed nor its neighbours are in the number. Exit code 1 where it is more than 5 %
away from what ``bench/gate.json`` says: a change that costs, or one that saves and should be written down (``--record``).
The ratio to Apache is printed for orientation; its goal is judged by ``make bench``.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from bench import instructions, machine

WRITTEN = Path(__file__).with_name("gate.json")
_TOLERANCE = 0.05


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m bench.gate", description=__doc__)
    parser.add_argument("--record", action="store_true", help="write the number down")
    arguments = parser.parse_args()
    ours, apache = instructions.broker(), instructions.apache()
    print(f"{ours:,.0f} instructions a warm request, {ours / apache:.2f} times Apache's {apache:,.0f}")
    if arguments.record:
        facts = {name: machine.facts()[name] for name in ("date", "python", "system", "krb5")}
        WRITTEN.write_text(json.dumps({"instructions": round(ours), **facts}, indent=2) + "\n")
        return 0
    written = json.loads(WRITTEN.read_text())["instructions"]
    change = ours / written - 1
    print(f"{change:+.1%} against the {written:,} that are written down; {_TOLERANCE:.0%} are tolerated")
    return int(abs(change) > _TOLERANCE)


if __name__ == "__main__":
    sys.exit(main())
