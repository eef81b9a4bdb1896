"""Record or raise: the one choke point before anything leaves the house.

Events that arrive together are signed, chained and brought to the disk together (group commit), on a thread of the log's
own; each caller waits until its record is durable. A disk that is full, read-only or gone fails the callers at once;
one that hangs fails them after ``DEADLINE``, and everybody behind them immediately, until it answers again. Where a sink is
required, a caller waits for its word too, within the same time.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, TypeVar

from broker.audit.alert import Severity, alert
from broker.audit.chain import BrokenRecord, Position, require_recordable
from broker.audit.event import Event, Kind
from broker.audit.sinks.forward import Forwarder
from broker.audit.statement import hsm_line
from broker.audit.writer import Draft, Members, Writer
from broker.core.clock import Clock
from broker.core.errors import AuditUnavailable, BrokerError, StsError
from broker.core.fault import Fault, of_error
from broker.core.happening import Happening
from broker.core.workers import Workers
from broker.keys.pkcs11 import HsmKey, HsmUnavailable
from broker.keys.signing import Ed25519Signer

# A client gets its 503 within a second; what is left of it is for the rest of the way.
DEADLINE = timedelta(milliseconds=800)
# Promised: at least every minute. Twice as often, so that a late timer keeps the promise.
CHECKPOINT_EVERY = timedelta(seconds=30)

# An intent and its outcome take 2 kB together: a disk with room for less is still full, though a short record would fit.
_PROBE = "0" * 2048

_HANGS = Fault("the audit disk does not answer", code="disk_hangs")
_CLOSED = "the audit log is closed"

# What follows from what was noticed, for whoever is woken by it.
_CUT = ("Whoever can do that can have done it to hide something.", "Records are there to be compared with copies.")
_UNCERTIFIED = (
    "A lost key leaves that, and so does somebody who writes records with a key of their own.",
    "If you changed the key, name the old one under `encryption.previous_key_files`.",
)

_log = logging.getLogger(__name__)

_T = TypeVar("_T")
Observer = Callable[[Event], None]


class _Waiting(NamedTuple):
    """A record on its way to the disk, who waits for it, and until when (the event loop's clock)."""

    members: Members
    durable: asyncio.Future[Position]
    deadline: float


class _Attempt:
    """See ``AuditLog.attempt``. No generator: each request has one, and asyncio keeps a register of those."""

    __slots__ = ("_event", "_log")

    def __init__(self, log: AuditLog, event: Event) -> None:
        self._log, self._event = log, event

    async def __aenter__(self) -> Event:
        return self._event

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            _conclude(self._event, error)
        await self._log.record(self._event)


def _conclude(event: Event, error: BaseException) -> None:
    """Say why nothing is handed out."""
    if isinstance(error, BrokerError):
        if error.bearer is not None:
            event.named(error.bearer.principal, impersonated_by=error.bearer.impersonated_by)
        if isinstance(error, StsError):
            # Whoever has to mend a trust policy needs AWS's own words, and finds them by the request id.
            event.details["sts"] = str(error)
        event.refused(error.reason)
    else:
        event.refused("cancelled" if isinstance(error, asyncio.CancelledError) else "internal_error")


class AuditLog:
    """Made inside a running event loop; ``open()`` before use, ``close()`` at the end."""

    def __init__(
        self,
        *,
        directory: Path,
        signer: Ed25519Signer,
        former: Sequence[Ed25519Signer] = (),
        hsm: HsmKey | None = None,
        clock: Clock,
        observers: Sequence[Observer],
        sinks: Sequence[Forwarder] = (),
    ) -> None:
        """Take who signs.

        Args:
            directory: Where the records lie.
            signer: Of records and checkpoints.
            former: Those that it followed: they certify that it does.
            hsm: What signs checkpoints too.
            clock: The time.
            observers: Told of each record when it is durable.
            sinks: Where records go beside the file; started and ended here.
        """
        self._writer = Writer(directory=directory, signer=signer, former=former, clock=clock)
        self._hsm = hsm
        self._clock = clock
        self._observers = observers
        self.sinks = sinks
        self._gates = [sink.gate for sink in sinks if sink.gate is not None]
        self._worker = Workers(name="audit", number=1)
        self._waiting: list[_Waiting] = []
        self._in_flight: asyncio.Future[list[Position]] | None = None
        # Why nothing is taken at all at the moment.
        self._shut: str | None = None
        # What is running, as the records of its start and stop say it.
        self._running: Mapping[str, str] = {}
        self.failure: str | None = None
        # Records that did not get to the disk, and nobody was given anything on.
        self.lost = 0
        self.last_checkpoint: float | None = None
        # The last checkpoint went without the HSM: one more is due when it is back, whether anything happened or not.
        self._owes_hsm_line = False
        self._told_of_checkpoints: list[Callable[[str], None]] = []

    @property
    def waiting(self) -> int:
        """Records that wait behind those on their way to the disk."""
        return len(self._waiting)

    @property
    def instance(self) -> str | None:
        """Whose log this is, once there is a file."""
        return self._writer.instance

    async def open(self, **running: str) -> None:
        """Record the start, of what is ``running``, and later the stop with the same words.

        A log that cannot be written yet is not fatal: every request is refused until it can.
        """
        self._running = running
        for sink in self.sinks:
            sink.start(note=self.note)
        await self._note(Kind.START, **running)
        await self._alarm_if_tampered()
        await self.checkpoint()

    async def close(self) -> None:
        """Record the stop, state where the chain stands, let the file go."""
        await self._note(Kind.STOP, **self._running)
        await self.checkpoint()
        self._shut = _CLOSED
        await asyncio.gather(*(sink.finish() for sink in self.sinks))
        try:
            await self._at_the_disk(self._writer.close)
        except (OSError, TimeoutError) as error:
            _log.error("audit: no closing checkpoint: %s", str(error) or _HANGS)
        self._worker.stop()

    async def record(self, event: Event) -> None:
        """Return when the record is durable and, where it is of a success, every sink that is required has it.

        On a refusal or an alarm nothing is handed out: it waits for the disk alone, and is told to whoever observes.

        Raises:
            AuditUnavailable: It is not, and nothing may be handed out on it.
        """
        deadline = asyncio.get_running_loop().time() + DEADLINE.total_seconds()
        position = await self._write(event, deadline=deadline)
        for gate in self._gates if event.success else ():
            await gate.passed(position, deadline=deadline)
        self._tell(event)

    async def note(self, event: Event) -> None:
        """Return when the record is durable: for what the broker says of itself, and nothing is handed out on.

        Raises:
            AuditUnavailable: It is not.
        """
        await self._write(event, deadline=asyncio.get_running_loop().time() + DEADLINE.total_seconds())
        self._tell(event)

    async def _write(self, event: Event, *, deadline: float) -> Position:
        if self._shut is not None:
            raise AuditUnavailable(self._shut)
        event.timestamp = self._clock.now()
        members = event.members()
        try:
            require_recordable(members)
        except BrokenRecord as error:
            raise AuditUnavailable(f"an event cannot be recorded: {error}", reason="unrecordable") from error
        durable: asyncio.Future[Position] = asyncio.get_running_loop().create_future()
        began = time.perf_counter()
        self._waiting.append(_Waiting(members, durable, deadline))
        if self._in_flight is None:
            self._commit_waiting()
        where = await durable
        event.measures["audit"] = event.took("record", began)
        event.instance, event.seq = where.instance, where.head.seq
        return where

    def _tell(self, event: Event) -> None:
        for observer in self._observers:
            observer(event)

    def attempt(self, event: Event) -> AbstractAsyncContextManager[Event]:
        """Bracket one attempt: whatever happens inside, its record is written before anybody hears of the outcome.

        The event stays a refusal unless the body says otherwise and then ends without an exception.

        Raises:
            AuditUnavailable: The record could not be written; what the body did must not be handed out.
        """
        return _Attempt(self, event)

    async def checkpoint(self) -> None:
        """State where the chain stands, if it moved."""
        if self._shut is not None:
            return
        try:
            draft = await self._at_the_disk(lambda: self._writer.draft(again=self._owes_hsm_line))
            if draft is None:
                return
            signed = await self._countersigned(draft, self._hsm) if self._hsm else draft
            is_owed = self._hsm is not None and signed is draft
            if is_owed and not draft.is_news:
                return
            await self._at_the_disk(lambda: self._writer.publish(signed))
        except (OSError, TimeoutError) as error:
            _log.error("audit: no checkpoint: %s", str(error) or _HANGS)
            return
        self.last_checkpoint, self._owes_hsm_line = draft.moment.timestamp(), is_owed
        # What the HSM did not sign counts for nobody until a later one covers it: a witness would have to refuse it.
        for tell in () if is_owed else self._told_of_checkpoints:
            tell(signed.note)

    def tell_of_checkpoints(self, tell: Callable[[str], None]) -> None:
        """Have ``tell`` called with the note of each checkpoint to come."""
        self._told_of_checkpoints.append(tell)

    async def keep_cosigned(self, note: str) -> None:
        """Put a checkpoint with witnesses' signatures beside the records. Where that fails, the next one is as good."""
        try:
            await self._at_the_disk(lambda: self._writer.add_cosigned(note))
        except (OSError, TimeoutError) as error:
            _log.error("audit: a cosigned checkpoint is not kept: %s", str(error) or _HANGS)

    async def _countersigned(self, draft: Draft, hsm: HsmKey) -> Draft:
        """With the HSM's line; without it where there is none: a log is not left without checkpoints because an HSM is away."""
        try:
            return draft.with_line(await hsm_line(draft.note, key=hsm))
        except HsmUnavailable:
            return draft

    async def _at_the_disk(self, job: Callable[[], _T]) -> _T:
        # A hanging disk holds up the records behind this one too, and they are the ones to raise the alarm.
        # Not wait_for(): until Python 3.12 that one loses a cancellation that comes when the writer has just finished.
        async with asyncio.timeout(DEADLINE.total_seconds()):
            return await self._worker.do(job)

    async def ping(self) -> str | None:
        """None while records can be written, else why not; tries again to see whether the disk is back."""
        if self.failure is not None and self._in_flight is None:
            await self._note(Kind.RECOVERED, failure=self.failure, room=_PROBE)
        return self.failure

    async def keep_checkpointing(self) -> None:
        """Runs until cancelled."""
        while True:
            await asyncio.sleep(CHECKPOINT_EVERY.total_seconds())
            await self._alarm_if_tampered()
            await self.checkpoint()

    async def _alarm_if_tampered(self) -> None:
        """What the writer noticed of the log it goes on with. What cannot be recorded now is kept for the next time."""
        cut, self._writer.cut = self._writer.cut, None
        if cut is not None and not await self._alarmed("audit_log_cut", cut, _CUT):
            self._writer.cut = cut
        change, self._writer.uncertified = self._writer.uncertified, None
        if change is not None and not await self._alarmed("audit_key_changed_uncertified", change, _UNCERTIFIED):
            self._writer.uncertified = change

    async def _alarmed(self, name: str, what: str, why: Sequence[str]) -> bool:
        try:
            await self.note(alert(name, severity=Severity.HIGH, why=(what, *why), cause="audit"))
        except AuditUnavailable as error:
            _log.error("audit: %s is not recorded: %s", name, error)
            return False
        return True

    async def _note(self, kind: Kind, **details: str) -> None:
        event = Event(action="run", resource="broker", kind=kind, success=True, reason=None, details=details)
        try:
            await self.note(event)
        except AuditUnavailable as error:
            _log.error("audit: %s not recorded: %s", kind, error)

    def _commit_waiting(self) -> None:
        batch, self._waiting = self._waiting, []
        records = [waiting.members for waiting in batch]
        self._in_flight = self._worker.do(lambda: self._writer.commit(records))
        # The first came first, so its patience ends first.
        watchdog = asyncio.get_running_loop().call_at(batch[0].deadline, self._give_up, batch)

        def done(commit: asyncio.Future[list[Position]]) -> None:
            watchdog.cancel()
            self._settle(batch, commit)

        self._in_flight.add_done_callback(done)

    def _settle(self, batch: list[_Waiting], commit: asyncio.Future[list[Position]]) -> None:
        self._in_flight = None
        if self._shut == _HANGS:
            self._shut = None
        # Only a commit that ended, and ended well, made anything durable.
        error = asyncio.CancelledError("cancelled") if commit.cancelled() else commit.exception()
        if error is None:
            self.failure = None
            for sink in self.sinks:
                sink.durable(commit.result()[-1])
            for waiting, position in zip(batch, commit.result(), strict=True):
                if not waiting.durable.done():
                    waiting.durable.set_result(position)
        else:
            self._fail(batch, of_error(error) if isinstance(error, OSError) else str(error))
        if self._waiting:
            self._commit_waiting()

    def _give_up(self, batch: list[_Waiting]) -> None:
        """The disk hangs. The batch may still become durable: a record too many is the safe side."""
        self._shut = self._shut or _HANGS
        behind, self._waiting = self._waiting, []
        self._fail(batch + behind, _HANGS)

    def _fail(self, batch: list[_Waiting], why: str) -> None:
        if self.failure != why:
            _log.error(
                "audit: records refused, and with them every request: %s", why, extra=Happening.AUDIT_REFUSES.said()
            )
        self.failure = why
        for waiting in batch:
            if not waiting.durable.done():
                self.lost += 1
                waiting.durable.set_exception(AuditUnavailable(why))
