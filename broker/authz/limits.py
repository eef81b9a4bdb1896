"""How often somebody may ask: a principal once it is known, an address before anything is known.

Two numbers are kept for a name: this period's requests and the last one's. The last one's weigh as much as of that period
still lies within one period from now, as if they had come evenly; so a limit holds from any moment on, not by the clock's
minutes alone.

Instances share what they count in Redis. An instance takes a few at a time there and gives them out by itself, so that a
request seldom waits for Redis; a name that may take no more is remembered and costs no further question. While Redis is away each
instance counts alone. The number of names is bounded, and the names in Redis are keyed hashes.

This keeps a fair share for everybody; it decides about nobody's rights. Whoever controls Redis can lift or close a limit.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, ip_network

from redis import asyncio as redis
from redis.exceptions import RedisError

from broker.core.clock import Clock
from broker.core.errors import RateLimited
from broker.core.principal import Principal
from broker.core.rate import Rate

Address = IPv4Address | IPv6Address

# Names that are counted at a time; the one that asked longest ago is forgotten. At 600 octets these are 30 MB.
NAMES = 50_000
# What one instance takes from Redis at once, as a part of the limit: at most so much stays unused when it is taken.
_TAKEN_AT_ONCE = 20
# A host has a /64 to itself (RFC 6177) and as many addresses as it likes.
_IPV6_HOST_BITS = 64
# A dead Redis costs one request its timeout, then is left alone for this long.
_BREAKER = timedelta(seconds=2)

# What is due at the very end of a Retry-After must not be missed by the last digit of a float.
_ROUNDING = 1e-6

_PREFIX = "zerotrust:{shared}:limit:"
_DIGEST_BYTES = 16

_log = logging.getLogger(__name__)


class Of(StrEnum):
    """Whose requests are counted together."""

    PRINCIPAL = "principal"
    ADDRESS = "address"


@dataclass(slots=True)
class _Count:
    """One name's, in one period. ``taken`` counts at most to the limit; ``kept`` are those not yet given out."""

    period: int
    before: int = 0
    taken: int = 0
    kept: int = 0
    free_at: float = 0.0
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)

    def must_ask(self, now: float) -> bool:
        return not self.kept and now >= self.free_at


class Limits:
    """Raises where somebody asks too often; without a rate for their kind, never."""

    def __init__(
        self,
        *,
        rates: Callable[[], Mapping[Of, Rate]],
        client: redis.Redis | None,
        name_key: bytes,
        clock: Clock,
        names: int = NAMES,
    ) -> None:
        """Share what is counted through ``client``, which has timeouts of its own; alone without one.

        ``rates`` are asked for each time: those in force. Where a rate's period changes, counting begins anew.
        """
        self._rates = rates
        self._client = client
        self._name_key = name_key
        self._clock = clock
        self._names = names
        self._counts: OrderedDict[tuple[Of, str], _Count] = OrderedDict()
        self._open_until = 0.0
        self.failure: str | None = None
        self.refused = dict.fromkeys(Of, 0)

    async def principal(self, principal: Principal) -> None:
        """Count a request of somebody who is known.

        Raises:
            RateLimited: They ask too often.
        """
        if (rate := self._rates().get(Of.PRINCIPAL)) is not None:
            await self._count(Of.PRINCIPAL, rate, f"{int(principal.name_type)} {principal}")

    async def address(self, address: Address | None) -> None:
        """Count a request from an address; a local socket has none, and no limit.

        Raises:
            RateLimited: They ask too often.
        """
        rate = self._rates().get(Of.ADDRESS)
        if address is None or rate is None:
            return
        if isinstance(address, IPv6Address):
            name = str(ip_network((int(address), _IPV6_HOST_BITS), strict=False))
        else:
            name = str(address)
        await self._count(Of.ADDRESS, rate, name)

    async def _count(self, of: Of, rate: Rate, name: str) -> None:
        now = self._clock.now().timestamp()
        count = self._count_of(of, name, rate, now)
        if count.must_ask(now):
            # Those who come together ask together.
            async with count.asking:
                if count.must_ask(now):
                    await self._take(of, name, count, rate, now)
        if not count.kept:
            self.refused[of] += 1
            raise RateLimited(retry_after=max(1, math.ceil(count.free_at - now)))
        count.kept -= 1

    def _count_of(self, of: Of, name: str, rate: Rate, now: float) -> _Count:
        period = int(now // rate.seconds)
        count = self._counts.get((of, name))
        if count is None:
            count = self._counts[of, name] = _Count(period)
            if len(self._counts) > self._names:
                self._counts.popitem(last=False)
            return count
        self._counts.move_to_end((of, name))
        if count.period != period:
            count.before = count.taken if count.period == period - 1 else 0
            count.period, count.taken, count.kept, count.free_at = period, 0, 0, 0.0
        return count

    async def _take(self, of: Of, name: str, count: _Count, rate: Rate, now: float) -> None:
        wanted = max(1, rate.number // _TAKEN_AT_ONCE)
        before, taken = await self._shared(of, name, count.period, rate, wanted) or (count.before, count.taken)
        elapsed = now % rate.seconds / rate.seconds
        left = rate.number - taken - math.ceil(min(before, rate.number) * (1 - elapsed) - _ROUNDING)
        given = max(0, min(wanted, left))
        count.kept += given
        count.taken = min(rate.number, taken + given)
        if not given:
            count.free_at = now + _until_free(rate, before=before, taken=taken, elapsed=elapsed)

    async def _shared(self, of: Of, name: str, period: int, rate: Rate, wanted: int) -> tuple[int, int] | None:
        """What all instances took in the last period and in this one before now; None where Redis does not say."""
        if self._client is None or self._clock.boottime() < self._open_until:
            return None
        digest = hashlib.blake2b(
            name.encode(), digest_size=_DIGEST_BYTES, key=self._name_key, person=b"limits"
        ).hexdigest()
        key = f"{_PREFIX}{of}:{digest}:"
        pipeline = self._client.pipeline(transaction=False)
        pipeline.get(f"{key}{period - 1}")
        pipeline.incrby(f"{key}{period}", wanted)
        pipeline.expire(f"{key}{period}", 2 * rate.seconds)
        try:
            before, taken, _ = await pipeline.execute()
            shared = int(before or 0), int(taken) - wanted
        except (RedisError, OSError, TimeoutError, ValueError) as error:
            self._trip(error)
            return None
        self.failure = None
        return shared

    def _trip(self, error: Exception) -> None:
        self._open_until = self._clock.boottime() + _BREAKER.total_seconds()
        if self.failure is None:
            _log.warning("limits: Redis failed, each instance counts alone: %s", type(error).__name__)
        self.failure = type(error).__name__


def _until_free(rate: Rate, *, before: int, taken: int, elapsed: float) -> float:
    """Seconds until one more fits, if nobody else takes it."""
    if taken >= rate.number:
        # This period is used up; in the next one it weighs less by and by.
        return (1 - elapsed + 1 / rate.number) * rate.seconds
    weight = (rate.number - taken - 1) / min(before, rate.number)
    return max(0.0, 1 - weight - elapsed) * rate.seconds
