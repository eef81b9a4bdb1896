"""From people to machines: the arithmetic, and that docs/scaling.md says what was measured."""

from __future__ import annotations

import dataclasses

import pytest

from bench.scaling import page
from bench.scaling.__main__ import DOCUMENT, read
from bench.scaling.model import BUSY, FEWEST, STS_QUOTA, Measured, People, reckon

MEASURED = Measured(
    broker_us={"ticket": 500.0, "session": 200.0, "miss": 2200.0, "refused": 150.0},
    redis_us={"ticket": 20.0, "session": 5.0, "miss": 105.0, "refused": 5.0},
    audit_bytes={"ticket": 1000.0, "session": 900.0, "miss": 1900.0, "refused": 800.0},
    redis_bytes={"empty": 1e6, "entry": 2000.0, "token": 200.0, "session": 400.0},
    pss_bytes={"rest": 50e6, "entry": 5000.0},
    fleet={"redis_us_idle": 100.0},
    machine={},
)
# Nobody is away, everybody asks once an hour by ticket, evenly; one role each.
EVEN = People(3600, active=1, requests=10, peak_hour=0.1, burst=1, roles=1, hops=2, arrival=60, quota=1)


def test_rates_are_those_of_the_busiest_seconds() -> None:
    assert reckon(EVEN, MEASURED).tickets == pytest.approx(1.0)
    assert reckon(dataclasses.replace(EVEN, burst=3), MEASURED).tickets == pytest.approx(3.0)


def test_cores_are_for_tickets_and_for_the_chains_of_a_morning() -> None:
    # One ticket and one chain a second; a chain costs what it costs more than a session.
    assert reckon(EVEN, MEASURED).cores == pytest.approx((500 + 2000) / 1e6)


def test_one_instance_more_than_carry_it_half_busy_and_never_fewer_than_two() -> None:
    need = reckon(dataclasses.replace(EVEN, users=3_600_000), MEASURED)
    assert need.cores == pytest.approx(2.5)
    assert need.instances == 2.5 / BUSY + 1
    assert reckon(EVEN, MEASURED).instances == FEWEST


def test_twice_the_people_are_twice_the_load() -> None:
    one, two = reckon(EVEN, MEASURED), reckon(dataclasses.replace(EVEN, users=7200), MEASURED)
    for name in ("tickets", "chains", "cores", "sts_calls", "audit_day"):
        assert getattr(two, name) == pytest.approx(2 * getattr(one, name))


def test_agents_ask_by_session_once_for_each_role_and_forty_minutes() -> None:
    need = reckon(dataclasses.replace(EVEN, agents=1), MEASURED)
    assert need.tickets == 0
    # Eight hours have twelve times forty minutes.
    assert need.sessions == pytest.approx(3600 * 12 * 0.1 / 3600)


def test_a_morning_beyond_the_share_of_the_quota_wants_another_region() -> None:
    # 300 chains a second of two hops are the whole quota of one region.
    crowd = dataclasses.replace(EVEN, users=300 * 3600)
    assert reckon(crowd, MEASURED).sts_calls_morning == pytest.approx(STS_QUOTA)
    assert reckon(crowd, MEASURED).regions == 1
    assert reckon(dataclasses.replace(crowd, quota=0.5), MEASURED).regions == 2


def test_all_instances_together_keep_to_the_share_of_the_quota() -> None:
    need = reckon(dataclasses.replace(EVEN, users=100 * 3600, quota=0.5), MEASURED)
    assert need.sts_rate * need.instances <= STS_QUOTA * 0.5


def test_redis_holds_entries_sessions_and_the_uses_of_eleven_minutes() -> None:
    # Twice: room for what Redis needs beside its data.
    assert reckon(EVEN, MEASURED).redis_bytes == pytest.approx(2 * (1e6 + 3600 * 2000 + 660 * 200 + 3600 * 400))


def test_sizes_are_said_as_people_say_them() -> None:
    assert [page.size(count) for count in (12, 1_500, 2_340_000, 5e9)] == ["12 bytes", "1.5 kB", "2.34 MB", "5 GB"]


def test_the_page_says_what_was_measured() -> None:
    document = DOCUMENT.read_text(encoding="utf-8")
    assert page.recorded(document, read()) == document


def test_a_page_without_its_markers_is_not_written_to() -> None:
    with pytest.raises(ValueError, match="are missing"):
        page.recorded("# Scaling\n", MEASURED)
