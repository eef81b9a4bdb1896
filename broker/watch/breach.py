"""Tells people what the records show: a fold over audit events, beside every request and on the way of none.

    recorded event -> notice -> told now, or counted -> a letter for each channel -> on disk -> delivered -> recorded

A channel that does not answer is left alone, longer each time, and its letters wait, on disk, for ``KEPT``: after the 72 hours
in which a supervisory authority must hear of a breach (GDPR, article 33) no message of ours is worth anything. What was delivered
is a record, with when it was detected; so is what was given up. Delivery is at least once: a kill between the other side's answer
and our own note repeats it, with the same id.

Lost is what a kill hits in the moment between an event's record and the letter on disk, and counts that were not told yet; the
records have both.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from broker.audit.alert import Severity, alert
from broker.audit.event import Event, Kind
from broker.audit.log import AuditLog
from broker.core.clock import Clock, rfc3339
from broker.core.errors import AuditUnavailable
from broker.core.happening import Happening
from broker.core.workers import Workers
from broker.watch.channels.port import DEADLINE, Channel, Message, Refused, Undelivered
from broker.watch.gathering import Gathering
from broker.watch.notice import Notice, a_test, notice_of, rank
from broker.watch.spool import Letter, SpoolFile
from broker.watch.wording import Wording

KEPT = timedelta(hours=72)
# Letters of one channel. At the most that is told (gathering) it is a day and a half of an outage in the midst of a flood.
_LETTERS_MAX = 1000
# Seconds. The first pause is short, for most failures are a moment's; the longest one is what a mended channel is waited for.
_FIRST_PAUSE, _LONGEST_PAUSE = 5.0, 900.0
# What another process left is looked for so often, and by the way whether a count is due.
_LOOK_EVERY = 60.0
# A channel that fails for so long is somebody's business.
_ILL_AFTER = 300.0
# An operator's client waits ten seconds for all of them together.
_TEST_SECONDS = 7.0
_CLOSING_SECONDS = 2.0

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Outlet:
    """A channel, its words, and what is too small for it; with what became of it lately, by the clock that nobody sets."""

    channel: Channel
    wording: Wording
    min_severity: Severity
    letters: list[Letter] = field(default_factory=list)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    failures: int = 0
    rests_until: float = 0.0
    failing_since: float | None = None
    fault: str | None = None
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of a test: whether the channel took it, and what the other side said, or why not."""

    channel: str
    delivered: bool
    said: str


