"""The notifier over a real log and a real disk, with a channel that does as it is told and a clock that stands still."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from broker.audit.alert import Severity
from broker.audit.event import Event, Kind
from broker.audit.log import AuditLog
from broker.audit.signer import signer_of
from broker.core.principal import Principal
from broker.keys.envelope import Envelope
from broker.watch.breach import KEPT, Notifier, Outlet
from broker.watch.channels.port import Message, Refused, Undelivered
from broker.watch.spool import SpoolFile
from broker.watch.wording import Wording, plain
from tests.fakes.audit import MASTER, SetClock
from tests.fakes.notices import ALICE, alarm


@dataclass
class Pigeon:
    """A channel. ``fails`` is raised at each delivery until it is taken away; a float is slept before."""

    fails: Exception | float | None = None
    carried: list[Message] = field(default_factory=list)
    tries: int = 0

    async def deliver(self, message: Message) -> str:
        self.tries += 1
        if isinstance(self.fails, float):
            await asyncio.sleep(self.fails)
        if isinstance(self.fails, Exception):
            raise self.fails
        self.carried.append(message)
        return "coo"

    async def close(self) -> None:
        self.fails = None


class World:
    def __init__(self, folder: Path, *severities: Severity) -> None:
        self.folder = folder
        self.clock = SetClock()
        observers: list[Callable[[Event], None]] = []
        signer = signer_of(MASTER)
        self.audit = AuditLog(directory=folder / "audit", signer=signer, clock=self.clock, observers=observers)
        self.pigeons = [Pigeon() for _ in severities or (Severity.LOW,)]
        self.outlets = {
            f"pigeon-{number}": Outlet(
                channel=pigeon, wording=Wording(template=None, escape=plain), min_severity=severity
            )
            for number, (pigeon, severity) in enumerate(
                zip(self.pigeons, severities or (Severity.LOW,), strict=True), 1
            )
        }
        self.notifier = Notifier(
            outlets=self.outlets,
            spool=SpoolFile(directory=folder / "state", envelope=Envelope(keys=[b"k" * 32])),
            audit=self.audit,
            clock=self.clock,
            chance=lambda: 1.0,
        )
        observers.append(self.notifier.observe)

    @property
    def pigeon(self) -> Pigeon:
        return self.pigeons[0]

    async def until(self, true: Callable[[], object]) -> None:
        async with asyncio.timeout(5):
            while not true():  # noqa: ASYNC110  what becomes true is on a disk, or in another task
                await asyncio.sleep(0.005)

    async def pass_by(self, seconds: float) -> None:
        """Time, and whoever waits for it."""
        self.clock.time += timedelta(seconds=seconds)
        for outlet in self.outlets.values():
            outlet.wake.set()
        await asyncio.sleep(0.02)

    async def tell(self, number: int, **wanted: Any) -> None:
        event = alarm(number, **wanted)
        await self.audit.record(event)

    def records(self, kind: Kind) -> list[dict[str, Any]]:
        [path] = (self.folder / "audit").glob("audit-*.jsonl")
        found = [json.loads(line) for line in path.read_bytes().splitlines()]
        return [record for record in found if record["event"] == kind.value]


@asynccontextmanager
async def world(folder: Path, *severities: Severity, killed: bool = False) -> AsyncIterator[World]:
    made = World(folder, *severities)
    await made.audit.open()
    await made.notifier.open()
    work = asyncio.ensure_future(made.notifier.keep_notifying())
    try:
        yield made
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        if killed:
            made.notifier._spool.close()
        else:
            await made.notifier.close()
        await made.audit.close()


async def test_an_alarm_is_told_and_that_it_was_is_a_record_with_both_times(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.tell(1)
        await w.until(lambda: w.records(Kind.NOTIFIED))
        [message] = w.pigeon.carried
        assert message.text.subject == "[high] Impossible travel: alice@EXAMPLE.COM"
        [record] = w.records(Kind.NOTIFIED)
        assert (record["channel"], record["notice"], record["about"]) == (
            "pigeon-1",
            "impossible_travel",
            "alice@EXAMPLE.COM",
        )
        assert (record["detected"], record["seconds_after"]) == ("2026-01-31T12:00:00Z", 0)
        assert (record["request_id"], record["answer"], record["attempts"]) == ("6f1e2d", "coo", 1)
        assert record["notice_id"] == f"{record['instance']}-2"
        assert w.notifier.waiting == 0
        assert await w.notifier.ping() is None


async def test_each_channel_hears_of_what_is_severe_enough_for_it(tmp_path: Path) -> None:
    async with world(tmp_path, Severity.LOW, Severity.HIGH) as w:
        await w.tell(1, severity=Severity.MEDIUM)
        await w.tell(2, name="other")
        await w.until(lambda: len(w.records(Kind.NOTIFIED)) == 3)
        assert [[m.notice.name for m in pigeon.carried] for pigeon in w.pigeons] == [
            ["impossible_travel", "other"],
            ["other"],
        ]


async def test_a_channel_that_hangs_holds_up_neither_the_others_nor_whoever_records(tmp_path: Path) -> None:
    async with world(tmp_path, Severity.LOW, Severity.LOW) as w:
        w.pigeons[0].fails = 60.0
        async with asyncio.timeout(1):
            await w.tell(1)
        await w.until(lambda: w.pigeons[1].carried)
        assert w.pigeons[0].carried == []


async def test_what_is_not_taken_is_tried_again_after_growing_pauses_and_in_the_end_told(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.pigeon.fails = Undelivered("HTTP 503")
        await w.tell(1)
        await w.until(lambda: w.pigeon.tries == 1)
        # With the whole of chance each pause is twice the one before: 5, 10, 20 seconds, at the most 15 minutes.
        for pause, tries in ((4.9, 1), (0.2, 2), (9.8, 2), (0.3, 3), (19.6, 3), (0.5, 4)):
            await w.pass_by(pause)
            assert w.pigeon.tries == tries, pause
        for _ in range(12):
            await w.pass_by(900.1)
        assert w.pigeon.tries == 16
        assert await w.notifier.ping() == "pigeon-1: HTTP 503"
        assert w.notifier.failing == ["pigeon-1"]
        w.pigeon.fails = None
        await w.pass_by(900.1)
        await w.until(lambda: w.records(Kind.NOTIFIED))
        assert await w.notifier.ping() is None
        assert w.records(Kind.NOTIFIED)[0]["attempts"] == 17


async def test_an_hour_that_the_other_side_asks_for_is_kept_and_more_is_not(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.pigeon.fails = Undelivered("HTTP 429", after=120)
        await w.tell(1)
        await w.until(lambda: w.pigeon.tries == 1)
        await w.pass_by(119)
        assert w.pigeon.tries == 1
        w.pigeon.fails = Undelivered("HTTP 429", after=10**9)
        await w.pass_by(2)
        assert w.pigeon.tries == 2
        await w.pass_by(3601)
        assert w.pigeon.tries == 3


async def test_what_is_refused_for_good_is_given_up_with_a_record_and_seen_at_once(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.pigeon.fails = Refused("HTTP 404 no_service")
        await w.tell(1)
        await w.until(lambda: w.records(Kind.NOT_NOTIFIED))
        [record] = w.records(Kind.NOT_NOTIFIED)
        assert (record["reason"], record["why"], record["success"]) == ("refused", ["HTTP 404 no_service"], False)
        assert (record["notice"], record["request_id"]) == ("impossible_travel", "6f1e2d")
        assert w.notifier.waiting == 0
        assert await w.notifier.ping() == "pigeon-1: HTTP 404 no_service"
        await w.pass_by(10_000)
        assert w.pigeon.tries == 1


async def test_what_nobody_took_in_three_days_is_given_up_with_a_record(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.pigeon.fails = Undelivered("no answer")
        await w.tell(1)
        await w.until(lambda: w.pigeon.tries == 1)
        await w.pass_by(KEPT.total_seconds() + 1)
        await w.until(lambda: w.records(Kind.NOT_NOTIFIED))
        assert w.records(Kind.NOT_NOTIFIED)[0]["reason"] == "too_late"
        assert w.notifier.waiting == 0


async def test_one_letter_that_is_never_taken_does_not_hold_up_those_behind_it(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.pigeon.fails = Undelivered("too ugly")
        await w.tell(1)
        await w.until(lambda: w.pigeon.tries == 1)
        await w.tell(2, name="other")
        await w.pass_by(5.1)
        w.pigeon.fails = None
        await w.pass_by(10.1)
        await w.until(lambda: len(w.pigeon.carried) == 2)
        assert [message.notice.name for message in w.pigeon.carried] == ["other", "impossible_travel"]
        await w.until(lambda: len(w.records(Kind.NOTIFIED)) == 2)
        assert [record["attempts"] for record in w.records(Kind.NOTIFIED)] == [1, 3]


async def test_beyond_a_thousand_the_oldest_are_dropped_and_how_many_is_a_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.watch.breach._LETTERS_MAX", 3)
    async with world(tmp_path) as w:
        w.pigeon.fails = Undelivered("no answer")
        for number in range(5):
            await w.tell(number, about=Principal((f"user{number}",), "EXAMPLE.COM"))
        await w.until(lambda: sum(r["dropped"] for r in w.records(Kind.NOT_NOTIFIED)) == 2)
        assert {r["reason"] for r in w.records(Kind.NOT_NOTIFIED)} == {"too_many"}
        w.pigeon.fails = None
        await w.pass_by(5.1)
        await w.until(lambda: len(w.pigeon.carried) == 3)


@pytest.mark.parametrize("killed", [True, False])
async def test_what_was_not_delivered_is_delivered_by_the_next_process(tmp_path: Path, *, killed: bool) -> None:
    async with world(tmp_path, killed=killed) as w:
        w.pigeon.fails = Undelivered("no answer")
        await w.tell(1)
        await w.tell(2)
        await w.until(lambda: w.pigeon.tries == 1 and not w.notifier._changed.is_set())
        await asyncio.sleep(0.05)
    async with world(tmp_path) as w:
        # The second was a repetition that nobody had been told of: a stop writes its count down, a kill loses it.
        await w.until(lambda: len(w.pigeon.carried) == (1 if killed else 2))
        assert w.pigeon.carried[0].notice.happened == "Impossible travel: alice@EXAMPLE.COM"
        await w.until(lambda: len(w.records(Kind.NOTIFIED)) == len(w.pigeon.carried))
        await asyncio.sleep(0.05)
    async with world(tmp_path) as w:
        await asyncio.sleep(0.05)
        assert w.pigeon.carried == [], "what was delivered is off the disk"


async def test_what_was_delivered_a_moment_before_a_kill_is_not_delivered_again(tmp_path: Path) -> None:
    async with world(tmp_path, killed=True) as w:
        # The first look for what others left, which writes as well, is over.
        await asyncio.sleep(0.05)
        # Slow enough for the letter to be on the disk before it is delivered.
        w.pigeon.fails = 0.1
        await w.tell(1)
        await w.until(lambda: w.records(Kind.NOTIFIED))
        await asyncio.sleep(0.05)
    async with world(tmp_path) as w:
        await asyncio.sleep(0.1)
        assert w.pigeon.tries == 0


async def test_recipients_who_have_it_are_not_sent_it_again_not_even_by_the_next_process(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.pigeon.fails = Undelivered("b@x: 451 later", done=["a@x"])
        await w.tell(1)
        await w.until(lambda: w.pigeon.tries == 1)
    async with world(tmp_path) as w:
        await w.until(lambda: w.pigeon.carried)
        assert w.pigeon.carried[0].done == {"a@x"}


async def test_what_a_killed_neighbour_left_is_delivered_by_whoever_lives(tmp_path: Path) -> None:
    async with world(tmp_path) as first:
        first.pigeon.fails = Undelivered("no answer")
        async with world(tmp_path / "other", killed=True) as second:
            second.notifier._spool._directory = tmp_path / "state"
            second.notifier._spool.close()
            await second.notifier.open()
            second.pigeon.fails = Undelivered("no answer")
            await second.tell(1, about=None)
            await second.until(lambda: second.pigeon.tries == 1)
            await asyncio.sleep(0.05)
        first.pigeon.fails = None
        await first.notifier._take_over()
        await first.until(lambda: first.pigeon.carried)
        assert first.pigeon.carried[0].notice.happened == "Impossible travel"


async def test_a_spool_that_was_tampered_with_is_itself_an_alarm(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "notifications-1").write_bytes(b"tampered\n")
    async with world(tmp_path) as w:
        await w.until(lambda: w.pigeon.carried)
        assert w.pigeon.carried[0].notice.name == "notifications_damaged"


async def test_without_a_disk_people_are_told_and_the_fault_shows(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    async with world(tmp_path) as w:
        await w.tell(1)
        await w.until(lambda: w.pigeon.carried)
        await w.until(lambda: w.notifier._disk_fault)
        assert "disk: " in (await w.notifier.ping() or "")


async def test_a_defect_of_a_channel_is_a_failure_like_another_and_its_words_stay_here(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with world(tmp_path) as w:
        w.pigeon.fails = KeyError("canary-in-the-url")
        await w.tell(1)
        await w.until(lambda: w.pigeon.tries == 1)
        await w.pass_by(400)
        assert await w.notifier.ping() == "pigeon-1: a defect: KeyError"
        assert "canary" not in caplog.text


async def test_a_test_goes_past_the_queue_and_a_channel_that_takes_it_gets_what_waits(tmp_path: Path) -> None:
    async with world(tmp_path, Severity.LOW, Severity.HIGH) as w:
        for pigeon in w.pigeons:
            pigeon.fails = Undelivered("HTTP 500")
        await w.tell(1)
        await w.until(lambda: w.pigeons[0].tries == w.pigeons[1].tries == 1)
        w.pigeons[0].fails = None
        tried = await w.notifier.test(by="root/admin@EXAMPLE.COM", id_="r1")
        assert [(one.channel, one.delivered, one.said) for one in tried] == [
            ("pigeon-1", True, "coo"),
            ("pigeon-2", False, "HTTP 500"),
        ]
        await w.until(lambda: len(w.pigeons[0].carried) == 2)
        assert [message.notice.name for message in w.pigeons[0].carried] == ["test", "impossible_travel"]
        with pytest.raises(KeyError):
            await w.notifier.test(by=None, id_="r2", channel="none")


async def test_a_flood_is_eleven_messages_and_a_count(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        for number in range(200):
            w.notifier.observe(alarm(number, about=Principal((f"user{number}",), "EXAMPLE.COM")))
        await w.until(lambda: len(w.pigeon.carried) == 10)
        w.clock.time += timedelta(minutes=15)
        w.notifier.observe(alarm(900, about=ALICE))
        await w.until(lambda: len(w.pigeon.carried) == 12)
        assert w.pigeon.carried[10].notice.happened == "And 190 more of severity high: 190 impossible_travel"
