"""Where the notes of the roll lie: in this process, or in a Redis for all instances that share it.

Nothing here is believed: whoever reads notes opens them first. Of one owner there are at most so many, and none is longer than a
note can be; what somebody else put in their place is not even read.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, Protocol

from redis import asyncio as redis
from redis.exceptions import RedisError

from broker.core.clock import Clock

# Bytes. A name of three long components, an address and sixteen networks take half of it.
LONGEST_ROW = 4096
# The names of rows, in hex.
NAME_CHARS = 32
# People whose notes this process keeps. The ones who were noted longest ago make room.
_OWNERS_MAX = 10_000
# A dead Redis costs one request its timeout; for this long the others are answered without.
_BREAKER_SECONDS = 1.0

# KEYS: an owner's names by their end, and their rows; they share a hash tag, so a cluster keeps them together.
# ARGV: name, row, its end (ms), how many there may be. Those that end soonest make room, and some at a time:
# a list that somebody else made endless must not hold up everybody.
_NOTE = """
for index, wanted in ipairs({'zset', 'hash'}) do
  local found = redis.call('TYPE', KEYS[index])['ok']
  if found ~= wanted and found ~= 'none' then redis.call('UNLINK', KEYS[index]) end
end
redis.call('ZADD', KEYS[1], ARGV[3], ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
local excess = redis.call('ZCARD', KEYS[1]) - tonumber(ARGV[4])
if excess > 0 then
  for _, name in ipairs(redis.call('ZRANGE', KEYS[1], 0, math.min(excess, 100) - 1)) do
    redis.call('ZREM', KEYS[1], name)
    redis.call('HDEL', KEYS[2], name)
  end
end
local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2]
for index = 1, 2 do redis.call('PEXPIREAT', KEYS[index], string.format('%.0f', last)) end
return 1
"""

# KEYS: the same. ARGV: how many, how long a name is, how long a row may be.
_READ = """
local found = {}
if redis.call('TYPE', KEYS[1])['ok'] ~= 'zset' or redis.call('TYPE', KEYS[2])['ok'] ~= 'hash' then return found end
for _, name in ipairs(redis.call('ZREVRANGE', KEYS[1], 0, tonumber(ARGV[1]) - 1)) do
  local length = #name == tonumber(ARGV[2]) and redis.call('HSTRLEN', KEYS[2], name) or 0
  if length > 0 and length <= tonumber(ARGV[3]) then
    found[#found + 1] = name
    found[#found + 1] = redis.call('HGET', KEYS[2], name)
  end
end
return found
"""


class Unanswered(Exception):
    """Redis did not do what it was asked for."""


class Store(Protocol):
    """Keeps rows of owners until a time."""

    async def note(self, owner: str, name: str, row: bytes, *, until: datetime, most: int) -> None:
        """Keep this one, in the place of what has its name; of more than ``most``, those that end soonest go.

        Raises:
            Unanswered: It may not be kept.
        """

    async def of(self, owner: str, *, most: int) -> Mapping[str, bytes]:
        """The rows of an owner, by name. Raises like ``note``."""


class MemoryStore:
    """Of this process; a restart forgets them."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._kept: OrderedDict[str, dict[str, tuple[datetime, bytes]]] = OrderedDict()

    async def note(self, owner: str, name: str, row: bytes, *, until: datetime, most: int) -> None:
        """See ``Store``."""
        rows = self._kept.setdefault(owner, {})
        self._kept.move_to_end(owner)
        rows[name] = (until, row)
        while len(rows) > most:
            del rows[min(rows, key=lambda each: rows[each][0])]
        while len(self._kept) > _OWNERS_MAX:
            self._kept.popitem(last=False)

    async def of(self, owner: str, *, most: int) -> Mapping[str, bytes]:
        """See ``Store``."""
        rows = self._kept.get(owner, {})
        latest = sorted(rows, key=lambda each: rows[each][0], reverse=True)[:most]
        return {name: rows[name][1] for name in latest}


class RedisStore:
    """Of all instances."""

    def __init__(self, *, client: redis.Redis, clock: Clock) -> None:
        """Take a client that has timeouts of its own."""
        self._note = client.register_script(_NOTE)
        self._read = client.register_script(_READ)
        self._clock = clock
        self._shut_until = 0.0

    async def note(self, owner: str, name: str, row: bytes, *, until: datetime, most: int) -> None:
        """See ``Store``."""
        end = int(until.timestamp() * 1000)
        await self._asked(lambda: self._note(keys=_keys(owner), args=[name, row, end, most]))

    async def of(self, owner: str, *, most: int) -> Mapping[str, bytes]:
        """See ``Store``."""
        found = await self._asked(lambda: self._read(keys=_keys(owner), args=[most, NAME_CHARS, LONGEST_ROW]))
        if not isinstance(found, list) or len(found) % 2 or not all(isinstance(each, bytes) for each in found):
            raise Unanswered("no names and rows")
        return {name.decode("ascii", "replace"): row for name, row in zip(found[::2], found[1::2], strict=True)}

    async def _asked(self, question: Callable[[], Awaitable[Any]]) -> Any:
        if self._clock.boottime() < self._shut_until:
            raise Unanswered
        try:
            return await question()
        except (RedisError, OSError, TimeoutError) as error:
            self._shut_until = self._clock.boottime() + _BREAKER_SECONDS
            raise Unanswered(type(error).__name__) from error


def _keys(owner: str) -> list[str]:
    return [f"zerotrust:{{shared}}:roll:{owner}:order", f"zerotrust:{{shared}}:roll:{owner}:rows"]
