"""The Redis that instances share: whether it answers, what the broker's account may do there, and what may be lost.

Nothing is changed there, and nothing of the broker's is read: what the account may do is found out by commands that Redis queues
and never executes. Those that it refuses it notes in its ``ACL LOG``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import aclosing
from typing import Any

from redis.exceptions import ExecAbortError, NoPermissionError, RedisError, ResponseError

from broker.admin.finding import Finding, bad, ok, warn
from broker.assembly.doctor.patient import NotSeen, Patient
from broker.assembly.redis_user import COMMANDS, OTHERS, rules
from broker.assembly.shared import patient_client
from broker.config.redis import Redis
from broker.core.visible import visible

_PROBE = "zerotrust:{shared}:doctor"
_FOREIGN = "not-zerotrust:{shared}:doctor"
_QUEUE, _EXECUTE = "multi", "exec"
_BEYOND: Mapping[str, tuple[str, ...]] = {
    **{name: (name, *arguments) for name, arguments in OTHERS.items()},
    "keys of others": ("exists", _FOREIGN),
    "channels of others": ("publish", _FOREIGN, ""),
}


def redis(patient: Patient) -> Iterator[Finding]:
    """Whether it answers, the account, and whether what is kept there may be thrown away, forgotten or lost with a host."""
    section = patient.settings.redis
    if section is None:
        raise NotSeen("none is configured: this is one instance alone")
    yield from asyncio.run(findings_of(section))


def time_of(section: Redis) -> float | None:
    """What Redis says that it is, in Unix seconds; None where it does not."""
    try:
        said = asyncio.run(_info(section))["server_time_usec"]
    except (RedisError, OSError, KeyError):
        return None
    return int(said) / 1e6


async def _info(section: Redis) -> Mapping[str, Any]:
    """Of the server itself: the broker's account may ask for it, and not for TIME."""
    async with aclosing(patient_client(section)) as client:
        found: Mapping[str, Any] = await client.info("server")
        return found


async def findings_of(section: Redis) -> list[Finding]:
    """All of them, in the order in which they matter; as far as it came, where Redis stops answering."""
    found: list[Finding] = []
    async with aclosing(patient_client(section)) as client:
        try:
            async for finding in _look(client, section):
                found.append(finding)  # noqa: PERF401  # what was found until then counts, too
        except (RedisError, OSError) as error:
            said = visible(str(error)) or type(error).__name__
            fix = "redis-cli -u URL PING; zerotrust-broker check-config"
            found.append(bad("redis_unreachable", f"does not answer: {said}", fix))
    return found


async def _look(client: Any, section: Redis) -> AsyncIterator[Finding]:
    denied = await _denied(client)
    yield ok("answers, by TLS" if section.uses_tls else "answers, in the clear and on this host")
    yield _missing(denied)
    if _QUEUE not in denied:
        yield _too_much(denied, section)
    try:
        said: Mapping[str, Any] = await client.info()
    except NoPermissionError:
        return  # One of the commands that are missing.
    yield _eviction(said)
    yield _persistence(said)
    yield _replicas(said, section)


async def _denied(client: Any) -> Collection[str]:
    """Which of ``COMMANDS`` and ``_BEYOND`` the account may not do; where it may not queue, nothing else is known.

    Redis judges a command when it queues it, and forgets the queue with the connection.
    """
    connection = await client.connection_pool.get_connection()
    try:
        # EXEC without a queue is an error of its own; then the queue begins.
        denied = [name for name in (_EXECUTE, _QUEUE) if await _is_denied(connection, name)]
        if _QUEUE in denied:
            return denied
        queued = {name: (name, *arguments) for name, arguments in COMMANDS.items() if name not in {_EXECUTE, _QUEUE}}
        return denied + [name for name, words in {**queued, **_BEYOND}.items() if await _is_denied(connection, *words)]
    finally:
        await connection.disconnect()
        await client.connection_pool.release(connection)


async def _is_denied(connection: Any, name: str, *arguments: str) -> bool:
    given = [argument.replace("KEY", _PROBE).replace("CHANNEL", _PROBE) for argument in arguments]
    await connection.send_command(*name.split("|"), *given)
    try:
        await connection.read_response()
    except (NoPermissionError, ExecAbortError):  # The latter is how EXEC itself is refused.
        return True
    except ResponseError:
        pass  # It was let through, and this is no moment for it.
    return False


def _missing(denied: Collection[str]) -> Finding:
    """What the account cannot do that the broker does."""
    missing = [name for name in COMMANDS if name in denied]
    if not missing:
        return ok(f"the account may do what the broker does: {len(COMMANDS)} commands tried, and none executed")
    fix = f"ACL SETUSER NAME {' '.join('+' + name for name in missing)} ~zerotrust:* &zerotrust:*"
    return bad("redis_account_too_narrow", f"the account may not do what the broker does: {', '.join(missing)}", fix)


def _too_much(denied: Collection[str], section: Redis) -> Finding:
    """What the account can do beyond that."""
    allowed = [name for name in _BEYOND if name not in denied]
    if not allowed:
        return ok("the account may do nothing else: other commands, keys and channels are refused")
    what = f"the account may do what the broker never does: {', '.join(allowed)}"
    fix = f"ACL SETUSER NAME {' '.join(rules(in_cluster=section.cluster is not None))}"
    return warn("redis_account_too_wide", what, fix)


def _eviction(said: Mapping[str, Any]) -> Finding:
    policy, limit = said.get("maxmemory_policy"), said.get("maxmemory")
    evidence = f"maxmemory {limit}, maxmemory-policy {policy}"
    if limit == 0 or policy == "noeviction":
        return ok(f"what is kept is not thrown away when memory is full: {evidence}")
    what = f"what is kept is thrown away when memory is full, and no ticket passes: {evidence}"
    return bad("redis_evicts", what, "CONFIG SET maxmemory-policy noeviction")


def _persistence(said: Mapping[str, Any]) -> Finding:
    if said.get("aof_enabled") == 1:
        return ok("what is kept outlives a restart: appendonly yes")
    what = "a restart forgets job passes, and a vault with store: redis: appendonly no"
    return warn("redis_forgets", what, "CONFIG SET appendonly yes, and in redis.conf")


def _replicas(said: Mapping[str, Any], section: Redis) -> Finding:
    there, wanted = int(said.get("connected_slaves", 0)), section.must_be_told
    evidence = f"role {said.get('role')}, {there} replicas, {wanted} must know"
    if said.get("role") != "master":
        fix = "lead redis.url to the primary, or name the sentinels"
        return bad("redis_not_primary", f"nothing can be written there: {evidence}", fix)
    if there < wanted:
        return bad("redis_replicas_missing", f"no ticket passes without replicas: {evidence}", "start the replicas")
    if there and (there + 1) // 2 > wanted:
        fix = f"redis: {{replicas: {(there + 1) // 2}}}: more than half of all, with the primary"
        return bad("redis_replicas_too_few_asked", f"a failover may lose what must not be lost: {evidence}", fix)
    if not wanted and section.url is not None:
        fix = "three hosts with sentinels, see docs/redis.md"
        return warn("redis_alone", f"what is kept is lost with this one: {evidence}", fix)
    return ok(f"what must not be lost has a second place: {evidence}")
