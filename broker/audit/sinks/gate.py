"""Whoever may not go on before a sink has their record waits here, but never for long.

Where the sink does not confirm in time, everybody who waits is refused, and everybody behind them at once, until it confirms
again and has nearly caught up.
"""

from __future__ import annotations

import asyncio
from collections import deque

from broker.audit.chain import Position
from broker.core.errors import AuditUnavailable

# A sink that is no further behind than one batch confirms a new record with its next answer.
NEARLY = 100


class Gate:
    """Of one sink that is required. Positions of other instances than the current one are never confirmed."""

    def __init__(self, *, name: str) -> None:
        self._name = name
        self._instance = ""
        self._confirmed = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._shut: str | None = None

    @property
    def is_shut(self) -> str | None:
        """Why nobody is let through, or None."""
        return self._shut

    async def passed(self, position: Position, *, deadline: float) -> None:
        """Return when the sink has the record.

        Args:
            position: The record's, or a later one.
            deadline: The event loop's clock.

        Raises:
            AuditUnavailable: It has it not, as far as anybody knows.
        """
        if self._instance == position.instance and position.head.seq <= self._confirmed:
            return
        if self._shut is not None:
            raise self._refusal(self._shut)
        waits: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((position.head.seq, waits))
        try:
            async with asyncio.timeout_at(deadline):
                await waits
        except TimeoutError:
            why = "does not confirm in time"
            self.shut(why)
            raise self._refusal(why) from None

    def moved(self, instance: str) -> None:
        """Records are another instance's from now on."""
        if instance != self._instance:
            self._refuse_waiting("records have a new instance")
            self._instance, self._confirmed = instance, 0

    def confirmed(self, seq: int, *, behind: int) -> None:
        """The sink has everything up to here; ``behind`` it are so many records that it has not."""
        self._confirmed = max(self._confirmed, seq)
        while self._waiting and self._waiting[0][0] <= self._confirmed:
            _, waits = self._waiting.popleft()
            if not waits.done():
                waits.set_result(None)
        if behind <= NEARLY:
            self._shut = None

    def shut(self, why: str) -> None:
        """Nobody is let through until the sink confirms again."""
        self._shut = why
        self._refuse_waiting(why)

    def _refuse_waiting(self, why: str) -> None:
        waiting, self._waiting = self._waiting, deque()
        for _, waits in waiting:
            if not waits.done():
                waits.set_exception(self._refusal(why))

    def _refusal(self, why: str) -> AuditUnavailable:
        return AuditUnavailable(f"the sink {self._name} is required and {why}", reason="sink_unavailable")
