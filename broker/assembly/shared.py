"""What instances share: the connection to Redis, with the patience that a request can afford."""

from __future__ import annotations

from datetime import timedelta

from redis import asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from broker.config.model import Redis

# A frozen Redis costs one request this much, once; then the store's breaker is open.
_REDIS_TIMEOUT = timedelta(milliseconds=200)
_REDIS_CONNECTIONS = 32


def redis_client(section: Redis) -> redis.Redis:
    """A client that gives up soon and never tries twice; nothing is connected yet."""
    seconds = _REDIS_TIMEOUT.total_seconds()
    pool = redis.BlockingConnectionPool.from_url(
        section.url,
        password=section.password.reveal() if section.password else None,
        socket_connect_timeout=seconds,
        socket_timeout=seconds,
        retry=Retry(NoBackoff(), 0),
        max_connections=_REDIS_CONNECTIONS,
        timeout=seconds,
    )
    return redis.Redis.from_pool(pool)
