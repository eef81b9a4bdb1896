"""The keyring's way among hosts: through a Redis that is trusted with nothing.

One hash holds entries, another what each instance says of itself. What is put there opens for us alone; what is taken away is put
back by whoever knows it; what is put there by others does not open. A turn is a key with a time: it spares work, no more, for
two that rotate at once lose nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, cast

from redis import asyncio as redis
from redis.exceptions import RedisError

_RING = "zerotrust:keyring"
_INSTANCES = "zerotrust:keyring:instances"
_TURN = "zerotrust:keyring:turn"
_TURN_LASTS = timedelta(seconds=10)
# Ten years of daily versions and tombstones; whoever puts more there is not read.
_ENTRIES_MAX = 10_000


class NotShared(Exception):
    """Redis does not answer, or cannot be read; the message says why."""


class Courier:
    """For one instance."""

    def __init__(self, *, client: redis.Redis, instance: str) -> None:
        """Take a client that has timeouts of its own."""
        self._client = client
        self._instance = instance

    async def exchange(self, beat: bytes | None) -> tuple[Mapping[bytes, bytes], Mapping[bytes, bytes]]:
        """Say that we live (None: nothing), and take what is there: entries by name, and what instances say by theirs.

        Raises:
            NotShared: Nobody knows what is there.
        """
        pipeline = self._client.pipeline(transaction=False)
        pipeline.hlen(_RING)
        pipeline.hlen(_INSTANCES)
        if beat is not None:
            pipeline.hset(_INSTANCES, self._instance, cast("str", beat))
        numbers = await self._done(pipeline)
        if max(numbers[:2]) > _ENTRIES_MAX:
            raise NotShared("somebody put thousands of entries there")
        pipeline = self._client.pipeline(transaction=False)
        pipeline.hgetall(_RING)
        pipeline.hgetall(_INSTANCES)
        entries, beats = await self._done(pipeline)
        return entries, beats

    async def put(self, entries: Mapping[str, bytes], *, away: Iterable[str] = ()) -> None:
        """Put these there, and take those ``away``. Raises like ``exchange``."""
        pipeline = self._client.pipeline(transaction=True)
        for name, text in entries.items():
            pipeline.hset(_RING, name, cast("str", text))
        for name in away:
            pipeline.hdel(_RING, name)
        await self._done(pipeline)

    async def leave(self, *, goodbye: bytes) -> None:
        """Let nobody wait for our beats, or for our turn to end. Raises like ``exchange``."""
        pipeline = self._client.pipeline(transaction=False)
        pipeline.hset(_INSTANCES, self._instance, cast("str", goodbye))
        pipeline.get(_TURN)
        if (await self._done(pipeline))[-1] == self._instance.encode():
            # Where it ended just now, another's ends with it: that costs some work, and nothing else.
            pipeline.delete(_TURN)
            await self._done(pipeline)

    async def bury(self, instances: Iterable[str]) -> None:
        """Take away what instances said that are no more. Raises like ``exchange``."""
        pipeline = self._client.pipeline(transaction=False)
        for instance in instances:
            pipeline.hdel(_INSTANCES, instance)
        await self._done(pipeline)

    async def is_our_turn(self) -> bool:
        """Whether nobody else takes care of the ring at this moment. Raises like ``exchange``."""
        pipeline = self._client.pipeline(transaction=False)
        pipeline.set(_TURN, self._instance, nx=True, px=_TURN_LASTS)
        pipeline.get(_TURN)
        _, whose = await self._done(pipeline)
        return bool(whose == self._instance.encode())

    async def _done(self, pipeline: Any) -> list[Any]:
        try:
            answers: list[Any] = await pipeline.execute()
        except (RedisError, OSError, TimeoutError) as error:
            raise NotShared(type(error).__name__) from error
        return answers
