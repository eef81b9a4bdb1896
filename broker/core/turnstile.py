"""Lets a crowd through bit by bit, so that others' results do not wait until it is through."""

from __future__ import annotations

import asyncio
from collections import deque


class Turnstile:
    """For work of a fraction of a millisecond that is done on the event loop, and that hundreds may ask for at the same moment.

    What the loop heard meanwhile, from a thread, a socket or a timer, is looked at after each round of so many.
    """

    def __init__(self, *, most: int) -> None:
        """``most`` pass in one round of the loop."""
        self._most = most
        self._passed = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def enter(self) -> None:
        """Return when it is one's turn: at once where few come."""
        loop = asyncio.get_running_loop()
        if self._passed < self._most:
            if not self._passed:
                loop.call_soon(self._next_round)
            self._passed += 1
            return
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting.append(turn)
        await turn

    def _next_round(self) -> None:
        self._passed = 0
        while self._waiting and self._passed < self._most:
            turn = self._waiting.popleft()
            # Who was cancelled meanwhile takes nobody's turn.
            if not turn.done():
                turn.set_result(None)
                self._passed += 1
        if self._passed:
            asyncio.get_running_loop().call_soon(self._next_round)
