"""The vault's rows in a Redis that hosts share.

A secret is a hash: the head, its versions, the note of its last use; a change is one script on it, so that it is made whole or
not at all, and only where the head is still what it was. All names lie in one slot of a cluster.

What Redis promises of a write is what its operator set: it must not evict, or it is not begun with; that it keeps no log on
disk is said by ``ping``. With ``appendfsync always`` an acknowledged write is on disk, with ``everysec`` the last second can be
lost with the machine. A write that got no answer may have been made: check-and-set finds out. One that
too few replicas have is not acknowledged either: it may be lost with its primary.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

from redis import asyncio as redis
from redis.exceptions import AuthenticationError, NoPermissionError, OutOfMemoryError, RedisError, ResponseError

from broker.core.replicated import NotReplicated, Replicas
from broker.remote.failure import Malformed, Refused, RemoteFailure, Unreachable
from broker.secrets.store import BEGINNING_BYTES, GENERATION_BYTES, Snapshot, Swap, replaced

_PREFIX = b"zerotrust:{vault}:"
_HEADER = _PREFIX + b"header"
_NAMES = _PREFIX + b"names"
_HEAD, _USE, _NUMBERED = b"head", b"use", b"v"
# As `_number` writes it, and in no second way: whatever else somebody puts beside it is no version.
_VERSION = re.compile(rb"v([1-9][0-9]{0,17})")

# KEYS: header, names. ARGV: the header to begin with.
_BEGIN = """
local there = redis.call('GET', KEYS[1])
if there then return there end
if redis.call('EXISTS', KEYS[2]) == 1 then return false end
redis.call('SET', KEYS[1], ARGV[1])
return ARGV[1]
"""
# KEYS: the key. ARGV: what was read there, what shall be there.
_EXCHANGE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1
"""
# KEYS: the secret, names, header. ARGV: its name, the head as it was read ("" for none), the next one, the generation, how many
# fields to drop, these, then fields and values to put.
_SWAP = """
if redis.call('GETRANGE', KEYS[3], 0, #ARGV[4] - 1) ~= ARGV[4] then return -1 end
if (redis.call('HGET', KEYS[1], 'head') or '') ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'head', ARGV[3])
redis.call('ZADD', KEYS[2], 0, ARGV[1])
local last = 5 + tonumber(ARGV[5])
for at = 6, last do redis.call('HDEL', KEYS[1], ARGV[at]) end
for at = last + 1, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 1]) end
return 1
"""
_REPLACED = -1
# KEYS: the secret. ARGV: how many bytes. Redis gives no part of a field.
_BEGINNINGS = """
local found = redis.call('HVALS', KEYS[1])
for at = 1, #found do found[at] = string.sub(found[at], 1, ARGV[1]) end
return found
"""
# KEYS: the secret. ARGV: the note. Of what is not there nothing is noted.
_NOTE = """
if redis.call('HEXISTS', KEYS[1], 'head') == 1 then redis.call('HSET', KEYS[1], 'use', ARGV[1]) end
return 1
"""

_T = TypeVar("_T")
_log = logging.getLogger(__name__)


