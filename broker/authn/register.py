"""Which job passes are in force, known to all instances.

A pass that the register does not know does not count. So an emptied Redis ends passes, and an answer that does not come is a
refusal. A failover that lost the last second would revive a pass that was cancelled in it: so one is cancelled when replicas
know it. And a primary that was cut off has not heard of it: so one answers only while it has replicas.

An entry is a keyed hash of a pass's id and owner: whoever controls Redis can end passes, cannot make an entry, and does not learn
whose they are. Somebody who copied an entry before it was struck could put it back; they would need the pass as well.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from redis import asyncio as redis
from redis.exceptions import RedisError

from broker.core.clock import Clock
from broker.core.errors import PassesUnavailable
from broker.core.principal import Principal
from broker.core.replicated import Replicas

# A dead Redis costs one request its timeout; for this long the others are refused at once.
_BREAKER = timedelta(seconds=1)
# Entries outlive their passes a little, for instances whose clocks differ.
_LINGER = timedelta(minutes=5)

_PREFIX = "zerotrust:{shared}:pass:"
_PROBE = "zerotrust:{shared}:passes"
_TAG_BYTES = 16

_T = TypeVar("_T")


class Register:
    """Each pass by its id, and whose it is."""

    def __init__(
        self,
        *,
        client: redis.Redis | None,
        replicas: Replicas,
        key: bytes,
        former: Sequence[bytes] = (),
        clock: Clock,
    ) -> None:
        """Take a client that has timeouts of its own; without one no pass counts, and none can be made.

        ``key`` marks what is entered; what a ``former`` one marked is in force all the same.
        """
        self._client = client
        self._replicas = replicas
        self._keys = (key, *former)
        self._clock = clock
        self._open_until = 0.0
        self._failure = ""

    async def enter(self, identifier: str, principal: Principal, *, until: datetime) -> None:
        """Put a pass in force.

        Raises:
            PassesUnavailable: It is not.
        """
        life = until + _LINGER - self._clock.now()
        tag, *_ = self._tags(identifier, principal)
        await self._asked(lambda client: client.set(_PREFIX + identifier, tag, px=life))

    async def knows(self, identifiers: Sequence[str], principal: Principal) -> bool:
        """Whether all of them are in force, and this principal's. Raises like ``known``."""
        return (await self.known(identifiers, principal)).issuperset(identifiers)

    async def known(self, identifiers: Sequence[str], principal: Principal) -> frozenset[str]:
        """Those of them that are in force, and this principal's.

        Raises:
            PassesUnavailable: Nobody can say.
        """
        if not identifiers:
            return frozenset()
        names = [_PREFIX + identifier for identifier in identifiers]
        (found,) = await self._asked(lambda client: self._by_primary(client.pipeline(transaction=False).mget(names)))
        # In constant time: whoever could time us while they write entries would find a right one byte by byte.
        return frozenset(
            identifier
            for entry, identifier in zip(found, identifiers, strict=True)
            if isinstance(entry, bytes)
            and any(hmac.compare_digest(entry, tag) for tag in self._tags(identifier, principal))
        )

    async def strike(self, identifier: str, principal: Principal) -> bool:
        """Put a pass out of force; False where this principal has none of this name.

        Raises:
            PassesUnavailable: It may still be in force.
        """
        if not await self.knows([identifier], principal):
            return False
        name = _PREFIX + identifier
        await self._asked(lambda client: self._by_primary(client.pipeline(transaction=False).delete(name)))
        return True

    async def _by_primary(self, pipeline: Any) -> list[Any]:
        """The answers of whoever is the primary still: behind them a write is taken by replicas, which have all before it.

        Raises:
            RedisError, OSError: It may be the primary no more.
        """
        if not self._replicas.number:
            return list(await pipeline.execute())
        pipeline.set(_PROBE, b"", px=_LINGER)
        self._replicas.wait(pipeline)
        *answers, _ = self._replicas.kept(await pipeline.execute())
        return answers

    async def _asked(self, question: Callable[[redis.Redis], Awaitable[_T]]) -> _T:
        if self._client is None:
            raise PassesUnavailable("no redis is configured", reason="passes_need_redis")
        if self._clock.boottime() < self._open_until:
            raise PassesUnavailable(self._failure)
        try:
            return await question(self._client)
        except (RedisError, OSError, TimeoutError) as error:
            self._open_until = self._clock.boottime() + _BREAKER.total_seconds()
            self._failure = type(error).__name__
            raise PassesUnavailable(self._failure) from error

    def _tags(self, identifier: str, principal: Principal) -> list[bytes]:
        entry = f"{identifier} {int(principal.name_type)} {principal}".encode()
        return [hmac.new(key, entry, hashlib.sha256).digest()[:_TAG_BYTES] for key in self._keys]
