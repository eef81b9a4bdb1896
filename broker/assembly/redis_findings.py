"""What an operator should know of the Redis that the broker uses, looked at with the broker's own account.

Nothing is changed there but a probe of ours. A question that Redis does not answer is a finding, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from redis.exceptions import NoPermissionError, RedisError, ResponseError

from broker.assembly.redis_user import COMMANDS, KINDS, OTHERS, rules
from broker.assembly.shared import patient_client
from broker.config.redis import Redis

_PROBE = "zerotrust:{shared}:doctor"
_FOREIGN = "not-zerotrust:{shared}:doctor"
Verdict = Literal["good", "bad", "doubtful"]


@dataclass(frozen=True, slots=True)
class Finding:
    """``what`` was looked at, the ``evidence``, and what mends it, where something is to be mended."""

    code: str
    verdict: Verdict
    what: str
    evidence: str
    fix: str = ""


async def redis_findings(section: Redis) -> list[Finding]:
    """All of them, in the order in which they matter; one alone where Redis does not answer."""
    client = patient_client(section)
    try:
        await cast("Any", client.ping())
        return [
            Finding("redis_reachable", "good", "Redis answers", "PONG"),
            _tls(section),
            await _missing(client),
            await _too_much(client),
            *await _info(client, section),
        ]
    except (RedisError, OSError, TimeoutError) as error:
        fix = "redis-cli PING with this account; see redis.* in the configuration, and redis.tls for rediss://"
        return [Finding("redis_unreachable", "bad", "Redis answers", f"{type(error).__name__}: {error}", fix)]
    finally:
        await client.aclose()


def _tls(section: Redis) -> Finding:
    what = "nobody can listen on the way there"
    if section.uses_tls:
        return Finding("redis_tls", "good", what, "rediss: the chain and the host's name are checked")
    return Finding("redis_tls", "good", what, "in the clear, and never beyond this host")


async def _missing(client: Any) -> Finding:
    """What the account cannot do that the broker does."""
    tried = {name: arguments for name, arguments in COMMANDS.items() if arguments is not None}
    denied = [name for name, arguments in tried.items() if await _is_denied(client, name, arguments)]
    if not {"del", "incr"} & {*denied}:
        await client.delete(*(f"{_PROBE}:{kind}" for kind in KINDS))
    what = "the account may do what the broker does"
    if not denied:
        return Finding("redis_account_suffices", "good", what, f"{len(tried)} commands tried on {_PROBE}")
    fix = f"ACL SETUSER NAME {' '.join('+' + name for name in denied)} ~zerotrust:* &zerotrust:*"
    return Finding("redis_account_too_narrow", "bad", what, f"refused: {', '.join(denied)}", fix)


async def _too_much(client: Any) -> Finding:
    """What the account can do beyond that; tried with what has no effect."""
    allowed = [name for name, arguments in OTHERS.items() if not await _is_denied(client, name, arguments)]
    if not await _is_denied(client, "exists", (_FOREIGN,)):
        allowed.append("keys of others")
    if not await _is_denied(client, "publish", (_FOREIGN, "")):
        allowed.append("channels of others")
    what = "the account may do nothing else"
    if not allowed:
        return Finding("redis_account_narrow", "good", what, "other commands, keys and channels are refused")
    fix = f"ACL SETUSER NAME {' '.join(rules())}"
    return Finding("redis_account_too_wide", "doubtful", what, f"allowed: {', '.join(allowed)}", fix)


async def _is_denied(client: Any, name: str, arguments: tuple[str, ...]) -> bool:
    given = [argument.replace("KEY", _PROBE).replace("CHANNEL", _PROBE) for argument in arguments]
    try:
        await client.execute_command(*name.split("|"), *given)
    except NoPermissionError:
        return True
    except ResponseError:
        pass  # it was let through, and found too few arguments, or another kind of server
    return False


async def _info(client: Any, section: Redis) -> list[Finding]:
    try:
        said: Mapping[str, Any] = await client.info()
    except NoPermissionError:
        return [Finding("redis_info_refused", "bad", "Redis says how it is set up", "INFO is refused", "ACL: +info")]
    return [_eviction(said), _persistence(said), _replicas(said, section)]


def _eviction(said: Mapping[str, Any]) -> Finding:
    what = "what is kept there is not thrown away when memory is full"
    policy, limit = said.get("maxmemory_policy"), said.get("maxmemory")
    evidence = f"maxmemory {limit}, maxmemory-policy {policy}"
    if limit == 0 or policy == "noeviction":
        return Finding("redis_keeps", "good", what, evidence)
    return Finding("redis_evicts", "bad", what, evidence, "CONFIG SET maxmemory-policy noeviction")


def _persistence(said: Mapping[str, Any]) -> Finding:
    what = "what is kept there outlives a restart"
    if said.get("aof_enabled") == 1:
        return Finding("redis_persists", "good", what, "appendonly yes")
    fix = "CONFIG SET appendonly yes, and in redis.conf; job passes and a vault with store: redis end with it otherwise"
    return Finding("redis_forgets", "doubtful", what, "appendonly no", fix)


def _replicas(said: Mapping[str, Any], section: Redis) -> Finding:
    what = "what must not be lost has a second place"
    there, wanted = int(said.get("connected_slaves", 0)), section.must_be_told
    evidence = f"role {said.get('role')}, {there} replicas, {wanted} must know"
    if said.get("role") != "master":
        return Finding(
            "redis_not_primary", "bad", what, evidence, "lead redis.url to the primary, or name the sentinels"
        )
    if there < wanted:
        return Finding("redis_replicas_missing", "bad", what, evidence, "start the replicas: no ticket passes without")
    if there and (there + 1) // 2 > wanted:
        fix = f"redis: {{replicas: {(there + 1) // 2}}}: more than half of all, with the primary"
        return Finding("redis_replicas_too_few_asked", "bad", what, evidence, fix)
    if not wanted and section.url is not None:
        return Finding("redis_alone", "doubtful", what, evidence, "three hosts with sentinels, see docs/redis.md")
    return Finding("redis_replicated", "good", what, evidence)
