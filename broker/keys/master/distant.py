"""What all masters outside this process have in common: they may be away, which is noticed, said once, and asked again."""

from __future__ import annotations

import contextlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable
from datetime import timedelta
from typing import TypeVar

from broker.core.clock import Clock
from broker.core.happening import Happening
from broker.keys.envelope import CannotOpen
from broker.keys.master.port import MasterKey, MasterRefused, MasterUnavailable
from broker.remote.failure import Missing, Refused, RemoteFailure

# A ping asks nothing while the last answer is younger: monitors ask every few seconds, and key services charge by the call.
FRESH = timedelta(minutes=1)
_PROBE = b"zerotrust/master-is-there/v1"

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class DistantMaster(ABC):
    """Keeps account of whether it answers; how it is asked is each adapter's own."""

    def __init__(self, *, id: str, clock: Clock) -> None:  # noqa: A002  # the port's word
        """Take the name of the master, as the port has it, and what time it is."""
        self.id = id
        # None while it answers, else why it does not.
        self.failure: str | None = "the master key was not asked yet"
        # A key of before that this process holds: what it wrapped is asked of nobody.
        self.former: MasterKey | None = None
        self._clock = clock
        self._answered: float | None = None

    async def wrap(self, key: bytes, *, context: bytes) -> bytes:
        """As the port has it."""
        return await self._noted(self._wrap(key, context))

    async def unwrap(self, blob: bytes, *, context: bytes) -> bytes:
        """As the port has it."""
        if self.former is not None:
            with contextlib.suppress(CannotOpen):
                return await self.former.unwrap(blob, context=context)
        return await self._noted(self._unwrap(blob, context))

    async def is_newest(self, blob: bytes) -> bool:
        """As the port has it."""
        return await self._noted(self._is_newest(blob))

    async def ping(self) -> str | None:
        """As the port has it. Wraps something, so that what is said to work is what is needed."""
        if self.failure is not None or not self._is_fresh():
            try:
                await self.wrap(_PROBE, context=_PROBE)
            except MasterUnavailable as error:
                return str(error)
        return self.failure

    @abstractmethod
    async def close(self) -> None:
        """As the port has it."""

    @abstractmethod
    async def _wrap(self, key: bytes, context: bytes) -> bytes: ...

    @abstractmethod
    async def _unwrap(self, blob: bytes, context: bytes) -> bytes: ...

    @abstractmethod
    async def _is_newest(self, blob: bytes) -> bool: ...

    def _is_fresh(self) -> bool:
        return self._answered is not None and self._clock.boottime() - self._answered <= FRESH.total_seconds()

    async def _noted(self, asking: Awaitable[_T]) -> _T:
        try:
            answer = await asking
        except MasterUnavailable as error:
            if self.failure != str(error):
                _log.error("master key %s: %s", self.id, error, extra=Happening.MASTER_KEY_DOWN.said())
            self.failure = str(error)
            raise
        if self.failure is not None and self._answered is not None:
            _log.warning("master key %s: answers again", self.id)
        self.failure, self._answered = None, self._clock.boottime()
        return answer


class RemoteMaster(DistantMaster):
    """One that is asked over the network. ``of_the_blob``: the reasons of refusals that are the blob's fault."""

    of_the_blob: frozenset[str]

    async def _asked(self, asking: Awaitable[_T]) -> _T:
        try:
            return await asking
        except Refused as error:
            if error.reason in self.of_the_blob:
                raise CannotOpen("altered") from error
            raise MasterRefused(str(error)) from error
        except Missing as error:
            raise MasterRefused(str(error)) from error
        except RemoteFailure as error:
            raise MasterUnavailable(str(error)) from error
