"""Threads that nobody waits for: how many, in which order, and that a program with a hanging one ends."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import pytest

from broker.core.workers import Workers

HANGS = """
import asyncio, threading
from broker.core.workers import Workers

async def main():
    workers = Workers(name="w", number=2)
    for _ in range(3):
        workers.do(threading.Event().wait)
    workers.stop()

asyncio.run(main())
"""


async def test_one_does_its_jobs_in_their_order() -> None:
    done: list[int] = []
    workers = Workers(name="w", number=1)
    await asyncio.gather(*(workers.do(lambda number=number: done.append(number)) for number in range(100)))
    workers.stop()
    assert done == list(range(100))


async def test_jobs_run_side_by_side_and_never_on_more_threads_than_there_may_be() -> None:
    workers, names = Workers(name="w", number=3), set()
    meeting = threading.Barrier(3)

    def meet() -> None:
        names.add(threading.current_thread().name)
        meeting.wait(10)

    await asyncio.gather(*(workers.do(meet) for _ in range(30)))
    workers.stop()
    assert names == {"w-1", "w-2", "w-3"}


async def test_a_thread_that_is_free_is_used_before_another_is_started() -> None:
    workers = Workers(name="w", number=8)
    names = set()
    for _ in range(20):
        names.add(await workers.do(lambda: threading.current_thread().name))
        # The answer is on its way a moment before its thread is free.
        await asyncio.sleep(0.005)
    workers.stop()
    assert len(names) <= 2


async def test_a_job_that_nobody_waits_for_any_more_is_not_begun() -> None:
    workers, free, done = Workers(name="w", number=1), threading.Event(), []
    first = workers.do(lambda: free.wait(10))
    second = workers.do(lambda: done.append("second"))
    second.cancel()
    free.set()
    await first
    await workers.do(lambda: done.append("third"))
    workers.stop()
    assert done == ["third"]


async def test_what_a_job_raises_is_its_callers() -> None:
    workers = Workers(name="w", number=1)
    with pytest.raises(ZeroDivisionError):
        await workers.do(lambda: 1 / 0)
    assert await workers.do(lambda: 1) == 1
    workers.stop()


def test_a_program_whose_threads_hang_ends_all_the_same() -> None:
    done = subprocess.run([sys.executable, "-c", HANGS], check=False, timeout=20)
    assert done.returncode == 0
