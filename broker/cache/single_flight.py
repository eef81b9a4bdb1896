"""One call at a time for each key; who comes later shares its outcome."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from broker.core.errors import BrokerError

Result = TypeVar("Result")

_log = logging.getLogger(__name__)


class SingleFlight(Generic[Result]):
    """The flight belongs to nobody: a client that goes away takes no other's answer with it."""

    def __init__(self) -> None:
        self._flights: dict[str, asyncio.Task[Result]] = {}

    @property
    def number(self) -> int:
        """How many are under way."""
        return len(self._flights)

    async def do(self, key: str, work: Callable[[], Awaitable[Result]]) -> tuple[Result, bool]:
        """The outcome of ``work``, run once for all who ask meanwhile, and whether it was this caller who started it.

        Raises:
            Exception: What ``work`` raised, to each of them.
        """
        leads = self.begin(key, work)
        return await asyncio.shield(self._flights[key]), leads

    def begin(self, key: str, work: Callable[[], Awaitable[Result]]) -> bool:
        """Start ``work`` without waiting for it, unless it is under way; whether it was started now."""
        if key in self._flights:
            return False
        flight = self._flights[key] = asyncio.ensure_future(_run(work))
        flight.add_done_callback(lambda landed: self._land(key, landed))
        return True

    def _land(self, key: str, flight: asyncio.Task[Result]) -> None:
        del self._flights[key]
        # Looked at here, because nobody may be waiting for it.
        error = None if flight.cancelled() else flight.exception()
        if error is not None and not isinstance(error, BrokerError):
            _log.error("a fetch ended in a defect", exc_info=error)

    async def drain(self) -> None:
        """Wait for the flights under way."""
        if self._flights:
            await asyncio.wait(self._flights.values())


async def _run(work: Callable[[], Awaitable[Result]]) -> Result:
    return await work()
