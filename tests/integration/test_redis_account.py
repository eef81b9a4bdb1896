"""The account that docs/redis.md gives the broker: all that it does there is allowed, and nothing that it never does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from broker.assembly.doctor.shared import findings_of
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


async def ill(server: RedisServer, **members: object) -> dict[str, str]:
    return {found.code: found.evidence for found in await findings_of(section(server, **members)) if found.code}


def test_the_page_shows_the_account_that_the_tests_run_as() -> None:
    assert f"ACL SETUSER {ACCOUNT} on >PASSWORD {' '.join(rules())}\n" in PAGE.read_text()


async def test_the_account_of_the_page_is_wide_enough_and_no_wider(server: RedisServer) -> None:
    found = await findings_of(section(server))
    assert [one.verdict for one in found] == ["ok"] * 5 + ["warn"]
    said = " ".join(one.evidence for one in found)
    assert "may do what the broker does" in said
    assert "may do nothing else" in said
    assert found[-1].code == "redis_alone"
    assert server.cli("DBSIZE") == "0\n", "looking leaves nothing"


@pytest.mark.parametrize("command", COMMANDS)
async def test_each_command_that_is_missing_is_named(server: RedisServer, command: str) -> None:
    server.cli("ACL", "SETUSER", ACCOUNT, f"-{command}")
    try:
        assert (await ill(server))["redis_account_too_narrow"].endswith(f"what the broker does: {command}")
    finally:
        server.cli("ACL", "SETUSER", ACCOUNT, f"+{command}")
    assert server.cli("DBSIZE") == "0\n", "looking leaves nothing, whatever the account may not do"


async def test_an_account_that_may_do_everything_is_too_wide(server: RedisServer) -> None:
    found = await findings_of(section_of({"url": server.url.replace(f"{ACCOUNT}@", ""), "password": server.password}))
    (wide,) = [one for one in found if one.code == "redis_account_too_wide"]
    assert wide.verdict == "warn"
    assert "keys of others, channels of others" in wide.evidence
    assert wide.fix == f"ACL SETUSER NAME {' '.join(rules())}"
    assert server.cli("DBSIZE") == "0\n", "what it may do is not done"


async def test_a_redis_that_evicts_forgets_or_lacks_replicas_is_found_out(server: RedisServer) -> None:
    server.cli("CONFIG", "SET", "maxmemory", "100mb", "maxmemory-policy", "allkeys-lru", "appendonly", "no")
    try:
        found = await ill(server, replicas=1)
    finally:
        server.cli("CONFIG", "SET", "maxmemory", "0", "maxmemory-policy", "noeviction", "appendonly", "yes")
    assert found["redis_evicts"].endswith("maxmemory 104857600, maxmemory-policy allkeys-lru")
    assert found["redis_forgets"].endswith("appendonly no")
    assert found["redis_replicas_missing"].endswith("role master, 0 replicas, 1 must know")


async def test_a_redis_that_does_not_answer_or_knows_another_password_is_one_finding(server: RedisServer) -> None:
    (found,) = await findings_of(section_of({"url": server.url, "password": "wrong"}))
    assert (found.code, found.verdict) == ("redis_unreachable", "bad")
    assert "wrong" not in str(found).replace("WRONGPASS", "")
