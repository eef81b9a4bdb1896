"""The keyring's way among hosts: through a Redis that is trusted with nothing.

One hash holds entries, another what each instance says of itself. What is put there opens for us alone; what is taken away is put
back by whoever knows it; what is put there by others does not open. A turn is a key with a time: it spares work, no more, for
two that rotate at once lose nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, cast

from redis import asyncio as redis
from redis.exceptions import RedisError

from broker.keys.keyring import Entry, Ring, decoded

_RING = "zerotrust:{shared}:keyring"
_INSTANCES = "zerotrust:{shared}:keyring:instances"
_TURN = "zerotrust:{shared}:keyring:turn"
_TURN_LASTS = timedelta(seconds=10)
# Ten years of daily versions and tombstones, and as many instances as nobody has; whoever puts more there, or more bytes in all,
# is not read.
_ENTRIES_MAX = 10_000
_INSTANCES_MAX = 1_000
_BYTES_MAX = 8 << 20
# Entries read before others get their turn.
_AT_A_TIME = 64
# KEYS: a hash. ARGV: how many bytes it may be. Nothing where it is larger.
_WHOLE = """
local all, size = redis.call('HGETALL', KEYS[1]), 0
for at = 1, #all do size = size + #all[at] end
if size > tonumber(ARGV[1]) then return false end
return all
"""


class NotShared(Exception):
    """Redis does not answer, or cannot be read; the message says why."""


class Courier:
    """For one instance."""

    def __init__(self, *, client: redis.Redis, instance: str) -> None:
        """Take a client that has timeouts of its own."""
        self._client = client
        self._instance = instance
        self._whole = client.register_script(_WHOLE)

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
        if numbers[0] > _ENTRIES_MAX or numbers[1] > _INSTANCES_MAX:
            raise NotShared("somebody put thousands of entries there")
        return await self._read(_RING), await self._read(_INSTANCES)

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

    async def _read(self, name: str) -> Mapping[bytes, bytes]:
        try:
            found = await self._whole([name], [_BYTES_MAX])
        except (RedisError, OSError, TimeoutError) as error:
            raise NotShared(type(error).__name__) from error
        if found is None:
            raise NotShared("somebody put megabytes there")
        return dict(zip(found[::2], found[1::2], strict=True))

    async def _done(self, pipeline: Any) -> list[Any]:
        try:
            answers: list[Any] = await pipeline.execute()
        except (RedisError, OSError, TimeoutError) as error:
            raise NotShared(type(error).__name__) from error
        return answers


async def entries_of(found: Mapping[bytes, bytes]) -> Ring:
    """What has the shape of an entry, and its name. Thousands may lie there: others have their turn meanwhile."""
    shaped: list[Entry] = []
    for number, lies in enumerate(found.items()):
        shaped += filter(None, [_entry(*lies)])
        if not (number + 1) % _AT_A_TIME:
            await asyncio.sleep(0)
    return Ring.of(shaped)


def _entry(name: bytes, text: bytes) -> Entry | None:
    try:
        entry = decoded(text)
    except ValueError:
        return None
    return entry if entry.name.encode() == name else None
