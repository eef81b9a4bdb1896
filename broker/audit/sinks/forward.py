"""Brings the records to one sink, in their order, at least once, however long the sink is away.

What is durable in the record file is read from there and sent; the cursor follows behind. Nothing of it is in the way of a
request, unless the sink is required (``gate``). A process that died left records unsent: whoever runs on the same host
and directory sends them too.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson

from broker.audit.alert import Severity, alert
from broker.audit.chain import Position
from broker.audit.event import Event
from broker.audit.sinks.gate import Gate
from broker.audit.sinks.parcel import Parcel, Sink, SinkDown, SinkRefused
from broker.audit.sinks.spool import Read, Spool, orphans
from broker.core.errors import AuditUnavailable
from broker.core.happening import Happening
from broker.core.workers import Workers

# Of one request to a sink. Splunk's and most proxies' limits are a megabyte and more.
BATCH_RECORDS = 100
BATCH_BYTES = 256 * 1024
# Between tries: doubled each time, up to the second number; with a required sink everybody waits, so it is asked more often.
_PAUSE_SECONDS, _PAUSE_MAX_SECONDS, _PAUSE_REQUIRED_MAX_SECONDS = 0.2, 30.0, 1.0
# A receiver's wish to be left alone is heeded up to this.
_RETRY_AFTER_MAX_SECONDS = 300.0
# What was sent since is sent again after kill -9, no more.
_SAVE_EVERY_SECONDS = 1.0
# How long records of a dead process wait for somebody who sends them.
_ADOPT_EVERY_SECONDS = 60.0
# How long the broker's end waits for what is still to be sent, and again for the goodbye; the rest is sent after the next start.
FINISH = timedelta(seconds=1)

_CAUSE = "sinks"

_log = logging.getLogger(__name__)

# Members of a record to what the sink gets.
Format = Callable[[Mapping[str, Any], bytes], bytes]
Note = Callable[[Event], Awaitable[object]]


class Forwarder:
    """Made by assembly, started and ended by the audit log.

    ``fault``: why the sink takes nothing, or None. ``failures`` and ``set_aside`` count from the start of the process.
    """

    def __init__(
        self,
        *,
        name: str,
        sink: Sink,
        form: Format,
        required: bool,
        directory: Path,
        chance: Callable[[], float],
    ) -> None:
        """Take the parts; ``chance`` gives numbers in [0, 1)."""
        self.name = name
        self.fault: str | None = None
        self.failures = 0
        self.set_aside = 0
        self.gate = Gate(name=name) if required else None
        self._sink = sink
        self._form = form
        self._directory = directory
        self._chance = chance
        self._worker = Workers(name=f"sink-{name}", number=1)
        self._durable: Position | None = None
        self._own: Spool | None = None
        self._adopted: list[Spool] = []
        self._adopt_at = 0.0
        self._more = asyncio.Event()
        self._caught_up = asyncio.Event()
        self._note: Note | None = None
        self._running: asyncio.Future[None] | None = None
        # Sent, and not yet certain to stay: when, whose, and up to which number.
        self._settling: deque[tuple[float, Spool, int]] = deque()
        self._save_at = 0.0
        self._tries = 0
        # Refused one by one, with nothing taken since.
        self._suspects: list[Parcel] = []
        self._confirmed = 0

    @property
    def behind(self) -> int:
        """How many durable records of this process the sink has not confirmed."""
        if self._durable is None:
            return 0
        return self._durable.head.seq - (self._confirmed if self._own is not None else 0)

    def start(self, *, note: Note) -> None:
        """Begin; ``note`` records an alarm without waiting for sinks."""
        self._note = note
        self._running = asyncio.ensure_future(self._run())

    def durable(self, position: Position) -> None:
        """So far records are on stable storage."""
        if self.gate is not None:
            self.gate.moved(position.instance)
        self._durable = position
        self._more.set()

    async def finish(self) -> None:
        """Send what can be sent now, say how far that is, and end."""
        if self.behind and self.fault is None:
            self._caught_up.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FINISH.total_seconds()):
                    await self._caught_up.wait()
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])
        try:
            async with asyncio.timeout(FINISH.total_seconds()):
                try:
                    await self._sink.close()
                except SinkDown as fault:
                    _log.warning("audit sink %s: %s; what is uncertain is sent again", self.name, fault)
                    self._settling.clear()
                await self._save(everything=True)
                for spool in [*([self._own] if self._own else []), *self._adopted]:
                    await self._worker.do(spool.close)
        except (OSError, TimeoutError) as error:
            _log.warning("audit sink %s: its cursor was not saved: %s", self.name, error)
        self._worker.stop()

    async def ping(self) -> str | None:
        """None while the sink takes records, else why not."""
        why = self.fault or (self.gate.is_shut if self.gate is not None else None)
        return f"{why}; {self.behind} records behind" if why is not None else None

    async def _run(self) -> None:
        while True:
            try:
                busy = await self._turn()
            except SinkDown as fault:
                await self._pause(fault)
            except OSError as error:
                await self._pause(SinkDown(f"the records cannot be read: {error.strerror}"))
            except Exception as error:  # noqa: BLE001  # a defect must not look like a sink that is well
                _log.exception("audit sink %s", self.name)
                await self._pause(SinkDown(f"internal error ({type(error).__name__})"))
            else:
                if not busy:
                    await self._idle()

    async def _turn(self) -> bool:
        """One batch of this process's records; where there is none, one of each that died. Whether there was any."""
        await self._look_for_spools()
        busy = False
        if self._own is not None and self._durable is not None:
            busy = await self._forward(self._own, upto=self._durable.head.seq)
        if not busy:
            for spool in [*self._adopted]:
                busy |= await self._forward_orphan(spool)
        if asyncio.get_running_loop().time() >= self._save_at:
            await self._save()
        return busy

    async def _look_for_spools(self) -> None:
        position, now = self._durable, asyncio.get_running_loop().time()
        if position is None:
            return
        if self._own is not None and self._own.instance != position.instance:
            self._adopted.append(self._own)
            self._own = None
        if self._own is None:
            adopted = next((spool for spool in self._adopted if spool.instance == position.instance), None)
            if adopted is not None:
                self._adopted.remove(adopted)
            self._own = adopted or await self._claim(position.instance)
            if self._own is None:
                raise SinkDown("another process sends these records")
            self._confirmed = self._own.sent
            if self._own.sent > position.head.seq:
                _log.warning("audit sink %s: the records begin anew", self.name)
                await self._worker.do(self._own.begin_anew)
                self._confirmed = 0
            if self.gate is not None:
                self.gate.confirmed(self._confirmed, behind=self.behind)
        if now >= self._adopt_at:
            self._adopt_at = now + _ADOPT_EVERY_SECONDS
            await self._adopt(position.instance)

    async def _adopt(self, own: str) -> None:
        host = own.rpartition("-")[0]
        taken = {own, *(spool.instance for spool in self._adopted)}
        for instance in await self._worker.do(lambda: orphans(self._directory, host=host)):
            if instance not in taken and (spool := await self._claim(instance)):
                self._adopted.append(spool)

    async def _claim(self, instance: str) -> Spool | None:
        return await self._worker.do(lambda: Spool.claim(directory=self._directory, sink=self.name, instance=instance))

    async def _forward(self, spool: Spool, *, upto: int) -> bool:
        read = await self._worker.do(lambda: spool.read(upto=upto, records=BATCH_RECORDS, size=BATCH_BYTES))
        return await self._send_read(spool, read)

    async def _forward_orphan(self, spool: Spool) -> bool:
        read = await self._worker.do(lambda: spool.read_orphan(records=BATCH_RECORDS, size=BATCH_BYTES))
        found = await self._send_read(spool, read) if read is not None else False
        if not found and not any(settling is spool for _, settling, _ in self._settling):
            self._adopted.remove(spool)
            await self._worker.do(spool.close)
        return found

    async def _send_read(self, spool: Spool, read: Read) -> bool:
        for first, last in read.missing:
            await self._say_missing(spool.instance, first, last)
        if not read.lines:
            if read.missing:
                self._taken(spool, read.missing[-1][1])
            return bool(read.missing)
        await self._send(spool, [self._parcel(spool.instance, seq, line) for seq, line in read.lines])
        if self._suspects:
            await self._ask_again(spool)
        return True

    async def _ask_again(self, spool: Spool) -> None:
        """Whether the sink still takes what it took before: then it is those behind it that it does not take, else it is unwell.

        So whoever can have a hundred records written that no receiver takes holds nobody up. Not where it is required: a receiver
        that only recognises what it has would let everybody through.

        Raises:
            SinkDown: It is unwell, as far as anybody knows.
        """
        suspects = self._suspects
        unwell = SinkDown(f"refuses record {suspects[0].seq} and whatever is behind it")
        line = await self._worker.do(spool.last_sent) if self.gate is None else None
        if line is None:
            raise unwell
        if not await self._takes(self._parcel(spool.instance, spool.sent, line)):
            raise unwell
        # It may have become well since it refused them.
        refused = [parcel for parcel in suspects if not await self._takes(parcel)]
        self._suspects = []
        self._taken(spool, suspects[-1].seq)
        if refused:
            await self._say_refused(refused)

    async def _takes(self, parcel: Parcel) -> bool:
        try:
            await self._sink.send([parcel])
        except SinkRefused:
            return False
        return True

    def _parcel(self, instance: str, seq: int, line: bytes) -> Parcel:
        members = orjson.loads(line)
        try:
            payload = self._form(members, line)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            # Better in another form than not at all.
            _log.error("audit sink %s: record %d is sent as it is: %r", self.name, seq, error)
            payload = line
        return Parcel(instance=instance, seq=seq, members=members, payload=payload)

    async def _send(self, spool: Spool, parcels: Sequence[Parcel]) -> None:
        """All of them, in order; what the sink will never take is found by halving, and set aside."""
        try:
            await self._sink.send(parcels)
        except SinkRefused as refusal:
            if len(parcels) > 1:
                middle = len(parcels) // 2
                await self._send(spool, parcels[:middle])
                await self._send(spool, parcels[middle:])
            else:
                _log.warning("audit sink %s refuses record %d: %s", self.name, parcels[0].seq, refusal)
                self._suspects.append(parcels[0])
            return
        # It takes others, so it is these that it does not take.
        suspects, self._suspects = self._suspects, []
        self._taken(spool, parcels[-1].seq)
        if suspects:
            await self._say_refused(suspects)

    def _taken(self, spool: Spool, seq: int) -> None:
        loop = asyncio.get_running_loop()
        self._settling.append((loop.time() + self._sink.settles_after, spool, seq))
        self._tries = 0
        if spool is self._own:
            self._confirmed = max(self._confirmed, seq)
            if not self.behind:
                self._caught_up.set()
            if self.gate is not None:
                self.gate.confirmed(seq, behind=self.behind)
        if self.fault is not None:
            _log.warning("audit sink %s: takes records again", self.name, extra=Happening.SINK_BACK.said())
            self.fault = None

    async def _pause(self, fault: SinkDown) -> None:
        """Read again from what is certain, after a while that grows; the first time at once, for a connection may have aged."""
        self.failures += 1
        self._tries += 1
        await self._start_over()
        why = str(fault)
        if self.fault != why:
            _log.error("audit sink %s: takes nothing: %s", self.name, why, extra=Happening.SINK_DOWN.said())
        self.fault = why
        if self._tries == 1 and fault.retry_after is None:
            return
        if self.gate is not None:
            self.gate.shut(why)
        longest = _PAUSE_REQUIRED_MAX_SECONDS if self.gate is not None else _PAUSE_MAX_SECONDS
        pause = min(longest, _PAUSE_SECONDS * 2 ** min(self._tries, 10))
        # A fleet that lost its sink together must not come back together.
        pause *= 0.5 + self._chance() / 2
        if fault.retry_after is not None:
            pause = max(pause, min(fault.retry_after, _RETRY_AFTER_MAX_SECONDS))
        await asyncio.sleep(pause)

    async def _start_over(self) -> None:
        self._suspects.clear()
        try:
            await self._save()
            self._settling.clear()
            for spool in [*([self._own] if self._own else []), *self._adopted]:
                await self._worker.do(spool.rewind)
        except OSError as error:
            _log.error("audit sink %s: its cursor was not saved: %s", self.name, error.strerror)

    async def _idle(self) -> None:
        loop = asyncio.get_running_loop()
        until = min([self._adopt_at or loop.time() + _ADOPT_EVERY_SECONDS, *(when for when, _, _ in self._settling)])
        if self._settling:
            until = max(until, self._save_at)
        try:
            async with asyncio.timeout_at(until):
                await self._more.wait()
        except TimeoutError:
            return
        self._more.clear()

    async def _save(self, *, everything: bool = False) -> None:
        """Bring the cursors to what is certain."""
        now = asyncio.get_running_loop().time()
        self._save_at = now + _SAVE_EVERY_SECONDS
        certain: dict[Spool, int] = {}
        while self._settling and (everything or self._settling[0][0] <= now):
            _, spool, seq = self._settling.popleft()
            certain[spool] = seq
        for spool, seq in certain.items():
            await self._worker.do(lambda spool=spool, seq=seq: spool.save(seq))  # type: ignore[misc]

    async def _say_missing(self, instance: str, first: int, last: int) -> None:
        _log.error("audit sink %s: records %d to %d of %s are gone unsent", self.name, first, last, instance)
        await self._alarm(
            "sink_records_missing",
            severity=Severity.HIGH,
            why=f"Records {first} to {last} of {instance} were taken away before the sink {self.name} had them.",
        )

    async def _say_refused(self, suspects: Sequence[Parcel]) -> None:
        self.set_aside += len(suspects)
        numbers = ", ".join(str(parcel.seq) for parcel in suspects)
        _log.error("audit sink %s: will not take records %s; they are in the record file only", self.name, numbers)
        # An alarm about an alarm that is refused would go on for ever.
        if all(parcel.members.get("cause") == _CAUSE for parcel in suspects):
            return
        what = f"The sink {self.name} takes others, but not the records {numbers} of {suspects[0].instance}"
        why = f"{what}: they are in the record file only."
        await self._alarm("sink_records_refused", severity=Severity.MEDIUM, why=why)

    async def _alarm(self, name: str, *, severity: Severity, why: str) -> None:
        if self._note is None:
            return
        event = alert(name, severity=severity, why=[why], cause=_CAUSE)
        event.details["sink"] = self.name
        try:
            await self._note(event)
        except AuditUnavailable as error:
            _log.error("audit sink %s: %s not recorded: %s", self.name, name, error)
