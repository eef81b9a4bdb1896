"""Record or raise, with a real directory under it and a disk that can be told to be slow, to hang or to fail."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from broker.audit import log as log_module
from broker.audit.event import Event, Kind
from broker.audit.log import AuditLog
from broker.audit.signer import signer_of
from broker.core.errors import AccessDenied, AuditUnavailable, StsRejected
from tests.fakes.audit import MASTER, NOON, Directory, SetClock, an_event

# So many that they cannot have a sync each, and so few that a busy machine signs them within the deadline of the last.
MANY = 300


class Disk:
    """Stands between the file and `fdatasync`: counts, fails, or holds every call until it is let go."""

    def __init__(self) -> None:
        self.calls = 0
        self.hangs_at_call = 0
        self.error: OSError | None = None
        self.free = threading.Event()
        self.free.set()
        self._sync = os.fdatasync

    def fdatasync(self, descriptor: int) -> None:
        self.calls += 1
        if self.calls == self.hangs_at_call:
            self.free.clear()
        assert self.free.wait(10)
        if self.error is not None:
            raise self.error
        self._sync(descriptor)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    disk = Disk()
    monkeypatch.setattr(os, "fdatasync", disk.fdatasync)
    yield disk
    disk.free.set()


@pytest.fixture
def open_log(directory: Directory) -> Callable[[], AuditLog]:
    def make() -> AuditLog:
        return AuditLog(directory=directory.path, signer=signer_of(MASTER), clock=SetClock(), observers=[])

    return make


def records(directory: Directory) -> list[str]:
    return [
        line for path in sorted(directory.path.glob("audit-*")) for line in path.read_text().split("\n") if line.strip()
    ]


async def test_hundreds_of_records_at_once_share_a_few_syncs_and_keep_their_order(
    directory: Directory, open_log: Callable[[], AuditLog], disk: Disk
) -> None:
    log = open_log()
    await log.open()
    before = disk.calls
    released: list[int] = []

    async def one(number: int) -> None:
        await log.record(an_event(number, request_id=f"<{number}>"))
        released.append(number)

    await asyncio.gather(*(one(number) for number in range(MANY)))
    assert disk.calls - before < 20
    written = [line for line in records(directory) if '"issued"' in line]
    assert [f'"<{number}>"' in line for number, line in enumerate(written)] == [True] * MANY
    assert released == list(range(MANY))
    await log.close()
    report = directory.verify()
    assert (report.findings, report.records) == ([], MANY + 2)


async def test_nobody_is_released_before_the_disk_has_the_record(
    directory: Directory, open_log: Callable[[], AuditLog], disk: Disk
) -> None:
    log = open_log()
    await log.open()
    disk.free.clear()
    waiting = asyncio.ensure_future(log.record(an_event()))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    disk.free.set()
    await waiting
    assert '"issued"' in records(directory)[-1]
    await log.close()


async def test_a_hanging_disk_fails_the_first_within_a_second_and_those_behind_at_once_and_recovers(
    directory: Directory, open_log: Callable[[], AuditLog], disk: Disk
) -> None:
    log = open_log()
    await log.open()
    disk.free.clear()
    started = time.monotonic()
    outcomes = await asyncio.gather(*(log.record(an_event(n)) for n in range(50)), return_exceptions=True)
    # It is 0.8 s; a busy machine may take a while to notice. Whoever waited for the disk would have waited for ten.
    assert time.monotonic() - started < 5
    assert {type(outcome) for outcome in outcomes} == {AuditUnavailable}
    started = time.monotonic()
    with pytest.raises(AuditUnavailable, match="does not answer"):
        await log.record(an_event())
    assert time.monotonic() - started < 0.6, "at once: nobody waits for the deadline again"
    assert await log.ping() == "the audit disk does not answer"
    disk.free.set()
    async with asyncio.timeout(2):
        while await log.ping() is not None:  # noqa: ASYNC110  # the caller of /readyz has nothing to wait on either
            await asyncio.sleep(0.01)
    await log.record(an_event())
    await log.close()
    assert directory.verify().findings == []


async def test_a_record_that_waited_behind_a_slow_one_still_hears_within_a_second(
    open_log: Callable[[], AuditLog], disk: Disk
) -> None:
    """The disk takes 0.5 s for the first, then hangs: the second has waited already when its own write begins."""
    log = open_log()
    await log.open()
    disk.free.clear()
    first = asyncio.ensure_future(log.record(an_event()))
    await asyncio.sleep(0.01)
    started = time.monotonic()
    second = asyncio.ensure_future(log.record(an_event()))
    await asyncio.sleep(0.5)
    disk.hangs_at_call = disk.calls + 1
    disk.free.set()
    await first
    with pytest.raises(AuditUnavailable):
        await second
    assert time.monotonic() - started < 1.25, "not a deadline of its own behind the first's"


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EROFS, errno.EDQUOT])
async def test_a_failed_sync_is_a_refusal_leaves_nothing_and_is_forgotten_once_the_disk_is_well(
    directory: Directory, open_log: Callable[[], AuditLog], disk: Disk, number: int
) -> None:
    log = open_log()
    await log.open()
    before = records(directory)
    disk.error = OSError(number, os.strerror(number))
    for _ in range(3):
        with pytest.raises(AuditUnavailable, match=os.strerror(number)):
            await log.record(an_event())
    assert records(directory) == before
    assert await log.ping() is not None
    disk.error = None
    assert await log.ping() is None
    assert '"audit_recovered"' in records(directory)[-1]
    await log.record(an_event())
    await log.close()
    assert directory.verify().findings == []


async def test_a_short_write_leaves_no_part_of_a_record(
    directory: Directory, open_log: Callable[[], AuditLog], monkeypatch: pytest.MonkeyPatch
) -> None:
    log = open_log()
    await log.open()
    before = records(directory)
    write, room = os.write, 100

    def short(descriptor: int, data: bytes) -> int:
        nonlocal room
        if room == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        done = write(descriptor, data[:room])
        room -= done
        return done

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", short)
        with pytest.raises(AuditUnavailable):
            await log.record(an_event())
    assert room == 0
    assert records(directory) == before
    await log.close()
    assert directory.verify().findings == []


async def test_what_a_failed_append_could_not_take_back_is_cut_off_before_the_next(
    directory: Directory, open_log: Callable[[], AuditLog], disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = open_log()
    await log.open()

    def refuse(descriptor: int, length: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "ftruncate", refuse)
        disk.error = OSError(errno.EIO, "Input/output error")
        with pytest.raises(AuditUnavailable):
            await log.record(an_event(1))
    disk.error = None
    await log.record(an_event(2))
    await log.close()
    assert "ASIAEXAMPLE000000001" not in "".join(records(directory))
    assert directory.verify().findings == []


async def test_an_event_that_no_record_can_hold_is_refused_alone(
    directory: Directory, open_log: Callable[[], AuditLog]
) -> None:
    log = open_log()
    await log.open()
    outcomes = await asyncio.gather(
        log.record(an_event(1)),
        log.record(an_event(2, role="\ud800")),
        log.record(an_event(3, resource="x" * (1 << 21))),
        log.record(an_event(4)),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes] == [type(None), AuditUnavailable, AuditUnavailable, type(None)]
    assert log.failure is None
    await log.close()
    report = directory.verify()
    assert (report.findings, report.records) == ([], 4)


async def test_a_record_says_what_was_true_when_it_was_handed_over(
    directory: Directory, open_log: Callable[[], AuditLog], disk: Disk
) -> None:
    """The event stays the caller's, who may be cancelled and write on while the disk is busy."""
    log = open_log()
    await log.open()
    disk.free.clear()
    event = an_event(1)
    first = asyncio.ensure_future(log.record(an_event(0)))
    waiting = asyncio.ensure_future(log.record(event))
    await asyncio.sleep(0.01)
    event.refused("changed_my_mind")
    disk.free.set()
    await asyncio.gather(first, waiting)
    assert '"access_key_id":"ASIAEXAMPLE000000001"' in records(directory)[-1]
    await log.close()


