"""The account that the broker needs at Redis, and not a command more. docs/redis.md shows it; the tests run as it."""

from __future__ import annotations

from collections.abc import Mapping

KEYS = CHANNELS = "zerotrust:*"

# Each command, and how it is tried out; nothing is executed (``doctor.shared``), but Redis counts the arguments first.
COMMANDS: Mapping[str, tuple[str, ...]] = {
    "del": ("KEY",),
    "evalsha": ("0" * 40, "0"),
    "exec": (),
    "exists": ("KEY",),
    "expire": ("KEY", "1"),
    "get": ("KEY",),
    "getrange": ("KEY", "0", "0"),
    "hdel": ("KEY", "x"),
    "hexists": ("KEY", "x"),
    "hget": ("KEY", "x"),
    "hgetall": ("KEY",),
    "hlen": ("KEY",),
    "hset": ("KEY", "x", "x"),
    "hstrlen": ("KEY", "x"),
    "hvals": ("KEY",),
    "incr": ("KEY",),
    "incrby": ("KEY", "1"),
    "info": ("server",),
    "mget": ("KEY",),
    "multi": (),
    "pexpire": ("KEY", "1"),
    "pexpireat": ("KEY", "1"),
    "ping": (),
    "publish": ("CHANNEL", ""),
    "scan": ("0", "COUNT", "1"),
    "script|exists": ("0" * 40,),
    "script|load": ("return 1",),
    "select": ("0",),
    "set": ("KEY", "x", "PX", "1"),
    "subscribe": ("CHANNEL",),
    "type": ("KEY",),
    "unlink": ("KEY",),
    "unsubscribe": ("CHANNEL",),
    "wait": ("0", "1"),
    "zadd": ("KEY", "0", "x"),
    "zcard": ("KEY",),
    "zrange": ("KEY", "0", "0"),
    "zrangebylex": ("KEY", "-", "+"),
    "zrem": ("KEY", "x"),
    "zremrangebyscore": ("KEY", "0", "0"),
    "zrevrange": ("KEY", "0", "0"),
}
# Of a cluster, who has which keys.
CLUSTER_COMMANDS = ("cluster|slots",)
# Not the broker's business: who may do these may do more than it needs.
OTHERS: Mapping[str, tuple[str, ...]] = {
    "acl|whoami": (),
    "client|list": (),
    "config|get": ("maxmemory",),
    "dbsize": (),
    "keys": ("zerotrust:{shared}:no such key",),
}


def rules(*, in_cluster: bool = False) -> tuple[str, ...]:
    """As `ACL SETUSER NAME` takes them, behind the password."""
    commands = (*COMMANDS, *(CLUSTER_COMMANDS if in_cluster else ()))
    return ("resetkeys", f"~{KEYS}", "resetchannels", f"&{CHANNELS}", "-@all", *(f"+{name}" for name in commands))
