"""The memory of a broker at rest, and what requests leave behind: goal 10.

The proportional share (PSS) of its whole process tree. Other programs in Python that run meanwhile, such as the benchmark
itself, take a part of what is read of files; so the resident memory, in which nothing is shared, is said beside it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from bench import curve
from bench.curve import Point
from bench.ground import Ground, pid_of
from bench.load import CONNECTIONS
from bench.processes import tree
from bench.row import Part, alone

# What is loaded behind the start, and given back, has been by then.
_REST_SECONDS = 2.0
_VOLLEY = 1000
_MB = 1e6


@dataclass(frozen=True, slots=True)
class Rest:
    """Octets of each broker that was started, and the looks at the last while it worked."""

    pss: Sequence[int]
    rss: Sequence[int]
    points: Sequence[Point]


def measure(here: Ground, *, brokers: int, requests: int) -> Rest:
    """Each broker alone: no other instance shares its pages."""
    pss, rss, points = [], [], []
    for number in range(brokers):
        with here.broker(f"rest-{number}", aws=here.generous()) as broker:
            time.sleep(_REST_SECONDS)
            looks = [curve.look(pid, requests=0, seconds=0.0) for pid in tree(pid_of(broker))]
            pss.append(sum(look.pss for look in looks))
            rss.append(sum(look.rss for look in looks))
            if number == brokers - 1:
                for answered in range(_VOLLEY, requests + 1, _VOLLEY):
                    here.volley(broker, _VOLLEY - CONNECTIONS)
                    points.append(curve.look(pid_of(broker), requests=answered, seconds=0.0))
    return Rest(pss, rss, points)


def part(found: Rest) -> Part:
    """The row of goal 10."""
    megabytes = [octets / _MB for octets in found.pss]
    row = alone(10, "memory of an instance at rest, alone on its machine: PSS", "MB", ours=megabytes, goal=60.0)
    requests, grown = found.points[-1].requests, curve.growth(found.points)
    said = (
        f"At rest {max(found.rss) / _MB:.0f} MB were resident (RSS). Of {requests:,} warm requests each left {grown:+.0f} octets "
        "behind; whether that is growth only a longer run tells: docs/reliability.md has one of two million."
    )
    return Part([row], asdict(found), [said])
