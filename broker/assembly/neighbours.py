"""How the audit logs of several hosts hear of each other: through Redis, which is trusted with nothing."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from redis import asyncio as redis
from redis.exceptions import RedisError

from broker.assembly.audit import public_keys
from broker.audit.log import AuditLog
from broker.audit.neighbours import Neighbours
from broker.config.model import Settings
from broker.core.clock import Clock
from broker.keys.hierarchy import KeyHierarchy
from broker.keys.signing import KeySet

_NOTES = "zerotrust:{shared}:audit:checkpoints"

_log = logging.getLogger(__name__)


def neighbours_of(
    settings: Settings, *, hierarchy: KeyHierarchy, audit: AuditLog, client: redis.Redis | None, clock: Clock
) -> Neighbours:
    """Who looks at the logs beside this one."""
    return Neighbours(
        audit=audit,
        directory=settings.audit.directory,
        keys=KeySet(jwks=public_keys(hierarchy, hsm=None)),
        courier=RedisCourier(client=client) if client else None,
        clock=clock,
    )


class RedisCourier:
    """One hash: each instance's last checkpoint under its name."""

    def __init__(self, *, client: redis.Redis) -> None:
        self._client = client

    async def exchange(self, instance: str, note: str) -> Mapping[str, str]:
        """Leave one's own and take what is there; nothing where Redis does not answer, which others say loudly enough."""
        try:
            async with self._client.pipeline(transaction=False) as pipeline:
                pipeline.hset(_NOTES, instance, note)
                pipeline.hgetall(_NOTES)
                _, found = await pipeline.execute()
        except (RedisError, OSError, TimeoutError) as error:
            _log.info("audit: checkpoints of other hosts did not come: %s", error)
            return {}
        if not isinstance(found, dict):
            return {}
        return {_text(name): _text(value) for name, value in found.items() if name != instance.encode()}

    async def forget(self, instance: str) -> None:
        """Take one away."""
        try:
            await self._client.hdel(_NOTES, instance)
        except (RedisError, OSError, TimeoutError) as error:
            _log.info("audit: the checkpoint of %s stays with the courier: %s", instance, error)


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
