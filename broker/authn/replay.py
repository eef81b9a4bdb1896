"""A ticket's use counts once, across all instances.

MIT's replay cache is a file of one host: a token that was used here succeeds once more over there. So the instances share what
they have seen, in Redis, by the hash of the encrypted authenticator. An answer that does not come is a refusal.
"""

from __future__ import annotations

import asyncio
import hashlib
from datetime import timedelta
from typing import Protocol

from redis import asyncio as redis
from redis.exceptions import RedisError

from broker.core.clock import Clock
from broker.core.errors import AuthFailed, ReplayGuardUnavailable

# An authenticator is good for the clock skew of five minutes, before and after (RFC 4120 section 3.2.3); a minute more
# for instances whose clocks differ.
REMEMBERED = timedelta(minutes=11)
# A dead Redis costs one request its timeout; for this long the others are refused at once.
_BREAKER = timedelta(seconds=1)

_PREFIX = "zerotrust:{shared}:replay:"
_DIGEST_CHARS = 32  # 128 bits


class ReplayGuard(Protocol):
    """Says whether an authenticator is new, once."""

    async def spend(self, authenticator: bytes) -> None:
        """Return the first time, raise ever after.

        Raises:
            AuthFailed: It was used before.
            ReplayGuardUnavailable: Nobody can say.
        """

    async def ping(self) -> str | None:
        """None while it answers, else what is wrong with it."""


class HostGuard:
    """MIT's replay cache has seen the token already when it was accepted: one file for all instances of this host."""

    async def spend(self, authenticator: bytes) -> None:
        """See ``ReplayGuard``."""

    async def ping(self) -> str | None:
        """See ``ReplayGuard``."""
        return None


class SharedGuard:
    """In Redis, for all instances. Tokens that arrive together are asked about together, in one round trip."""

    def __init__(self, *, client: redis.Redis, clock: Clock) -> None:
        """Take a client that has timeouts of its own."""
        self._client = client
        self._clock = clock
        self._waiting: list[tuple[str, asyncio.Future[bool]]] = []
        self._asking: asyncio.Task[None] | None = None
        self._open_until = 0.0
        self.failure: str | None = None

    async def spend(self, authenticator: bytes) -> None:
        """See ``ReplayGuard``."""
        if self._clock.boottime() < self._open_until:
            raise ReplayGuardUnavailable(self.failure or "")
        name = _PREFIX + hashlib.sha256(authenticator).hexdigest()[:_DIGEST_CHARS]
        is_new: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((name, is_new))
        if self._asking is None:
            self._asking = asyncio.ensure_future(self._ask())
        if not await is_new:
            raise AuthFailed(reason="ticket_replayed")

    async def ping(self) -> str | None:
        """See ``ReplayGuard``."""
        if self._clock.boottime() < self._open_until:
            return self.failure
        try:
            await self._client.ping()
        except (RedisError, OSError, TimeoutError) as error:
            return type(error).__name__
        return None

    async def _ask(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                answers = await self._put(batch)
            except Exception as error:  # noqa: BLE001  # whatever it is: nobody passes on it, and nobody waits for ever
                self._trip(error, batch)
                continue
            self.failure = None
            for (_, is_new), answer in zip(batch, answers, strict=True):
                if is_new.done():
                    continue
                if isinstance(answer, Exception):
                    is_new.set_exception(ReplayGuardUnavailable(type(answer).__name__))
                else:
                    is_new.set_result(answer is True)
        self._asking = None

    async def _put(self, batch: list[tuple[str, asyncio.Future[bool]]]) -> list[object]:
        pipeline = self._client.pipeline(transaction=False)
        for name, _ in batch:
            pipeline.set(name, b"", nx=True, px=REMEMBERED)
        return list(await pipeline.execute(raise_on_error=False))

    def _trip(self, error: Exception, batch: list[tuple[str, asyncio.Future[bool]]]) -> None:
        self._open_until = self._clock.boottime() + _BREAKER.total_seconds()
        self.failure = type(error).__name__
        for _, is_new in batch:
            if not is_new.done():
                is_new.set_exception(ReplayGuardUnavailable(self.failure))
