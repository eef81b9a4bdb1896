"""A short soak: thousands of requests, good and bad in every way, and the broker holds afterwards what it held before.

The long one, with a million of each, is a command: ``python -m bench.soak``.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import curve, soak

GOOD = BAD = 2000
# Octets a request. A leak of a hundred shows; the allocator's unrest over so few requests is a third of this.
FLAT = 60.0


# Seconds. Ten are enough, and a machine that does much else took a hundred and eight.
@pytest.mark.timeout(600)
def test_thousands_of_good_and_bad_requests_leave_nothing_behind(tmp_path: Path) -> None:
    with soak.house(tmp_path, limits=False) as here:
        soak.run(here, good=GOOD // 2, bad=BAD // 2)
        seen, answers = soak.run(here, good=GOOD, bad=BAD, points=20)
        # What a machine that is busy with other tests has no time for is refused; it is not given.
        assert {status for _, status, is_right in soak.wrong(answers)} <= {"503 replay_guard_unavailable"}
        assert curve.growth(seen) < FLAT
        assert max(point.descriptors for point in curve.settled(seen)) <= seen[0].descriptors + soak.CONNECTIONS
        assert here.broker.stop() == 0
