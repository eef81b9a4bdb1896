"""Asked again where that may help, and never for longer than a caller of ours waits.

A client of the broker is promised an answer within five seconds; what is asked of a vault on the way gets less.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
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


class ComeLater(Unreachable):
    """Throttled by a server that says for how many seconds."""

    def __init__(self, message: str, *, reason: str, after: float) -> None:
        super().__init__(message, reason=reason)
        self.after = after


async def tried(ask: Callable[[], Awaitable[_T]], *, seconds: float = PATIENCE) -> _T:
    """What ``ask()`` gives, asked up to three times where it raises ``Unreachable``. Only for what may be asked twice.

    Raises:
        Unreachable: As ``ask()`` said the last time, or no answer in so many seconds.
        RemoteFailure: As ``ask()`` said, at once.
    """
    tries = stamina.retry_context(
        on=_worth_it(seconds),
        attempts=TRIES,
        timeout=seconds,
        wait_initial=_FIRST_PAUSE,
        wait_max=_LONGEST_PAUSE,
        wait_jitter=_CHANCE,
    )
    try:
        async with asyncio.timeout(seconds):
            async for attempt in tries:
                with attempt:
                    return await ask()
    except TimeoutError as error:
        raise Unreachable("no answer in time", reason="timeout") from error
    raise AssertionError("the last try returns or raises")


def _worth_it(seconds: float) -> Callable[[Exception], bool | float]:
    def judged(error: Exception) -> bool | float:
        if isinstance(error, ComeLater):
            return error.after if error.after < seconds else False
        return isinstance(error, Unreachable)

    return judged
