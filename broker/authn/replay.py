"""A ticket's use counts once, across all instances.

MIT's replay cache is a file of one host: a token that was used here succeeds once more over there. So the instances share what
they have seen, in Redis, by the hash of the encrypted authenticator. An answer that does not come is a refusal.

What a primary alone has does not count either: it may be lost with it, or be cut off from a newer one. And a Redis that throws
keys away when its memory is full would throw away that a ticket was used: nobody passes there. What an emptied Redis has
forgotten, each host remembers for itself in MIT's file.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from datetime import timedelta
from typing import Any, Protocol

from redis import asyncio as redis
from redis.exceptions import RedisError

from broker.core.clock import Clock
from broker.core.errors import AuthFailed, ReplayGuardUnavailable
from broker.core.replicated import NotReplicated, Replicas

# An authenticator is good for the clock skew of five minutes, before and after (RFC 4120 section 3.2.3); a minute more
# for instances whose clocks differ.
REMEMBERED = timedelta(minutes=11)
# A dead Redis costs one request its timeout; for this long the others are refused at once.
_BREAKER = timedelta(seconds=1)

_PREFIX = "zerotrust:{shared}:replay:"
_DIGEST_CHARS = 32  # 128 bits
_PROBE = f"{_PREFIX}probe"
# Whether Redis evicts keys is looked at this often: it may be another one after a failover, or be told otherwise.
_LOOK_EVERY = timedelta(seconds=10)
_EVICTS = "EvictsKeys"

_log = logging.getLogger(__name__)


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

    def __init__(self, *, client: redis.Redis, replicas: Replicas, clock: Clock) -> None:
        """Take a client that has timeouts of its own; ``replicas`` have each use before it counts."""
        self._client = client
        self._replicas = replicas
        self._clock = clock
        self._looked_at = float("-inf")
        self._evicts = False
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
        pipeline = self._client.pipeline(transaction=False)
        if self._replicas.number:
            pipeline.set(_PROBE, b"", px=REMEMBERED)
        else:
            pipeline.ping()
        try:
            _, failure = await self._written(pipeline)
        except (RedisError, OSError, TimeoutError) as error:
            return type(error).__name__
        return failure

    async def _ask(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                answers, failure = await self._put(batch)
            except Exception as error:  # noqa: BLE001  # whatever it is: nobody passes on it, and nobody waits for ever
                answers, failure = [], type(error).__name__
            self.failure = failure
            if failure is not None:
                self._trip(failure, batch)
                continue
            for (_, is_new), answer in zip(batch, answers, strict=True):
                if is_new.done():
                    continue
                if isinstance(answer, Exception):
                    is_new.set_exception(ReplayGuardUnavailable(type(answer).__name__))
                else:
                    is_new.set_result(answer is True)
        self._asking = None

    async def _put(self, batch: list[tuple[str, asyncio.Future[bool]]]) -> tuple[list[object], str | None]:
        pipeline = self._client.pipeline(transaction=False)
        for name, _ in batch:
            pipeline.set(name, b"", nx=True, px=REMEMBERED)
        return await self._written(pipeline)

    async def _written(self, pipeline: Any) -> tuple[list[object], str | None]:
        """The answers to writes; and why none of them counts, where none does."""
        self._replicas.wait(pipeline)
        is_due = self._clock.boottime() - self._looked_at >= _LOOK_EVERY.total_seconds()
        if is_due:
            pipeline.info("memory")
        answers = await pipeline.execute(raise_on_error=False)
        if is_due:
            self._look(answers.pop())
        answers, is_kept = self._replicas.answered(answers)
        if self._evicts:
            return answers, _EVICTS
        # What was refused says why better than that no replica has it.
        refused = [type(answer).__name__ for answer in answers if isinstance(answer, Exception)]
        return answers, None if is_kept and len(refused) < len(answers) else next(iter(refused), NotReplicated.__name__)

    def _look(self, memory: object) -> None:
        """Whether it throws keys away: those that end soon go first, and all of ours do."""
        self._looked_at = self._clock.boottime()
        if not isinstance(memory, dict):
            _log.warning(
                "replay guard: Redis does not say whether it evicts keys; it must not (maxmemory-policy noeviction)"
            )
            return
        evicts = memory.get("maxmemory") != 0 and memory.get("maxmemory_policy") != "noeviction"
        if evicts and not self._evicts:
            _log.error("replay guard: Redis evicts keys, so no ticket passes: CONFIG SET maxmemory-policy noeviction")
        self._evicts = evicts

    def _trip(self, failure: str, batch: list[tuple[str, asyncio.Future[bool]]]) -> None:
        self._open_until = self._clock.boottime() + _BREAKER.total_seconds()
        for _, is_new in batch:
            if not is_new.done():
                is_new.set_exception(ReplayGuardUnavailable(failure))
