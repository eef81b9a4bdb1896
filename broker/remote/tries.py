"""Asked again where that may help, and never for longer than a caller of ours waits.

A client of the broker is promised an answer within five seconds; what is asked of a vault on the way gets less.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import stamina

from broker.remote.failure import Unreachable

_T = TypeVar("_T")

# Seconds for all tries of one question, pauses included.
PATIENCE = 3.8
# Seconds for one of them, so that a silent server leaves room for a second try.
LONGEST_TRY = 1.5
# Seconds: a connection stands after one round trip around the world, or not at all.
CONNECT = 1.0
TRIES = 3
# Seconds; AWS and Azure both advise to back off exponentially, with chance in it.
_FIRST_PAUSE, _LONGEST_PAUSE, _CHANCE = 0.1, 0.8, 0.1


class NotTaken(Unreachable):
    """Nothing of the request was done: it never arrived, or the server says so."""


class Lasting(Unreachable):
    """Somebody has to do something about it first, so that it is the same in a moment."""


class ComeLater(NotTaken):
    """Throttled by a server that says for how many seconds."""

    def __init__(self, message: str, *, reason: str, after: float) -> None:
        super().__init__(message, reason=reason)
        self.after = after


async def tried(ask: Callable[[], Awaitable[_T]], *, twice: bool = True) -> _T:
    """What ``ask()`` gives, asked up to three times where it raises ``Unreachable`` that may pass.

    ``twice``: whether it may happen twice. What may not is tried again only where nothing of it was done.

    Raises:
        Unreachable: As ``ask()`` said the last time, or no answer in ``PATIENCE``.
        RemoteFailure: As ``ask()`` said, at once.
    """
    tries = stamina.retry_context(
        on=_worth_it(Unreachable if twice else NotTaken),
        attempts=TRIES,
        timeout=PATIENCE,
        wait_initial=_FIRST_PAUSE,
        wait_max=_LONGEST_PAUSE,
        wait_jitter=_CHANCE,
    )
    async with bounded():
        async for attempt in tries:
            with attempt:
                return await ask()
    raise AssertionError("the last try returns or raises")


@asynccontextmanager
async def bounded(seconds: float | None = None, *, url: str | None = None) -> AsyncIterator[None]:
    """What is asked inside, all of it together, is over in so many seconds (``PATIENCE``), or ``Unreachable``."""
    try:
        async with asyncio.timeout(PATIENCE if seconds is None else seconds):
            yield
    except TimeoutError as error:
        # In the words of a single try that is late: whoever tells a failure once must know it again.
        where = f" from {url}" if url else ""
        raise Unreachable(f"no answer{where} in time", reason="timeout") from error


def _worth_it(kind: type[Unreachable]) -> Callable[[Exception], bool | float]:
    def judged(error: Exception) -> bool | float:
        if isinstance(error, ComeLater):
            return error.after if error.after < PATIENCE else False
        return isinstance(error, kind) and not isinstance(error, Lasting)

    return judged