async def test_a_caller_that_is_cancelled_takes_nobody_along(
    directory: Directory, open_log: Callable[[], AuditLog], disk: Disk
) -> None:
    log = open_log()
    await log.open()
    disk.free.clear()
    callers = [asyncio.ensure_future(log.record(an_event(number))) for number in range(5)]
    await asyncio.sleep(0.01)
    callers[0].cancel()
    callers[3].cancel()
    disk.free.set()
    outcomes = await asyncio.gather(*callers, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [
        asyncio.CancelledError,
        type(None),
        type(None),
        asyncio.CancelledError,
        type(None),
    ]
    await log.close()
    assert directory.verify().records == 7


@pytest.mark.parametrize(
    ("raised", "reason"),
    [
        (AccessDenied(reason="no_rule"), "no_rule"),
        (StsRejected(), "sts_rejected"),
        (RuntimeError(), "internal_error"),
        (asyncio.CancelledError(), "cancelled"),
    ],
)
async def test_whatever_ends_an_attempt_is_recorded_as_a_refusal_even_after_credentials_were_in_hand(
    directory: Directory, open_log: Callable[[], AuditLog], raised: BaseException, reason: str
) -> None:
    log = open_log()
    await log.open()
    with pytest.raises(type(raised)):
        async with log.attempt(an_event()):
            raise raised
    line = records(directory)[-1]
    assert '"event":"refused"' in line
    assert f'"reason":"{reason}"' in line
    assert '"success":false' in line
    assert "ASIA" not in line
    await log.close()


async def test_an_attempt_that_says_nothing_is_a_refusal(
    directory: Directory, open_log: Callable[[], AuditLog]
) -> None:
    log = open_log()
    await log.open()
    async with log.attempt(Event(action="get_credentials", resource="developer")):
        pass
    assert '"success":false' in records(directory)[-1]
    await log.close()


async def test_an_attempt_whose_record_fails_raises_and_observers_hear_nothing(
    directory: Directory, disk: Disk
) -> None:
    heard: list[Event] = []
    log = AuditLog(directory=directory.path, signer=signer_of(MASTER), clock=SetClock(), observers=[heard.append])
    await log.open()
    heard.clear()
    disk.error = OSError(errno.EIO, "Input/output error")
    with pytest.raises(AuditUnavailable):
        async with log.attempt(an_event()):
            pass
    assert heard == []
    disk.error = None
    async with log.attempt(an_event()):
        pass
    assert [event.kind for event in heard] == [Kind.ISSUED]
    await log.close()


async def test_after_the_end_nothing_is_recorded_and_nothing_allowed(open_log: Callable[[], AuditLog]) -> None:
    log = open_log()
    await log.open()
    await log.close()
    with pytest.raises(AuditUnavailable, match="closed"):
        await log.record(an_event())


async def test_a_commit_that_was_cancelled_is_no_success(open_log: Callable[[], AuditLog], disk: Disk) -> None:
    log = open_log()
    await log.open()
    disk.free.clear()
    waiting = asyncio.ensure_future(log.record(an_event()))
    await asyncio.sleep(0.01)
    assert log._in_flight is not None
    log._in_flight.cancel()
    with pytest.raises(AuditUnavailable):
        await waiting


async def test_a_clock_that_goes_backwards_leaves_the_chain_whole(directory: Directory) -> None:
    clock = SetClock()
    log = AuditLog(directory=directory.path, signer=signer_of(MASTER), clock=clock, observers=[])
    await log.open()
    await log.record(an_event(1))
    clock.time = NOON - timedelta(hours=2)
    await log.record(an_event(2))
    await log.checkpoint()
    await log.close()
    report = directory.verify()
    assert (report.findings, report.records) == ([], 4)


async def test_checkpoints_come_by_themselves_and_only_where_something_happened(
    directory: Directory, open_log: Callable[[], AuditLog], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert timedelta(minutes=1) > log_module.CHECKPOINT_EVERY
    monkeypatch.setattr(log_module, "CHECKPOINT_EVERY", timedelta(milliseconds=5))
    log = open_log()
    await log.open()
    counted = directory.verify().checkpoints
    task = asyncio.ensure_future(log.keep_checkpointing())
    await asyncio.sleep(0.05)
    assert directory.verify().checkpoints == counted
    await log.record(an_event())
    await asyncio.sleep(0.05)
    assert directory.verify().checkpoints == counted + 1
    assert log.last_checkpoint == NOON.timestamp()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await log.close()


async def test_a_stop_just_when_a_checkpoint_is_written_is_heard(
    open_log: Callable[[], AuditLog], monkeypatch: pytest.MonkeyPatch
) -> None:
    log = open_log()
    await log.open()
    written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    monkeypatch.setattr(log_module, "CHECKPOINT_EVERY", timedelta(0))
    monkeypatch.setattr(log._worker, "do", lambda _: written)
    task = asyncio.ensure_future(log.keep_checkpointing())
    await asyncio.sleep(0.01)
    written.set_result(None)
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=1)
    task.cancel()
    assert done == {task}
    monkeypatch.undo()
    await log.close()


_HANG_AND_STOP = """
import asyncio, os, sys, time
from pathlib import Path
from broker.audit.log import AuditLog
from broker.audit.signer import signer_of
from broker.core.clock import SystemClock

async def main():
    log = AuditLog(directory=Path(sys.argv[1]), signer=signer_of(bytes(32)), clock=SystemClock(), observers=[])
    await log.open()
    os.fdatasync = lambda descriptor: time.sleep(60)
    await log.close()

asyncio.run(main())
"""


def test_a_disk_that_hangs_does_not_keep_a_stopped_broker_from_ending(tmp_path: Path) -> None:
    started = time.monotonic()
    subprocess.run([sys.executable, "-c", _HANG_AND_STOP, str(tmp_path / "audit")], check=True, timeout=20)
    assert time.monotonic() - started < 8