class RedisVaultStore:
    """See ``Store``."""

    def __init__(self, *, client: redis.Redis, replicas: Replicas) -> None:
        """Take a client of its own that has timeouts; ``replicas`` have each change before it is acknowledged."""
        self._client = client
        self._replicas = replicas
        self._generation = b""
        self._begin = client.register_script(_BEGIN)
        self._exchange = client.register_script(_EXCHANGE)
        self._swap = client.register_script(_SWAP)
        self._beginnings = client.register_script(_BEGINNINGS)
        self._note = client.register_script(_NOTE)

    async def begin(self, proposed: bytes) -> bytes:
        """See ``Store``.

        Raises:
            Refused: ``store_evicts``: Redis would throw secrets away when its memory is full.
        """
        policy = await self._asked(self._evicts)
        if policy is not None:
            fix = "CONFIG SET maxmemory-policy noeviction, or a Redis of its own for the vault"
            raise Refused(f"Redis evicts keys ({policy}): secrets would be lost — fix: {fix}", reason="store_evicts")
        found = await self._changed(self._begin, [_HEADER, _NAMES], [proposed])
        if found is None:
            raise Malformed("Redis has lost the vault's header — fix: restore a backup", reason="store_damaged")
        header = _bytes(found)
        self._generation = header[:GENERATION_BYTES]
        return header

    async def header(self) -> bytes | None:
        """See ``Store``."""
        return await self._asked(lambda client: _sure(client.get(_HEADER)))

    async def put_header(self, before: bytes, after: bytes) -> bool:
        """See ``Store``."""
        return bool(await self._changed(self._exchange, [_HEADER], [before, after]))

    async def head(self, name: bytes) -> bytes | None:
        """See ``Store``."""
        return await self._field(name, _HEAD)

    async def version(self, name: bytes, number: int) -> bytes | None:
        """See ``Store``."""
        return await self._field(name, _number(number))

    async def whole(self, name: bytes) -> Snapshot | None:
        """See ``Store``."""
        found = await self._asked(lambda client: _sure(client.hgetall(_key(name))))
        if _HEAD not in found:
            return None
        versions = {
            int(numbered[1]): blob
            for field, blob in found.items()
            if (numbered := _VERSION.fullmatch(field)) is not None
        }
        return Snapshot(head=found[_HEAD], versions=versions, use=found.get(_USE))

    async def swap(self, swaps: Sequence[Swap]) -> Sequence[bool]:
        """See ``Store``: each is whole; they are not one."""

        async def work(client: redis.Redis) -> list[int]:
            pipeline = client.pipeline(transaction=False)
            for one in swaps:
                drops = [_number(number) for number in one.drops]
                puts: list[bytes] = [part for number, blob in one.puts.items() for part in (_number(number), blob)]
                arguments: list[bytes | int] = [
                    one.name,
                    one.before or b"",
                    one.after,
                    self._generation,
                    len(drops),
                    *drops,
                    *puts,
                ]
                await _sure(self._swap([_key(one.name), _NAMES, _HEADER], arguments, client=pipeline))
            self._replicas.wait(pipeline)
            return self._replicas.kept(await pipeline.execute())

        answers = await self._asked(work)
        if _REPLACED in answers:
            raise replaced()
        return [answer == 1 for answer in answers]

    async def heads(self, after: bytes, *, limit: int) -> Sequence[tuple[bytes, bytes]]:
        """See ``Store``."""
        found: list[tuple[bytes, bytes]] = []
        while len(found) < limit:
            names = await self._names(after, limit - len(found))
            if not names:
                break
            found += await self._heads_of(names)
            after = names[-1]
        return found

    async def beginnings(self, after: bytes, *, limit: int) -> Sequence[tuple[bytes, Sequence[bytes]]]:
        """See ``Store``."""
        names = await self._names(after, limit)

        async def work(client: redis.Redis) -> list[list[bytes]]:
            # A script for each, so that others get their turn between two.
            pipeline = client.pipeline(transaction=False)
            for name in names:
                await _sure(self._beginnings([_key(name)], [BEGINNING_BYTES], client=pipeline))
            return await pipeline.execute()

        return list(zip(names, await self._asked(work), strict=True)) if names else []

    async def note(self, uses: Mapping[bytes, bytes]) -> None:
        """See ``Store``."""

        async def work(client: redis.Redis) -> None:
            pipeline = client.pipeline(transaction=False)
            for name, use in uses.items():
                await _sure(self._note([_key(name)], [use], client=pipeline))
            await pipeline.execute()

        await self._asked(work)

    async def uses(self, names: Sequence[bytes]) -> Mapping[bytes, bytes]:
        """See ``Store``."""
        found = await self._fields(names, _USE)
        return {name: use for name, use in zip(names, found, strict=True) if use is not None}

    async def scrub(self) -> None:
        """See ``Store``: what is dropped is gone from memory, and from the disk when Redis rewrites its files next."""

    async def ping(self) -> str | None:
        """See ``Store``."""
        try:
            policy = await self._asked(self._evicts)
            forgets = await self._asked(_forgets)
            header = await self.header()
        except RemoteFailure as error:
            return str(error)
        if self._generation not in (b"", (header or b"")[:GENERATION_BYTES]):
            return str(replaced())
        if policy is not None:
            return f"Redis evicts keys ({policy}): secrets would be lost"
        return (
            "Redis keeps no log of writes on disk: secrets are lost when it ends — fix: appendonly yes"
            if forgets
            else None
        )

    async def close(self) -> None:
        """See ``Store``."""
        await self._client.aclose()

    # ---- inside ----

    async def _asked(self, question: Callable[[redis.Redis], Awaitable[_T]]) -> _T:
        try:
            return await question(self._client)
        except (RedisError, OSError, TimeoutError) as error:
            raise _failure(error) from error

    async def _changed(self, script: Any, keys: list[bytes], arguments: list[bytes]) -> Any:
        async def work(client: redis.Redis) -> Any:
            pipeline = client.pipeline(transaction=False)
            await script(keys, arguments, client=pipeline)
            self._replicas.wait(pipeline)
            return self._replicas.kept(await pipeline.execute())[0]

        return await self._asked(work)

    async def _field(self, name: bytes, field: bytes) -> bytes | None:
        found = await self._asked(lambda client: _sure(client.hget(_key(name), cast("str", field))))
        return None if found is None else _bytes(found)

    async def _fields(self, names: Sequence[bytes], field: bytes) -> list[bytes | None]:
        async def work(client: redis.Redis) -> list[bytes | None]:
            pipeline = client.pipeline(transaction=False)
            for name in names:
                pipeline.hget(cast("str", _key(name)), cast("str", field))
            return await pipeline.execute()

        return await self._asked(work) if names else []

    async def _names(self, after: bytes, limit: int) -> list[bytes]:
        beginning = b"(" + after if after else b"-"
        found = await self._asked(
            lambda client: _sure(client.zrangebylex(_NAMES, cast("str", beginning), "+", start=0, num=limit))
        )
        return [_bytes(name) for name in found]

    async def _heads_of(self, names: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
        found = await self._fields(names, _HEAD)
        return [(name, head) for name, head in zip(names, found, strict=True) if head is not None]

    async def _evicts(self, client: redis.Redis) -> str | None:
        """The policy by which secrets would go; None where none would, or Redis does not say."""
        try:
            found = await _sure(client.info("memory"))
        except (NoPermissionError, ResponseError):
            _log.warning("vault: Redis does not say whether it evicts keys; it must not (maxmemory-policy noeviction)")
            return None
        policy = str(found.get("maxmemory_policy", ""))
        # volatile-* takes keys that end, and none of ours does.
        return policy if policy.startswith("allkeys-") and found.get("maxmemory") != 0 else None


async def _forgets(client: redis.Redis) -> bool:
    """Whether there is no log of writes; no where Redis does not say. Snapshots are minutes old: what came since is lost."""
    try:
        return bool((await _sure(client.info("persistence"))).get("aof_enabled") == 0)
    except (NoPermissionError, ResponseError):
        return False


def _failure(error: Exception) -> RemoteFailure:
    what = f"Redis: {type(error).__name__}"
    if isinstance(error, OutOfMemoryError) or "OOM" in str(error)[:40]:
        return Unreachable(f"{what} — fix: give it memory; nothing was changed", reason="store_full")
    if isinstance(error, NotReplicated):
        return Unreachable(
            "Redis has too few replicas — fix: see that they run; the change was made, and may be lost",
            reason="store_not_replicated",
        )
    if isinstance(error, AuthenticationError | NoPermissionError):
        return Refused(f"{what} — fix: give the broker its password and its keys", reason="store_refused")
    if isinstance(error, ResponseError) and "WRONGTYPE" in str(error):
        return Malformed(f"{what}: another kind of value lies there — fix: restore a backup", reason="store_damaged")
    return Unreachable(f"{what} — fix: see that Redis runs; a write may have been made", reason="store_unreachable")


def _key(name: bytes) -> bytes:
    return _PREFIX + name.hex().encode()


def _number(number: int) -> bytes:
    return _NUMBERED + b"%d" % number


def _bytes(found: Any) -> bytes:
    return found if isinstance(found, bytes) else str(found).encode()


async def _sure(answer: Any) -> Any:
    """Types of redis-py cover its two kinds of clients: this one always waits."""
    return await answer
