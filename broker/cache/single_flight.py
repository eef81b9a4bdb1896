"""One call at a time for each key; who comes later shares its outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Result = TypeVar("Result")


class SingleFlight(Generic[Result]):
    """The flight belongs to nobody: a client that goes away takes no other's answer with it."""

    def __init__(self) -> None:
        self._flights: dict[str, asyncio.Task[Result]] = {}

    async def do(self, key: str, work: Callable[[], Awaitable[Result]]) -> tuple[Result, bool]:
        """The outcome of ``work``, run once for all who ask meanwhile, and whether it was this caller who started it.

        Raises:
            Exception: What ``work`` raised, to each of them.
        """
        flight = self._flights.get(key)
        leads = flight is None
        if flight is None:
            flight = asyncio.ensure_future(_run(work))
            self._flights[key] = flight
            flight.add_done_callback(lambda _: self._flights.pop(key))
        # The shield also looks at an exception that nobody is left to hear.
        return await asyncio.shield(flight), leads

    async def drain(self) -> None:
        """Wait for the flights under way."""
        if self._flights:
            await asyncio.wait(self._flights.values())


async def _run(work: Callable[[], Awaitable[Result]]) -> Result:
    return await work()
