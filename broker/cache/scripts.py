"""What Redis does in one step for the cache: Lua, because between two commands another instance may have been there.

Three keys for each name: the entry, the turn (whose it is, for some seconds) and the number of turns so far. They share a hash
tag, so a cluster keeps them together. Whatever somebody else put in their place must not break a script: what is of the wrong
type is an entry that will not open, a turn that is held, or a count that begins anew.
"""

from __future__ import annotations

from datetime import timedelta

# No credentials live longer, so no holder is later than that (STS AssumeRole, DurationSeconds at most 43200).
FENCE_LIFE = timedelta(hours=12)

# What a turn says after its holder has failed.
FAILED = "failed"


def turn(name: str) -> str:
    """Whose turn it is to fetch what lies under ``name``."""
    return f"zerotrust:{{cache}}:turn:{name}"


def keys(name: str) -> list[str]:
    """KEYS of ``TAKE`` and ``PUT``."""
    return [name, turn(name), f"zerotrust:{{cache}}:turns:{name}"]


# ARGV: longest entry, SHA-1 of the entry that the asker knows, token, milliseconds of the turn, milliseconds of the count.
# An entry that the asker does not know is an answer by itself, so whoever waits for one never takes a turn for nothing. Who asks
# twice with one token, because the first answer was lost, has the turn still.
TAKE = """
local entry = redis.pcall('GETRANGE', KEYS[1], 0, ARGV[1])
if type(entry) == 'table' then entry = 'of another type' end
if entry ~= '' and redis.sha1hex(entry) ~= ARGV[2] then return {'entry', entry} end
if redis.call('SET', KEYS[2], ARGV[3], 'NX', 'PX', ARGV[4]) then
  local number = redis.pcall('INCR', KEYS[3])
  if type(number) == 'table' then
    redis.call('SET', KEYS[3], 1)
    number = 1
  end
  redis.call('PEXPIRE', KEYS[3], ARGV[5])
  return {'turn', number}
end
local holder = redis.pcall('GETRANGE', KEYS[2], 0, 63)
if holder == ARGV[3] then return {'turn', tonumber(redis.pcall('GET', KEYS[3])) or 0} end
if holder == 'failed' then return {'failed'} end
return {'held'}
"""

# ARGV: number of the turn, token, entry, its milliseconds.
# The number is the fence: a holder that was stopped, and wakes up when others have had their turn, overwrites nothing of theirs.
PUT = """
local turns = tonumber(redis.pcall('GET', KEYS[3])) or 0
local done = 1
if turns <= tonumber(ARGV[1]) then done = redis.pcall('SET', KEYS[1], ARGV[3], 'PX', ARGV[4]) end
if redis.pcall('GET', KEYS[2]) == ARGV[2] then redis.call('DEL', KEYS[2]) end
return done
"""

# ARGV: token, what the turn shall say, milliseconds.
HOLD = """
if redis.pcall('GET', KEYS[1]) == ARGV[1] then redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
return 1
"""
