"""Instances write down each other's checkpoints, so that one cannot lose its whole log without another's saying so.

A neighbour is whoever keeps its checkpoints in the same directory, or has them brought by a courier from another host.
Checkpoints are signed: the courier can keep one back or bring an old one, and can make none. What only repeats others'
checkpoints is not repeated, or two idle instances would answer each other for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Mapping
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Protocol

from broker.audit.alert import Severity, alert
from broker.audit.chain import BrokenRecord
from broker.audit.checkpoint import Checkpoint, open_checkpoint
from broker.audit.claims import VIA_DIRECTORY, VIA_REDIS
from broker.audit.event import Event, Kind
from broker.audit.log import CHECKPOINT_EVERY, AuditLog
from broker.audit.sinks.notes import last_notes
from broker.core.clock import Clock, rfc3339
from broker.core.errors import AuditUnavailable
from broker.core.workers import Workers
from broker.keys.signing import KeySet

_NOTES_FILE = re.compile(r"checkpoints-(.+)\.notes")
# What a courier brings may be anybody's: no more notes than this are looked at each time, and none that is longer (characters).
_NOTES = 200
_NOTE_MAX = 1 << 14
# An instance that is gone for good is forgotten by the courier; who wrote its checkpoint down has it for ever.
_FORGOTTEN_AFTER = timedelta(days=7)

_log = logging.getLogger(__name__)


class Courier(Protocol):
    """Brings instances the last checkpoint of each other. Where the way is blocked it brings nothing and raises nothing."""

    async def exchange(self, instance: str, note: str) -> Mapping[str, str]:
        """Leave one's own note and take what is there, by instance."""

    async def forget(self, instance: str) -> None:
        """Take an instance's note away."""


class Neighbours:
    """Looks at neighbours and records what it sees. ``courier`` is None where nothing is shared between hosts."""

    def __init__(
        self, *, audit: AuditLog, directory: Path, keys: KeySet, courier: Courier | None, clock: Clock
    ) -> None:
        self._audit = audit
        self._directory = directory
        self._keys = keys
        self._courier = courier
        self._clock = clock
        self._worker = Workers(name="neighbours", number=1)
        self._seen: dict[str, Checkpoint] = {}
        # Whose checkpoint contradicts what was seen before, and whether that was told already.
        self._doubts: dict[str, bool] = {}

    async def keep_looking(self) -> None:
        """Runs until cancelled."""
        while True:
            await asyncio.sleep(CHECKPOINT_EVERY.total_seconds())
            await self.look()

    async def look(self) -> None:
        """Record whose log grew, and raise the alarm where one went back or is another than it was."""
        ours = self._audit.instance
        try:
            here = await self._worker.do(self._in_directory)
        except OSError as error:
            _log.warning("audit: checkpoints of neighbours cannot be read: %s", error)
            return
        for instance, note in here.items():
            if instance != ours:
                await self._judge(instance, note, via=VIA_DIRECTORY)
        if self._courier is not None and ours in here:
            brought = await self._courier.exchange(ours, here[ours])
            for instance, note in islice(brought.items(), _NOTES):
                # Who is seen with one's own eyes needs no courier, who may be late.
                if instance not in here and len(note) <= _NOTE_MAX:
                    await self._judge(instance, note, via=VIA_REDIS)

    def _in_directory(self) -> dict[str, str]:
        """The last checkpoint of each instance here that says more than what its neighbours said."""
        found: dict[str, str] = {}
        for path in sorted(self._directory.iterdir()):
            if name := _NOTES_FILE.fullmatch(path.name):
                # Links, damage: `audit verify` is the judge of that.
                with contextlib.suppress(OSError):
                    telling = [note for note in last_notes(path) if "\nquiet\n" not in note]
                    found.update((name[1], note) for note in telling[-1:])
        return found

    async def _judge(self, instance: str, note: str, *, via: str) -> None:
        try:
            found = open_checkpoint(note, keys=self._keys)
        except BrokenRecord:
            return
        if found.instance != instance:
            return
        if via == VIA_REDIS and self._courier is not None and self._is_forgotten(found):
            await self._courier.forget(instance)
        seen = self._seen.get(instance)
        if seen is not None and (found.size < seen.size or (found.size == seen.size and found.root != seen.root)):
            await self._doubt(seen, found, via=via)
        elif (seen is None or found.size > seen.size) and await self._record(_repeated(found, via=via)):
            self._seen[instance] = found
            self._doubts.pop(instance, None)

    async def _doubt(self, seen: Checkpoint, found: Checkpoint, *, via: str) -> None:
        """Told once; of what a courier brings only at the next look, since a Redis that was restored is put right by then.

        Not only where it brings the same again: a log that was set back may go on, and states something new each time.
        """
        told = self._doubts.get(found.instance)
        if not told and (told is not None or via == VIA_DIRECTORY):
            told = await self._record(_alarm(seen, found, via=via))
        self._doubts[found.instance] = bool(told)

    def _is_forgotten(self, found: Checkpoint) -> bool:
        return found.timestamp < rfc3339(self._clock.now() - _FORGOTTEN_AFTER)

    async def _record(self, event: Event) -> bool:
        try:
            await self._audit.record(event)
        except AuditUnavailable as error:
            _log.error("audit: what is seen of a neighbour is not recorded: %s", error)
            return False
        return True


def _repeated(found: Checkpoint, *, via: str) -> Event:
    said = {"instance": found.instance, "size": found.size, "root": found.root, "via": via}
    return Event(
        action="record_neighbour",
        resource="audit",
        kind=Kind.NEIGHBOUR,
        success=True,
        reason=None,
        details={"neighbour": said},
    )


def _alarm(seen: Checkpoint, found: Checkpoint, *, via: str) -> Event:
    went = f"from {seen.size} records to {found.size}" if found.size < seen.size else f"at {found.size} records"
    why = (
        f"The audit log of {found.instance} is another than it was: its checkpoint went {went}.",
        "Somebody set it back, or put an old copy in its place, which can have been done to hide something."
        if via == VIA_DIRECTORY
        else "Somebody set it back, or Redis brings an old checkpoint again.",
        "Run `zerotrust-admin audit verify` over the logs of all instances.",
    )
    return alert("audit_neighbour_went_back", severity=Severity.HIGH, why=why, cause="audit")
