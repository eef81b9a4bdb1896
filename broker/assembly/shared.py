"""What instances share: the connection to Redis, with the patience that a request can afford."""

from __future__ import annotations

from datetime import timedelta

from redis import asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from broker.cache.store import CONNECTIONS, RedisStore
from broker.config.model import Redis

# A frozen Redis costs one request this much, once; then the store's breaker is open.
_REDIS_TIMEOUT = timedelta(milliseconds=200)
# The cache has a patience of its own, which knows whether it is Redis or this process that is late; this is for the worst.
_CACHE_TIMEOUT = timedelta(seconds=1)
_REDIS_CONNECTIONS = 32
# Versions of 64 KiB, and a disk that may be waited for (appendfsync always); who asks for a secret has seconds.
_VAULT_TIMEOUT = timedelta(seconds=2)


def redis_client(section: Redis) -> redis.Redis:
    """A client that gives up soon and never tries twice; nothing is connected yet."""
    return _client(section, timeout=_REDIS_TIMEOUT, connections=_REDIS_CONNECTIONS, retries=0)


def redis_store(section: Redis) -> RedisStore:
    """What the cache shares with other instances, over connections of its own."""
    # A connection that Redis closed while nobody used it shows only when it is used: that is no fault, and one retry mends it.
    return RedisStore(client=_client(section, timeout=_CACHE_TIMEOUT, connections=CONNECTIONS + 1, retries=1))


def vault_client(section: Redis) -> redis.Redis:
    """What the vault keeps its rows over, with connections of its own."""
    return _client(section, timeout=_VAULT_TIMEOUT, connections=_REDIS_CONNECTIONS, retries=0)


def _client(section: Redis, *, timeout: timedelta, connections: int, retries: int) -> redis.Redis:
    seconds = timeout.total_seconds()
    pool = redis.BlockingConnectionPool.from_url(
        section.url,
        password=section.password.reveal() if section.password else None,
        socket_connect_timeout=seconds,
        socket_timeout=seconds,
        retry=Retry(NoBackoff(), retries),
        max_connections=connections,
        timeout=seconds,
    )
    return redis.Redis.from_pool(pool)
