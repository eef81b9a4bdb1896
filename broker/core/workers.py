"""Threads that do jobs for coroutines to wait on, and that nobody waits for at the end.

Not an executor of the standard library: those wait for their threads when the interpreter ends, and a thread that hangs, on a
dead disk, a resolver or a program that gives no answer, would keep a broker that was told to stop from ever ending. These
are daemons.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

_T = TypeVar("_T")


class Workers:
    """So many threads at the most, each started when it is first needed. One alone does its jobs in their order."""

    def __init__(self, *, name: str, number: int) -> None:
        self._name = name
        self._number = number
        self._started = 0
        self._idle = threading.Semaphore(0)
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()

    def do(self, job: Callable[[], _T]) -> asyncio.Future[_T]:
        """The future of what ``job()`` returns or raises. Called in a running event loop.

        Where the future is cancelled before a thread is free, the job is not begun.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_T] = loop.create_future()

        def settle() -> None:
            if future.cancelled():
                return
            try:
                outcome = job()
            except Exception as error:  # noqa: BLE001  # every failure is the waiting caller's to judge
                _tell(loop, future, future.set_exception, error)
            else:
                _tell(loop, future, future.set_result, outcome)

        self._jobs.put(settle)
        if not self._idle.acquire(blocking=False) and self._started < self._number:
            self._started += 1
            threading.Thread(target=self._run, name=f"{self._name}-{self._started}", daemon=True).start()
        return future

    def stop(self) -> None:
        """End the threads when the jobs before are done; does not wait for them."""
        for _ in range(self._started):
            self._jobs.put(None)

    def _run(self) -> None:
        while settle := self._jobs.get():
            settle()
            # It holds what the job was given, which may be keys, and would until the next job comes.
            del settle
            self._idle.release()


def _tell(
    loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any], word: Callable[[Any], None], outcome: object
) -> None:
    def deliver() -> None:
        if not future.done():
            word(outcome)

    # A closed loop has nobody left who waits.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(deliver)
