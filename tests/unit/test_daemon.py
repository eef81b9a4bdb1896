"""What the daemon does with its background tasks."""

from __future__ import annotations

import asyncio

from broker import daemon


async def test_a_task_that_loses_a_cancellation_is_told_again() -> None:
    lost = 0

    async def careless() -> None:
        nonlocal lost
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                if lost == 2:
                    raise
                lost += 1

    task = asyncio.ensure_future(careless())
    await asyncio.sleep(0)
    await asyncio.wait_for(daemon._end([task]), timeout=5)
    assert (lost, task.cancelled()) == (2, True)
