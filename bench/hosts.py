"""``python -m bench.hosts``: break what can break between two hosts, again and again, and write down what clients saw of it.

Each round: people work at both brokers, one fault is made, it lasts, it is mended, and all is judged (`tests/fakes/judge.py`).
``--record`` puts the table into docs/reliability.md, ``--json FILE`` every number into a file. A wrong answer ends it with 1.
Takes root.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench import machine
from tests.fakes.outages import KINDS, Kind, broken, flows, seen, verdict
from tests.fakes.redis_hosts import DOWN_AFTER_MS
from tests.fakes.site import BROKERS, Site
from tests.fakes.traffic import Traffic
from tests.fakes.until import eventually

DOCUMENT = Path(__file__).parents[1] / "docs" / "reliability.md"
BEGIN, END = "<!-- hosts:begin -->", "<!-- hosts:end -->"
_HEADINGS = (
    "fault",
    "rounds",
    "another primary",
    "tickets elsewhere",
    "tickets there",
    "there, once mended",
    "sessions elsewhere",
    "sessions there",
    "wrong",
)
_LASTS_SECONDS = 6.0  # A failover takes three; what is served without the host has to show as well.


@dataclass(frozen=True, slots=True)
class Round:
    """One fault. Seconds; None where it was not to be.

    Attributes:
        victim: The host that was hit.
        failover: Until Sentinels had named another primary.
        tickets, sessions: For each broker, since the fault until the first answer behind the last failure.
        mended: The same for tickets at each broker, since the mending.
        failures: How often clients were answered with what, until it was mended and behind it.
        answers: How many requests were answered as they should be.
        wrong: What the judge found.
    """

    kind: str
    victim: str
    failover: float | None
    tickets: Mapping[str, float]
    sessions: Mapping[str, float]
    mended: Mapping[str, float]
    failures: Mapping[str, int]
    answers: int
    wrong: Sequence[str]


def main() -> int:
    """Run the program."""
    parser = argparse.ArgumentParser(prog="python -m bench.hosts", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="of each fault (%(default)s)")
    parser.add_argument("--only", choices=KINDS, action="append", help="this fault; may be given again")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every number there")
    parser.add_argument("--record", action="store_true", help="put the table into docs/reliability.md")
    given = parser.parse_args()
    facts, rounds = machine.facts(), []
    with tempfile.TemporaryDirectory(prefix="hosts-", dir=machine.DISK) as folder, Site(Path(folder)) as site:
        for _ in range(given.rounds):
            for name in given.only or KINDS:
                rounds.append(one(site, name, KINDS[name]))
                print(_line(rounds[-1]), flush=True)
    text = content(facts, rounds)
    print(f"\n{text}")
    if given.json:
        given.json.write_text(json.dumps({"machine": facts, "rounds": [asdict(each) for each in rounds]}, indent=2))
    if given.record:
        DOCUMENT.write_text(recorded(DOCUMENT.read_text(), text))
    return int(any(each.wrong for each in rounds))


def one(site: Site, name: str, kind: Kind) -> Round:
    """Break it, mend it, judge it; all is whole before and behind."""
    site.quorum.wait_until_whole()
    with Traffic(site) as traffic:
        eventually(lambda: all(flows(traffic, broker, "ticket", since=0) for broker in BROKERS))
        with broken(site, kind) as outage:
            time.sleep(_LASTS_SECONDS)
        eventually(lambda: all(flows(traffic, broker, "ticket", since=outage.mended) for broker in BROKERS))
        site.quorum.wait_until_whole()
    traffic.everything_again()
    until = {"since": outage.began, "until": outage.mended}
    during = {
        way: {each: seen(traffic, broker=each, way=way, **until) for each in BROKERS} for way in ("ticket", "session")
    }
    behind = {each: seen(traffic, broker=each, way="ticket", since=outage.mended) for each in BROKERS}
    failures = Counter[str]()
    for looked in (*during["ticket"].values(), *during["session"].values(), *behind.values()):
        failures += looked.failures
    return Round(
        kind=name,
        victim=outage.victim,
        failover=outage.failover,
        tickets={broker: looked.back for broker, looked in during["ticket"].items()},
        sessions={broker: looked.back for broker, looked in during["session"].items()},
        mended={broker: looked.back for broker, looked in behind.items()},
        failures=dict(failures),
        answers=len(traffic.attempts) - failures.total(),
        wrong=verdict(site, traffic),
    )


def content(facts: Mapping[str, object], rounds: Sequence[Round]) -> str:
    """The table and what it was measured with."""
    kinds = dict.fromkeys(each.kind for each in rounds)
    lines = [
        _HEADINGS,
        ("---",) * len(_HEADINGS),
        *(_row(name, [each for each in rounds if each.kind == name]) for name in kinds),
    ]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    busy = ", busy with other things" if facts["busy"] else ""
    return (
        f"{facts['date']}, {facts['cpu']}, {facts['cores']} cores{busy}; `down-after-milliseconds` is {DOWN_AFTER_MS}. "
        f"Seconds: median (longest). {sum(each.answers for each in rounds):,} answers were judged.\n\n{table}"
    )


def recorded(document: str, text: str) -> str:
    """The document with the text between its markers; at its end where it has none yet."""
    if BEGIN not in document:
        document = f"{document.rstrip()}\n\n## Two hosts\n\n{BEGIN}\n{END}\n"
    before, _, rest = document.partition(BEGIN)
    return f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}"


def _row(name: str, rounds: Sequence[Round]) -> tuple[str, ...]:
    moves = [each.failover for each in rounds if each.failover is not None]
    there = [each.tickets[each.victim] for each in rounds if each.victim in each.tickets]
    elsewhere = [seconds for each in rounds for broker, seconds in each.tickets.items() if broker != each.victim]
    mended = [each.mended[each.victim] for each in rounds if each.victim in each.mended]
    sessions_there = [each.sessions[each.victim] for each in rounds if each.victim in each.sessions]
    sessions = [seconds for each in rounds for broker, seconds in each.sessions.items() if broker != each.victim]
    return (
        KINDS[name].what,
        str(len(rounds)),
        *map(_seconds, (moves, elsewhere, there, mended, sessions, sessions_there)),
        str(sum(len(each.wrong) for each in rounds)),
    )


def _seconds(found: Iterable[float]) -> str:
    """Median and longest; of what never came back nothing can be said but that."""
    values = list(found)
    if not values:
        return "-"
    if max(values) == float("inf"):
        return "not before it was mended"
    if max(values) == 0:
        return "no failure"
    return f"{statistics.median(values):.1f} ({max(values):.1f})"


def _line(done: Round) -> str:
    wrong = f"; WRONG: {done.wrong[:3]}" if done.wrong else ""
    return f"{KINDS[done.kind].what} ({done.victim}): {done.answers} answers, {done.failures}{wrong}"


if __name__ == "__main__":
    sys.exit(main())
