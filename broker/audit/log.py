"""Record or raise: the one choke point before anything leaves the house.

Events that arrive together are signed, chained and brought to the disk together (group commit), on a thread of the log's
own; each caller waits until its record is durable. A disk that is full, read-only or gone fails the callers at once;
one that hangs fails them after ``DEADLINE``, and everybody behind them immediately, until it answers again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

from broker.audit.event import Event, Kind
from broker.audit.writer import Writer
from broker.core.clock import Clock
from broker.core.errors import AuditUnavailable, BrokerError
from broker.keys.signing import Ed25519Signer

# A client gets its 503 within a second; what is left of it is for the rest of the way.
DEADLINE = timedelta(milliseconds=800)
# Promised: at least every minute. Twice as often, so that a late timer keeps the promise.
CHECKPOINT_EVERY = timedelta(seconds=30)

_log = logging.getLogger(__name__)

Observer = Callable[[Event], None]


class AuditLog:
    """Made inside a running event loop; ``open()`` before use, ``close()`` at the end."""

    def __init__(self, *, directory: Path, signer: Ed25519Signer, clock: Clock, observers: Sequence[Observer]) -> None:
        self._writer = Writer(directory=directory, signer=signer, clock=clock)
        self._clock = clock
        self._observers = observers
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="audit")
        self._waiting: list[tuple[Event, asyncio.Future[None]]] = []
        self._in_flight: asyncio.Future[None] | None = None
        self._stuck = False
        self.failure: str | None = None
        self.last_checkpoint: float | None = None

    async def open(self) -> None:
        """Record the start. A log that cannot be written yet is not fatal: every request is refused until it can."""
        await self._note(Kind.START)
        await self.checkpoint()

    async def close(self) -> None:
        """Record the stop, state where the chain stands, let the file go."""
        await self._note(Kind.STOP)
        loop = asyncio.get_running_loop()
        try:
            await asyncio.wait_for(loop.run_in_executor(self._thread, self._writer.close), DEADLINE.total_seconds())
        except (OSError, TimeoutError) as error:
            _log.error("audit: no closing checkpoint: %s", error)
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def record(self, event: Event) -> None:
        """Return when the record is durable.

        Raises:
            AuditUnavailable: It is not, and nothing may be handed out on it.
        """
        if self._stuck:
            raise AuditUnavailable("the audit disk does not answer")
        event.timestamp = self._clock.now()
        durable: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((event, durable))
        if self._in_flight is None:
            self._commit_waiting()
        await durable
        for observer in self._observers:
            observer(event)

    @asynccontextmanager
    async def attempt(self, event: Event) -> AsyncIterator[Event]:
        """Bracket one attempt: whatever happens inside, its record is written before anybody hears of the outcome.

        The event stays a refusal unless the body says otherwise and then ends without an exception.

        Raises:
            AuditUnavailable: The record could not be written; what the body did must not be handed out.
        """
        try:
            yield event
        except BrokerError as error:
            event.refused(error.reason)
            raise
        except asyncio.CancelledError:
            event.refused("cancelled")
            raise
        except BaseException:
            event.refused("internal_error")
            raise
        finally:
            await self.record(event)

    async def checkpoint(self) -> None:
        """State where the chain stands, if it moved."""
        if self._stuck:
            return
        try:
            when = await asyncio.get_running_loop().run_in_executor(self._thread, self._writer.checkpoint)
        except OSError as error:
            _log.error("audit: no checkpoint: %s", error)
            return
        if when is not None:
            self.last_checkpoint = when.timestamp()

    async def ping(self) -> str | None:
        """None while records can be written, else why not; tries again to see whether the disk is back."""
        if self.failure is not None and self._in_flight is None:
            await self._note(Kind.RECOVERED)
        return self.failure

    async def keep_checkpointing(self) -> None:
        """Runs until cancelled."""
        while True:
            await asyncio.sleep(CHECKPOINT_EVERY.total_seconds())
            await self.checkpoint()

    async def _note(self, kind: Kind) -> None:
        try:
            await self.record(Event(action="run", resource="broker", kind=kind, success=True, reason=None))
        except AuditUnavailable as error:
            _log.error("audit: %s not recorded: %s", kind, error)

    def _commit_waiting(self) -> None:
        batch, self._waiting = self._waiting, []
        loop = asyncio.get_running_loop()
        self._in_flight = loop.run_in_executor(self._thread, self._writer.commit, [event for event, _ in batch])
        watchdog = loop.call_later(DEADLINE.total_seconds(), self._give_up, batch)

        def done(commit: asyncio.Future[None]) -> None:
            watchdog.cancel()
            self._settle(batch, commit)

        self._in_flight.add_done_callback(done)

    def _settle(self, batch: list[tuple[Event, asyncio.Future[None]]], commit: asyncio.Future[None]) -> None:
        self._in_flight = None
        self._stuck = False
        error = None if commit.cancelled() else commit.exception()
        if error is None:
            self.failure = None
            for _, durable in batch:
                if not durable.done():
                    durable.set_result(None)
        else:
            self._fail(batch, str(error))
        if self._waiting:
            self._commit_waiting()

    def _give_up(self, batch: list[tuple[Event, asyncio.Future[None]]]) -> None:
        """The disk hangs. The batch may still become durable: a record too many is the safe side."""
        self._stuck = True
        behind, self._waiting = self._waiting, []
        self._fail(batch + behind, "the audit disk does not answer")

    def _fail(self, batch: list[tuple[Event, asyncio.Future[None]]], why: str) -> None:
        if self.failure != why:
            _log.error("audit: records refused, and with them every request: %s", why)
        self.failure = why
        for _, durable in batch:
            if not durable.done():
                durable.set_exception(AuditUnavailable(why))
