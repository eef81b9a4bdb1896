"""What the detectors know, on the disk of the one host there is, so that a restart is no cold start.

Sealed, and replaced as a whole now and then and at a clean stop. It decides about nobody: a file that cannot be read is
a cold start and a line in the log, nothing more.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

import orjson

from broker.core.clock import Clock
from broker.core.stable_file import one_writer, replace_file
from broker.core.workers import Workers
from broker.keys.envelope import CannotOpen, armoured, unarmoured
from broker.keys.hierarchy import DailyEnvelope
from broker.watch.states import InProcess, Name, Shelf, State

_NAME = "watch-states"
_CONTEXT = b"watch-states/v1"
# A killed broker forgets this much.
_EVERY = timedelta(minutes=5)
# Bytes; all shelves full take a quarter of it.
_LONGEST = 64 << 20

_log = logging.getLogger(__name__)


class StatesFile:
    """The file of one broker's states."""

    def __init__(self, *, directory: Path, states: InProcess, envelope: DailyEnvelope, clock: Clock) -> None:
        self._path = directory / _NAME
        self._states = states
        self._envelope = envelope
        self._clock = clock
        self._worker = Workers(name="watch", number=1)
        self._due = clock.boottime() + _EVERY.total_seconds()
        self._fault: str | None = None
        self._is_loaded = False

    async def load(self) -> None:
        """Take up what was kept; nothing, where that cannot be believed."""
        try:
            rows = await self._worker.do(self._read)
        except FileNotFoundError:
            return
        except (OSError, CannotOpen, ValueError) as error:
            _log.warning("watch: %s cannot be used (%s): it learns anew what is usual", self._path, error)
            return
        finally:
            self._is_loaded = True
        for shelf, of, version, text in rows:
            self._states.put(Name(Shelf(shelf), of), State(version, text.encode()))

    async def save_sometimes(self) -> None:
        """Where it is time."""
        if self._clock.boottime() >= self._due:
            await self.save()

    @property
    def name(self) -> str:
        """What holds sealed things here is called."""
        return "watch"

    async def reseal(self) -> frozenset[str]:
        """See ``broker.keys.sealed``."""
        envelope, blob = self._envelope.now(), await self._worker.do(self._blob)
        # Before it is loaded there is nothing yet to be saved in its place.
        if blob and self._is_loaded and not envelope.is_newest(blob):
            await self.save()
        return frozenset(filter(None, [envelope.version_of(blob)]))

    def _blob(self) -> bytes:
        try:
            return unarmoured(self._path.read_bytes()[:_LONGEST])
        except (FileNotFoundError, CannotOpen):
            return b""

    async def save(self) -> None:
        """Now. A disk that takes nothing is said once."""
        self._due = self._clock.boottime() + _EVERY.total_seconds()
        states = list(self._states.items())
        try:
            await self._worker.do(lambda: self._write(states))
        except OSError as error:
            if self._fault != str(error):
                _log.warning("watch: what is usual cannot be kept: %s", error)
            self._fault = str(error)

    # ---- on the worker's thread ----

    def _read(self) -> list[tuple[str, str, int, str]]:
        descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            sealed = unarmoured(file.read(_LONGEST))
        rows: list[tuple[str, str, int, str]] = orjson.loads(self._envelope.now().open(sealed, context=_CONTEXT))
        return rows

    def _write(self, states: Iterable[tuple[Name, State]]) -> None:
        rows = [(name.shelf.value, name.of, state.version, state.text.decode()) for name, state in states]
        sealed = self._envelope.now().seal(orjson.dumps(rows), context=_CONTEXT)
        # Of two brokers on one host the later one's word stands.
        with one_writer(self._path):
            replace_file(self._path, armoured(sealed))
