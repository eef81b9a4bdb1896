"""The table, on the terminal and in docs/performance.md, and the file with every single number. Pure but for ``write``."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import growth
from bench.helper import AGENT, HTTP, HTTPS, SOCKET, Pair
from bench.negotiate import Round
from bench.ratios import Estimate, estimate, quantile, ratios

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
_SEED = 1  # Any; the same for all rows.
# Above this share of the server's CPU the load itself may hide a slow tail.
_LOAD_SHARE = 0.10

_TAIL = 0.95  # of the helper's times

# What a user waits for, and how much longer than with curl it may take.
_HELPER = {
    HTTP: ("helper over http on loopback, against curl --negotiate: wall time", 1.75),
    SOCKET: ("helper over the broker's socket, against curl --negotiate --unix-socket", 1.75),
    HTTPS: ("helper over https, against curl --negotiate over https", 2.10),
    AGENT: ("helper with an agent, against curl --negotiate over http without one", 1.20),
}

_HEADINGS = ("what", "ours", "peer", "ratio", "95 % interval", "goal", "reached")


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison. Absolute values are medians, for orientation: only the ratio means something."""

    what: str
    unit: str
    ours: float
    peer: float
    ratio: Estimate
    goal: float

    @property
    def reached(self) -> bool:
        """Whether the median keeps the goal."""
        return self.ratio.value <= self.goal

    def cells(self) -> tuple[str, ...]:
        """As text, in the order of the headings."""
        return (
            self.what,
            f"{self.ours:.3g} {self.unit}" if self.ours < 100 else f"{self.ours:.0f} {self.unit}",  # noqa: PLR2004
            f"{self.peer:.3g} {self.unit}" if self.peer < 100 else f"{self.peer:.0f} {self.unit}",  # noqa: PLR2004
            f"{self.ratio.value:.2f}",
            f"{self.ratio.low:.2f} to {self.ratio.high:.2f}",
            f"<= {self.goal:.2f}",
            "yes" if self.reached else "no",
        )


def rows(rounds: Sequence[Round], pairs: Mapping[str, Sequence[Pair]], grown: Sequence[growth.Pair]) -> list[Row]:
    """The comparisons that the goals of docs/performance.md are about."""
    return [
        _row(
            "warm Negotiate request, durable audit, against Apache + mod_auth_gssapi: server CPU",
            "us",
            [each.broker.cpu_us for each in rounds],
            [each.apache.cpu_us for each in rounds],
            goal=1.00,
        ),
        _row(
            "the same: p99 latency at 16 connections",
            "ms",
            [each.broker.p99_ms for each in rounds],
            [each.apache.p99_ms for each in rounds],
            goal=0.60,
        ),
        *(
            _row(what, "ms", [pair.helper_ms for pair in pairs[way]], [pair.curl_ms for pair in pairs[way]], goal=goal)
            for way, (what, goal) in _HELPER.items()
        ),
        _row(
            "the first row's request where the policy has 100,000 rules, against 10: server CPU (decisions timed alone)",
            "us",
            [each.broker.cpu_us + pair.many_us - pair.few_us for each, pair in zip(rounds, grown, strict=True)],
            [each.broker.cpu_us for each in rounds],
            goal=1.20,
        ),
    ]


def _row(what: str, unit: str, ours: Sequence[float], peer: Sequence[float], *, goal: float) -> Row:
    return Row(
        what=what,
        unit=unit,
        ours=statistics.median(ours),
        peer=statistics.median(peer),
        ratio=estimate(ratios(ours, peer), seed=_SEED),
        goal=goal,
    )


def table(found: Sequence[Row]) -> str:
    """Markdown whose columns also line up on a terminal."""
    lines = [_HEADINGS, *(row.cells() for row in found)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEADINGS))]
    text = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    ]
    text.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(text)


def remarks(machine: Mapping[str, Any], rounds: Sequence[Round], pairs: Mapping[str, Sequence[Pair]]) -> str:
    """Where the table comes from, and what to think of it."""
    share = statistics.median(each.broker.load_share for each in rounds)
    apache_share = statistics.median(each.apache.load_share for each in rounds)
    start = statistics.median(pair.interpreter_ms for pair in pairs[HTTP])
    apache = machine["apache"].removeprefix("Server version: ")
    said = [
        f"{machine['date'][:10]}, {machine['cores']} cores of {machine['cpu']}, {machine['system']},",
        f"Linux {machine['kernel']}, Python {machine['python']}, {apache}, {machine['krb5']}.",
        f"{len(rounds)} rounds for each server, {len(pairs[HTTP])} pairs of helper and curl for each way.",
        f"The load generator used {share:.0%} of the broker's CPU time and {apache_share:.0%} of Apache's.",
        f"Starting `python -I -S` and nothing else took {start:.1f} ms.",
        f"The helper's median and 95th percentile in ms: {', '.join(_times(way, pairs[way]) for way in _HELPER)}.",
    ]
    if max(share, apache_share) > _LOAD_SHARE:
        said.append(f"More than {_LOAD_SHARE:.0%}: latencies include the generator's own queue.")
    if machine["busy"]:
        load = machine["load_average_before"]
        said.append(
            f"The machine was not idle before the start (load average {load:.1f}): expect wider intervals than on a quiet one."
        )
    return "\n".join(said)


def _times(way: str, pairs: Sequence[Pair]) -> str:
    found = [pair.helper_ms for pair in pairs]
    return f"{way} {quantile(found, 0.5):.1f} and {quantile(found, _TAIL):.1f}"


def recorded(document: str, content: str) -> str:
    """The document with ``content`` between the markers of this table. Raises like ``between``."""
    return between(document, "bench", content)


def between(document: str, name: str, content: str) -> str:
    """The document with ``content`` between its markers of a name.

    Raises:
        ValueError: The markers are missing.
    """
    begin_here, end_here = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    before, begin, rest = document.partition(begin_here)
    _, end, after = rest.partition(end_here)
    if not begin or not end:
        raise ValueError(f"{begin_here} and {end_here} are missing")
    return f"{before}{begin}\n{content.strip()}\n{end}{after}"


def write(
    path: Path,
    *,
    machine: Mapping[str, Any],
    found: Sequence[Row],
    rounds: Sequence[Round],
    pairs: Mapping[str, Sequence[Pair]],
) -> None:
    """Write every number as JSON."""
    content = {
        "machine": machine,
        "rows": [dataclasses.asdict(row) | {"reached": row.reached} for row in found],
        "negotiate_rounds": [dataclasses.asdict(each) for each in rounds],
        "helper_pairs": {way: [dataclasses.asdict(pair) for pair in those] for way, those in pairs.items()},
    }
    path.write_text(json.dumps(content, indent=2) + "\n")
