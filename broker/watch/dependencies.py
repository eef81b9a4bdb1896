"""What the broker depends on: how each of it is, and since when.

Each is looked at every quarter of a minute and whenever somebody asks, never twice at the same time: a crowd at ``/readyz`` is no
load for a Redis that is already ill. A vault of others, which counts its questions and bills them, is left alone for two seconds
after each: anybody may ask ``/readyz``. One that does not answer is not waited for.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from broker.core.clock import Clock
from broker.core.fault import Fault, code_of
from broker.watch.metrics import Metrics

# None where a dependency works, else what is wrong with it.
Probe = Callable[[], Awaitable[str | None]]

# A vault of others bills its questions: four a minute are a few cents a month.
LOOK_EVERY = timedelta(seconds=15)
# Behind a question that strangers may cause without end: 43,000 a day are cents, and one in two seconds is far from any limit.
SPARED_FOR = timedelta(seconds=2)
# Every probe has a shorter patience of its own, but that of a library may be broken too.
PATIENCE = timedelta(seconds=3)

_SILENT = Fault("does not answer", code="no_answer")
_DEFECT = Fault("cannot be looked at, see the log", code="defect")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class State:
    """``fault`` is None where it works; ``since`` is when that, or that it does not, was first seen."""

    fault: str | None
    since: datetime

    @property
    def code(self) -> str | None:
        """What is wrong, for machines."""
        return None if self.fault is None else code_of(self.fault)


class Dependencies:
    """All of them, by name."""

    def __init__(
        self,
        *,
        probes: Mapping[str, Probe],
        vital: frozenset[str],
        spared: frozenset[str] = frozenset(),
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        """Take the probes by the name of their dependency.

        ``vital`` are those without which nothing is handed out, ``spared`` those that are asked once in ``SPARED_FOR``.
        """
        self._probes = probes
        self.vital = vital
        self._spared = spared
        self._clock = clock
        self._states: dict[str, State] = {}
        self._looks: dict[str, asyncio.Future[str | None]] = {}
        self._spared_until: dict[str, float] = {}
        metrics.of_each(
            "broker_dependency_up",
            "Whether what the broker depends on works, as of the last look, a quarter of a minute ago at most",
            "dependency",
            lambda: {name: float(state.fault is None) for name, state in self._states.items()},
        )
        metrics.of_each(
            "broker_dependency_since_timestamp_seconds",
            "Since when it has worked, or has not",
            "dependency",
            lambda: {name: state.since.timestamp() for name, state in self._states.items()},
        )

    @property
    def ill(self) -> Mapping[str, State]:
        """Those that did not work when they were last looked at."""
        return {name: state for name, state in self._states.items() if state.fault is not None}

    async def look(self) -> Mapping[str, State]:
        """At all of them, at the same time."""
        looks = {name: self._look_of(name) for name in self._probes}
        await asyncio.wait(looks.values(), timeout=PATIENCE.total_seconds())
        for name, look in looks.items():
            self._note(name, _found(name, look))
        return {name: self._states[name] for name in self._probes}

    async def keep_looking(self) -> None:
        """Runs until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_EVERY.total_seconds())

    def _look_of(self, name: str) -> asyncio.Future[str | None]:
        """The look under way, or a new one; of what is spared the last, where that is not long ago."""
        look = self._looks.get(name)
        now = self._clock.boottime()
        if look is None or (look.done() and now >= self._spared_until.get(name, 0.0)):
            if name in self._spared:
                self._spared_until[name] = now + SPARED_FOR.total_seconds()
            look = self._looks[name] = asyncio.ensure_future(_asked(self._probes[name]))
        return look

    def _note(self, name: str, fault: str | None) -> None:
        before = self._states.get(name)
        if before is not None and (before.fault is None) == (fault is None):
            self._states[name] = State(fault, before.since)
            return
        self._states[name] = State(fault, self._clock.now())
        if fault is not None:
            _log.warning("%s: degraded: %s", name, fault)
        elif before is not None:
            _log.info("%s: works again", name)


async def _asked(probe: Probe) -> str | None:
    return await probe()


def _found(name: str, look: asyncio.Future[str | None]) -> str | None:
    if not look.done():
        return _SILENT
    try:
        return look.result()
    except Exception:  # noqa: BLE001  # a probe that is broken says nothing good of what it looks at
        _log.exception("%s: a defect in its probe", name)
        return _DEFECT
