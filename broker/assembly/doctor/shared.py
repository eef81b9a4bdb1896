"""The Redis that instances share. Nothing is written there, and nothing of the broker's is read."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import aclosing
from typing import Any

from redis.exceptions import RedisError

from broker.admin.finding import Finding, bad, ok
from broker.assembly.doctor.patient import NotSeen, Patient
from broker.assembly.shared import redis_client
from broker.config.redis import Redis
from broker.core.visible import visible


def redis(patient: Patient) -> Iterator[Finding]:
    """Whether it answers."""
    section = patient.settings.redis
    if section is None:
        raise NotSeen("none is configured: this is one instance alone")
    try:
        asyncio.run(_info(section))
    except (RedisError, OSError) as error:
        said = visible(str(error)) or type(error).__name__
        yield bad(
            "redis_unreachable", f"does not answer: {said}", "redis-cli -u URL PING; zerotrust-broker check-config"
        )
        return
    yield ok("answers")


def time_of(section: Redis) -> float | None:
    """What Redis says that it is, in Unix seconds; None where it does not."""
    try:
        said = asyncio.run(_info(section))["server_time_usec"]
    except (RedisError, OSError, KeyError):
        return None
    return int(said) / 1e6


async def _info(section: Redis) -> Mapping[str, Any]:
    """Of the server itself: the broker's account may ask for it, and not for TIME."""
    async with aclosing(redis_client(section)) as client:
        found: Mapping[str, Any] = await client.info("server")
        return found
