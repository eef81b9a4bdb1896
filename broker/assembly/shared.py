"""What instances share: the connections to Redis, with the patience that a request can afford.

There are three clients, each with connections of its own: for what all rooms share, for the cache, for the vault. The keys of
each have one hash tag, so that in a cluster each finds all of its own at one primary, and speaks to that as to any other Redis.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from redis import asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from broker.assembly.primary import Finder, Pool, Sentinels, Slot
from broker.cache.store import CONNECTIONS, RedisStore
from broker.config.redis import Redis, RedisSentinel

# A frozen Redis costs one request this much, once; then the store's breaker is open.
_REDIS_TIMEOUT = timedelta(milliseconds=200)
# The cache has a patience of its own, which knows whether it is Redis or this process that is late; this is for the worst.
_CACHE_TIMEOUT = timedelta(seconds=1)
_REDIS_CONNECTIONS = 32
# Versions of 64 KiB, and a disk that may be waited for (appendfsync always); who asks for a secret has seconds.
_VAULT_TIMEOUT = timedelta(seconds=2)
VAULT_PATIENCE = _VAULT_TIMEOUT / 2

# Hash tags of the keys, as rooms write them.
SHARED, CACHE, VAULT = "shared", "cache", "vault"


def redis_client(section: Redis) -> redis.Redis:
    """A client that gives up soon and never tries twice; nothing is connected yet."""
    return _client(section, tag=SHARED, timeout=_REDIS_TIMEOUT, connections=_REDIS_CONNECTIONS, retries=0)


def patient_client(section: Redis) -> redis.Redis:
    """For an operator who looks at it: the same as ``redis_client``, for whom a slow answer is no failure."""
    return _client(section, tag=SHARED, timeout=_VAULT_TIMEOUT, connections=1, retries=0)


def redis_store(section: Redis) -> RedisStore:
    """What the cache shares with other instances, over connections of its own."""
    # A connection that Redis closed while nobody used it shows only when it is used: that is no fault, and one retry mends it.
    client = _client(section, tag=CACHE, timeout=_CACHE_TIMEOUT, connections=CONNECTIONS + 1, retries=1)
    return RedisStore(client=client)


def vault_client(section: Redis) -> redis.Redis:
    """What the vault keeps its rows over, with connections of its own."""
    return _client(section, tag=VAULT, timeout=_VAULT_TIMEOUT, connections=_REDIS_CONNECTIONS, retries=0)


def _client(section: Redis, *, tag: str, timeout: timedelta, connections: int, retries: int) -> redis.Redis:
    seconds = timeout.total_seconds()
    options: dict[str, Any] = {
        "username": section.username,
        "password": section.password.reveal() if section.password else None,
        "retry": Retry(NoBackoff(), retries),
        "max_connections": connections,
        "timeout": seconds,
        **_patience(timeout),
    }
    if section.url is not None:
        return redis.Redis.from_pool(redis.BlockingConnectionPool.from_url(section.url, **options, **_tls(section)))
    # The class of its connections says whether it speaks TLS.
    pool = Pool(finder=_finder(section, tag=tag), tls=section.uses_tls, **options, **_tls(section))
    return redis.Redis.from_pool(pool)


def _finder(section: Redis, *, tag: str) -> Finder:
    where: RedisSentinel | Redis = section.sentinel or section
    options: dict[str, Any] = {
        "username": where.username,
        "password": where.password.reveal() if where.password else None,
        "retry": Retry(NoBackoff(), 1),
        "timeout": _REDIS_TIMEOUT.total_seconds(),
        **_patience(_REDIS_TIMEOUT),
        **_tls(section),
    }
    if section.uses_tls:
        options["connection_class"] = redis.SSLConnection
    if section.sentinel is not None:
        return Sentinels(section.hosts, service=section.sentinel.service, options=options)
    return Slot(section.hosts, tag=tag, options=options)


def _patience(timeout: timedelta) -> Mapping[str, Any]:
    # The broker's account need not tell who it is made of.
    return {
        "driver_info": None,
        "socket_connect_timeout": timeout.total_seconds(),
        "socket_timeout": timeout.total_seconds(),
    }


def _tls(section: Redis) -> Mapping[str, Any]:
    """The chain and the host's name are checked, always."""
    if not section.uses_tls:
        return {}
    files = section.tls
    return {
        "ssl_cert_reqs": ssl.CERT_REQUIRED,
        "ssl_check_hostname": True,
        "ssl_min_version": ssl.TLSVersion.TLSv1_2,
        "ssl_ca_certs": str(files.ca) if files and files.ca else None,
        "ssl_certfile": str(files.certificate) if files and files.certificate else None,
        "ssl_keyfile": str(files.private_key) if files and files.private_key else None,
    }
