"""How what the broker depends on is, and since when."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from broker.core.fault import Fault, code_of, of_error
from broker.watch import dependencies as module
from broker.watch.dependencies import Dependencies
from broker.watch.metrics import Metrics
from tests.fakes.cache import MovedClock

Probe = Callable[[], Awaitable[str | None]]


class Redis:
    """What is said of it."""

    def __init__(self) -> None:
        self.fault: str | None = None
        self.asked = 0
        self.hangs = asyncio.Event()
        self.hangs.set()

    async def ping(self) -> str | None:
        self.asked += 1
        await self.hangs.wait()
        return self.fault


def looking(metrics: Metrics | None = None, **probes: Probe) -> tuple[Dependencies, MovedClock]:
    clock, vital, spared = MovedClock(), frozenset[str](), frozenset({"billed"})
    return Dependencies(probes=probes, vital=vital, spared=spared, metrics=metrics or Metrics(), clock=clock), clock


async def test_it_is_ill_since_it_was_first_seen_so_whatever_else_is_said_of_it_meanwhile() -> None:
    redis = Redis()
    all_of_them, clock = looking(redis=redis.ping)
    began = clock.now()
    assert (await all_of_them.look())["redis"].since == began
    clock.move(timedelta(minutes=1))
    redis.fault = "ConnectionError"
    fell = clock.now()
    assert (await all_of_them.look())["redis"].since == fell
    clock.move(timedelta(minutes=1))
    redis.fault = "TimeoutError"
    state = (await all_of_them.look())["redis"]
    assert (state.fault, state.code, state.since) == ("TimeoutError", "timeout", fell)
    assert list(all_of_them.ill) == ["redis"]
    redis.fault = None
    state = (await all_of_them.look())["redis"]
    assert (state.fault, state.code, state.since) == (None, None, clock.now())
    assert not all_of_them.ill


async def test_the_same_stands_in_the_metrics() -> None:
    redis, metrics = Redis(), Metrics()
    all_of_them, clock = looking(metrics, redis=redis.ping)
    await all_of_them.look()
    assert 'broker_dependency_up{dependency="redis"} 1.0' in metrics.text().decode()
    redis.fault = "slow"
    clock.move(timedelta(seconds=5))
    await all_of_them.look()
    text = metrics.text().decode()
    assert 'broker_dependency_up{dependency="redis"} 0.0' in text
    (since,) = [line for line in text.splitlines() if line.startswith("broker_dependency_since_timestamp_seconds{")]
    assert float(since.split()[-1]) == clock.now().timestamp()


async def test_a_crowd_that_asks_while_one_hangs_asks_it_once_and_hears_of_all_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "PATIENCE", timedelta(seconds=0.05))
    hanging, well = Redis(), Redis()
    hanging.hangs.clear()
    all_of_them, _ = looking(hanging=hanging.ping, well=well.ping)
    answers = await asyncio.gather(*(all_of_them.look() for _ in range(20)))
    assert {answer["hanging"].code for answer in answers} == {"no_answer"}
    assert {answer["well"].fault for answer in answers} == {None}
    assert hanging.asked == 1
    hanging.hangs.set()
    await asyncio.sleep(0)
    assert (await all_of_them.look())["hanging"].fault is None


async def test_a_stranger_who_asks_without_end_has_a_vault_that_bills_asked_once_in_two_seconds() -> None:
    vault, redis = Redis(), Redis()
    all_of_them, clock = looking(billed=vault.ping, redis=redis.ping)
    for _ in range(100):
        await all_of_them.look()
        clock.move(timedelta(milliseconds=100))
    assert (vault.asked, redis.asked) == (5, 100)
    vault.fault = "HTTP 503"
    clock.move(timedelta(seconds=5))
    assert (await all_of_them.look())["billed"].fault == "HTTP 503"


async def test_a_probe_with_a_defect_is_no_pass_and_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def broken() -> str | None:
        raise ZeroDivisionError

    all_of_them, _ = looking(broken=broken)
    assert (await all_of_them.look())["broken"].code == "defect"
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (of_error(OSError(errno.ENOSPC, "No space left on device")), "disk_full"),
        (of_error(OSError(errno.EROFS, "Read-only file system")), "disk_read_only"),
        (of_error(OSError(errno.EIO, "Input/output error")), "disk_error"),
        (of_error(OSError("no number")), "unavailable"),
        (Fault("eu-central-1: sts_timeout", code="sts_timeout"), "sts_timeout"),
        ("ReadOnlyError", "read_only"),
        ("BusyLoadingError", "busy_loading"),
        ("slow", "slow"),
        ("an instance is silent", "unavailable"),
    ],
)
def test_a_code_is_the_fault_s_own_or_the_one_word_that_it_is(fault: str, code: str) -> None:
    assert code_of(fault) == code
