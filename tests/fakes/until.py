"""Waiting for what another thread, process or task does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

# Seconds. Many times what anything takes: a machine may be busy with the tests of others.
_PATIENCE = 60.0


async def until(condition: Callable[[], bool], *, seconds: float = 10) -> None:
    """Return when it holds.

    Raises:
        TimeoutError: It does not in time.
    """
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  # nobody sets an event in a program under test
            await asyncio.sleep(0.01)


def eventually(condition: Callable[[], object]) -> float:
    """Return when it holds, for tests without a loop: the seconds that it took.

    Raises:
        TimeoutError: It does not in time.
    """
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > _PATIENCE:
            raise TimeoutError("it did not come to hold")
        time.sleep(0.02)
    return time.monotonic() - began
