"""One thread that does jobs in order, for a coroutine to wait on.

Not an executor of the standard library: those wait for their threads when the interpreter ends, and a thread that
hangs on a dead disk would keep a broker that was told to stop from ever ending. This one is a daemon.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

_T = TypeVar("_T")


class Worker:
    """Starts its thread at once; ``do()`` is called in a running event loop."""

    def __init__(self, *, name: str) -> None:
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def do(self, job: Callable[[], _T]) -> asyncio.Future[_T]:
        """The future of what ``job()`` returns or raises, once all jobs before it are done."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_T] = loop.create_future()

        def settle() -> None:
            try:
                outcome = job()
            except Exception as error:  # noqa: BLE001  # every failure is the waiting caller's to judge
                _tell(loop, future, future.set_exception, error)
            else:
                _tell(loop, future, future.set_result, outcome)

        self._jobs.put(settle)
        return future

    def stop(self) -> None:
        """End the thread when the jobs before are done; does not wait for it."""
        self._jobs.put(None)

    def _run(self) -> None:
        while settle := self._jobs.get():
            settle()


def _tell(
    loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any], word: Callable[[Any], None], outcome: object
) -> None:
    def deliver() -> None:
        if not future.done():
            word(outcome)

    # A closed loop has nobody left who waits.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(deliver)
