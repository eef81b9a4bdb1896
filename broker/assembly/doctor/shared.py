"""The Redis that instances share. Nothing is written there, and nothing of the broker's is read."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import aclosing

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
        asyncio.run(_time(section))
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
        seconds, microseconds = asyncio.run(_time(section))
    except (RedisError, OSError):
        return None
    return seconds + microseconds / 1e6


async def _time(section: Redis) -> tuple[int, int]:
    async with aclosing(redis_client(section)) as client:
        return await client.time()