class Notifier:
    """An observer of the audit log; ``open()`` before use, ``keep_notifying()`` beside requests, ``close()`` at the end."""

    def __init__(
        self,
        *,
        outlets: Mapping[str, Outlet],
        spool: SpoolFile,
        audit: AuditLog,
        clock: Clock,
        chance: Callable[[], float],
    ) -> None:
        """Take the outlets by name; ``chance`` is evenly distributed from 0 to 1, so that instances do not come back together."""
        self._outlets = outlets
        self._spool = spool
        self._audit = audit
        self._clock = clock
        self._chance = chance
        self._gathering = Gathering()
        self._worker = Workers(name="notifications", number=1)
        self._changed = asyncio.Event()
        self._disk_fault: str | None = None

    def observe(self, event: Event) -> None:
        """Fold one recorded event in; never waits."""
        notice = notice_of(event)
        if notice is not None:
            self._send(self._gathering.take(notice, now=self._clock.boottime()))

    async def open(self) -> None:
        """Read what was not delivered yet. Without a disk for it the broker notifies from memory alone, and says so."""
        try:
            self._keep(await self._worker.do(self._spool.open))
        except OSError as error:
            self._disk_failed(error)
        await self._report_damage()

    async def keep_notifying(self) -> None:
        """Runs until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_counting())
            group.create_task(self._keep_saving())
            for name, outlet in self._outlets.items():
                group.create_task(self._keep_delivering(name, outlet))

    async def test(self, *, by: str | None, id_: str, channel: str | None = None) -> list[Tried]:
        """Send a test through each channel, or one, now and past the queue.

        Raises:
            KeyError: There is no such channel.
        """
        names = [channel] if channel is not None else list(self._outlets)
        notice = a_test(by=by, now=self._clock.now(), id_=f"test-{id_}")
        return await asyncio.gather(*(self._test(name, self._outlets[name], notice) for name in names))

    @property
    def channels(self) -> list[str]:
        """Their names."""
        return list(self._outlets)

    @property
    def waiting(self) -> int:
        """Letters that are not delivered yet."""
        return sum(len(outlet.letters) for outlet in self._outlets.values())

    @property
    def failing(self) -> list[str]:
        """The channels that refused the last letter, or have taken none for minutes."""
        now = self._clock.boottime()
        return [
            name
            for name, outlet in self._outlets.items()
            if outlet.failing_since is not None and now - outlet.failing_since >= _ILL_AFTER
        ]

    async def ping(self) -> str | None:
        """None while all is well, else which channel takes nothing."""
        faults = [f"{name}: {self._outlets[name].fault}" for name in self.failing]
        return "; ".join([*faults, *([f"disk: {self._disk_fault}"] if self._disk_fault else [])]) or None

    @property
    def name(self) -> str:
        """What holds sealed things here is called."""
        return "notifications"

    async def reseal(self) -> frozenset[str]:
        """See ``broker.keys.sealed``: our file, and those that others hold or left."""
        found = await self._worker.do(self._spool.seals)
        if not all(found.values()):
            await self._save()
        return frozenset(found)

    async def close(self) -> None:
        """Write down what is not delivered, counts included, and let everything go."""
        self._send(self._gathering.rest())
        try:
            async with asyncio.timeout(_CLOSING_SECONDS):
                await self._save()
        except TimeoutError:
            _log.error("notifications: %d are not written down: the disk does not answer", self.waiting)
        self._worker.stop()
        self._spool.close()
        for outlet in self._outlets.values():
            await outlet.channel.close()

    # ---- what is to be told ----

    def _send(self, notices: Iterable[Notice]) -> None:
        self._keep(
            Letter(channel=name, notice=notice)
            for notice in notices
            for name, outlet in self._outlets.items()
            if rank(notice.severity) >= rank(outlet.min_severity)
        )

    def _keep(self, letters: Iterable[Letter]) -> None:
        for letter in letters:
            outlet = self._outlets.get(letter.channel)
            if outlet is None:
                _log.warning("notification %s: the channel %s is gone", letter.notice.id, letter.channel)
                continue
            outlet.letters.append(letter)
            if len(outlet.letters) > _LETTERS_MAX:
                del outlet.letters[0]
                outlet.dropped += 1
            outlet.wake.set()
            self._changed.set()

    async def _keep_counting(self) -> None:
        while True:
            now = self._clock.boottime()
            self._send(self._gathering.due(now=now))
            await self._take_over()
            await asyncio.sleep(_LOOK_EVERY)

    # ---- the disk ----

    async def _keep_saving(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            await self._save()

    async def _save(self) -> None:
        letters = self._letters()
        try:
            await self._worker.do(lambda: self._spool.write(letters))
        except OSError as error:
            self._disk_failed(error)
        else:
            self._disk_fault = None

    async def _take_over(self) -> None:
        """What a killed neighbour left, or the probe put there."""
        mine = self._letters()
        known = {letter.key for letter in mine}
        try:
            found = await self._worker.do(lambda: self._spool.take_over(mine))
        except OSError as error:
            self._disk_failed(error)
            return
        self._keep(letter for letter in found if letter.key not in known)
        # Meanwhile something may have been delivered, and stands in the file again.
        self._changed.set()
        await self._report_damage()

    def _letters(self) -> list[Letter]:
        """As they are now: what is written must not change while it is."""
        return [
            Letter(channel=letter.channel, notice=letter.notice, attempts=letter.attempts, done=letter.done)
            for outlet in self._outlets.values()
            for letter in outlet.letters
        ]

    def _disk_failed(self, error: OSError) -> None:
        fault = error.strerror or str(error)
        if fault != self._disk_fault:
            _log.error("notifications: not on disk, a kill would lose them: %s", fault)
        self._disk_fault = fault

    async def _report_damage(self) -> None:
        damaged, self._spool.damaged = self._spool.damaged, []
        for what in damaged:
            _log.error("notifications: %s; it is put aside", what)
            why = (f"{what}.", "What was still to be told may be lost: the records of the last days have it.")
            await self._record(alert("notifications_damaged", severity=Severity.HIGH, why=why, cause="notifications"))

    # ---- delivery ----

    async def _keep_delivering(self, name: str, outlet: Outlet) -> None:
        while True:
            if outlet.dropped:
                await self._record_dropped(name, outlet)
                continue
            pause = outlet.rests_until - self._clock.boottime()
            if outlet.letters and pause <= 0:
                await self._deliver(name, outlet, outlet.letters[0])
                continue
            outlet.wake.clear()
            try:
                # A new letter wakes nobody who rests: `_deliver` is not reached before the pause is over.
                async with asyncio.timeout(pause if outlet.letters else None):
                    await outlet.wake.wait()
            except TimeoutError:
                continue

    async def _deliver(self, name: str, outlet: Outlet, letter: Letter) -> None:
        letter.attempts += 1
        try:
            said = await self._hand_over(outlet, letter.notice, letter.done)
        except Undelivered as error:
            letter.done |= error.done
            self._rest(name, outlet, error)
            if self._clock.now() - letter.notice.detected > KEPT:
                await self._give_up(name, outlet, letter, "too_late", f"for {KEPT.days} days: {error}")
            elif letter in outlet.letters:
                # Whatever it is that is not taken, those behind it shall not wait for it.
                outlet.letters.remove(letter)
                outlet.letters.append(letter)
            return
        except Refused as error:
            self._ill(outlet, str(error), at_once=True)
            await self._give_up(name, outlet, letter, "refused", str(error))
            return
        self._well(name, outlet)
        self._done_with(outlet, letter)
        await self._record(_told(name, letter, said=said, now=self._clock))

    async def _hand_over(self, outlet: Outlet, notice: Notice, done: frozenset[str], seconds: float = DEADLINE) -> str:
        message = Message(notice=notice, text=outlet.wording.of(notice), done=done)
        try:
            async with asyncio.timeout(seconds):
                return await outlet.channel.deliver(message)
        except (Undelivered, Refused):
            raise
        except TimeoutError:
            raise Undelivered("no answer in time") from None
        except Exception as error:  # noqa: BLE001  a defect of ours, or of a library; its words may hold a secret
            raise Undelivered(f"a defect: {type(error).__name__}") from None

    def _rest(self, name: str, outlet: Outlet, error: Undelivered) -> None:
        grown = min(_FIRST_PAUSE * 2 ** min(outlet.failures, 20), _LONGEST_PAUSE)
        # Half of it is chance's; what the other side asks for is the least.
        pause = max(grown * (1 + self._chance()) / 2, min(error.after or 0.0, _LONGEST_PAUSE * 4))
        outlet.rests_until = self._clock.boottime() + pause
        outlet.failures += 1
        if outlet.failing_since is None:
            _log.warning("notifications: %s does not take them: %s", name, error)
        self._ill(outlet, str(error))

    def _ill(self, outlet: Outlet, fault: str, *, at_once: bool = False) -> None:
        outlet.fault = fault
        if outlet.failing_since is None or at_once:
            outlet.failing_since = self._clock.boottime() - (_ILL_AFTER if at_once else 0.0)

    def _well(self, name: str, outlet: Outlet) -> None:
        if outlet.failing_since is not None:
            _log.info("notifications: %s takes them again", name)
        outlet.failures, outlet.rests_until, outlet.failing_since, outlet.fault = 0, 0.0, None, None

    def _done_with(self, outlet: Outlet, letter: Letter) -> None:
        # It may have been dropped meanwhile, to make room.
        if letter in outlet.letters:
            outlet.letters.remove(letter)
        self._changed.set()

    async def _give_up(self, name: str, outlet: Outlet, letter: Letter, reason: str, why: str) -> None:
        _log.error("notification %s: given up for %s: %s", letter.notice.id, name, why, extra=Happening.UNTOLD.said())
        self._done_with(outlet, letter)
        await self._record(_not_told(name, letter, reason=reason, why=why))

    async def _test(self, name: str, outlet: Outlet, notice: Notice) -> Tried:
        try:
            said = await self._hand_over(outlet, notice, frozenset(), _TEST_SECONDS)
        except (Undelivered, Refused) as error:
            return Tried(channel=name, delivered=False, said=str(error))
        # It works: what waits need not rest any longer.
        self._well(name, outlet)
        outlet.wake.set()
        return Tried(channel=name, delivered=True, said=said)

    # ---- records ----

    async def _record_dropped(self, name: str, outlet: Outlet) -> None:
        number, outlet.dropped = outlet.dropped, 0
        event = Event(action="notify", resource=name, kind=Kind.NOT_NOTIFIED, reason="too_many")
        event.details |= {"channel": name, "dropped": number}
        _log.error("notifications: the oldest %d for %s were dropped to make room", number, name)
        await self._record(event)

    async def _record(self, event: Event) -> None:
        try:
            await self._audit.record(event)
        except AuditUnavailable as error:
            _log.error("notifications: %s is not recorded: %s", event.kind.value, error)


def _about(channel: str, letter: Letter) -> dict[str, object]:
    """What a record says of a letter; who has to report a breach within 72 hours counts from ``detected``."""
    notice = letter.notice
    return {
        "channel": channel,
        "notice": notice.name,
        "notice_id": notice.id,
        "severity_told": notice.severity.value,
        "detected": rfc3339(notice.detected),
        "number": notice.number,
        "attempts": letter.attempts,
        "about": notice.about,
    }


def _told(channel: str, letter: Letter, *, said: str, now: Clock) -> Event:
    event = Event(action="notify", resource=channel, request_id=letter.notice.request_id)
    event.done(Kind.NOTIFIED)
    seconds = max(0, int((now.now() - letter.notice.detected).total_seconds()))
    event.details |= {**_about(channel, letter), "seconds_after": seconds, "answer": said}
    return event


def _not_told(channel: str, letter: Letter, *, reason: str, why: str) -> Event:
    event = Event(action="notify", resource=channel, request_id=letter.notice.request_id, kind=Kind.NOT_NOTIFIED)
    event.reason = reason
    event.details |= {**_about(channel, letter), "why": [why]}
    return event
