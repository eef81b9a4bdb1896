"""The account that docs/redis.md gives the broker: all that it does there is allowed, and nothing that it never does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from broker.assembly.redis_findings import redis_findings
from broker.assembly.redis_user import COMMANDS, rules
from broker.config.redis import Redis
from tests.fakes.redis import ACCOUNT, RedisServer
from tests.fakes.redis_sets import section_of

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).parents[2] / "docs" / "redis.md"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer.start(tmp_path_factory.mktemp("redis"), settings={"appendonly": "yes"}) as running:
        yield running


def section(server: RedisServer, **members: object) -> Redis:
    return section_of({"url": server.url, "password": server.password, **members})


async def verdicts(server: RedisServer, **members: object) -> dict[str, str]:
    return {found.code: found.evidence for found in await redis_findings(section(server, **members))}


def test_the_page_shows_the_account_that_the_tests_run_as() -> None:
    assert f"ACL SETUSER {ACCOUNT} on >PASSWORD {' '.join(rules())}\n" in PAGE.read_text()


async def test_the_account_of_the_page_is_wide_enough_and_no_wider(server: RedisServer) -> None:
    found = await verdicts(server)
    assert list(found)[:4] == ["redis_reachable", "redis_tls", "redis_account_suffices", "redis_account_narrow"]
    assert {"redis_keeps", "redis_persists", "redis_alone"} <= set(found)
    assert server.cli("DBSIZE") == "0\n", "the probe leaves nothing"


@pytest.mark.parametrize(
    "command", [name for name, tried in COMMANDS.items() if tried is not None and name not in {"info", "ping"}]
)
async def test_each_command_that_is_missing_is_named(server: RedisServer, command: str) -> None:
    server.cli("ACL", "SETUSER", ACCOUNT, f"-{command}")
    try:
        assert (await verdicts(server))["redis_account_too_narrow"] == f"refused: {command}"
    finally:
        server.cli("ACL", "SETUSER", ACCOUNT, f"+{command}")


async def test_an_account_that_may_do_everything_is_too_wide(server: RedisServer) -> None:
    found = await redis_findings(
        section_of({"url": server.url.replace(f"{ACCOUNT}@", ""), "password": server.password})
    )
    (wide,) = [one for one in found if one.code == "redis_account_too_wide"]
    assert "keys of others, channels of others" in wide.evidence
    assert wide.fix == f"ACL SETUSER NAME {' '.join(rules())}"


async def test_a_redis_that_evicts_forgets_or_lacks_replicas_is_found_out(server: RedisServer) -> None:
    server.cli("CONFIG", "SET", "maxmemory", "100mb", "maxmemory-policy", "allkeys-lru", "appendonly", "no")
    try:
        found = await verdicts(server, replicas=1)
    finally:
        server.cli("CONFIG", "SET", "maxmemory", "0", "maxmemory-policy", "noeviction")
    assert found["redis_evicts"] == "maxmemory 104857600, maxmemory-policy allkeys-lru"
    assert found["redis_forgets"] == "appendonly no"
    assert found["redis_replicas_missing"] == "role master, 0 replicas, 1 must know"


async def test_a_redis_that_does_not_answer_or_knows_another_password_is_one_finding(server: RedisServer) -> None:
    (found,) = await redis_findings(section_of({"url": server.url, "password": "wrong"}))
    assert (found.code, found.verdict) == ("redis_unreachable", "bad")
    assert "AuthenticationError" in found.evidence
    assert "wrong" not in str(found)
