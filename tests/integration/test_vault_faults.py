"""What stores of the vault do when they are damaged, full, locked, replaced, emptied or away: a clean failure that is named."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis import asyncio as redis

from broker.core.replicated import Replicas
from broker.remote.failure import Malformed, Refused, Unreachable
from broker.secrets.store_redis import RedisVaultStore
from broker.secrets.store_sqlite import SqliteStore
from broker.secrets.vault import Vault
from tests.fakes.redis import RedisServer
from tests.fakes.vault import fields, shown, vault_in, vault_over

# ---- the file ----


async def test_the_file_is_private_with_its_log_and_index_and_in_a_private_folder(tmp_path: Path) -> None:
    vault = vault_in(tmp_path / "state")
    await vault.write("a", fields(value="1"))
    files = sorted((tmp_path / "state").iterdir())
    assert [file.name for file in files] == ["vault.sqlite", "vault.sqlite-shm", "vault.sqlite-wal"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
    await vault.close()


def spoiled_open(path: Path) -> None:
    path.chmod(0o644)


def spoiled_link(path: Path) -> None:
    path.rename(path.with_suffix(".real"))
    path.symlink_to(path.with_suffix(".real"))


def spoiled_text(path: Path) -> None:
    path.write_bytes(b"no database " * 1000)


def spoiled_page(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)


def spoiled_other(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[68:72] = b"ELSE"  # application_id, sqlite.org/fileformat2.html
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "kind", "reason"),
    [
        (spoiled_open, Unreachable, "store_unsafe"),
        (spoiled_link, Unreachable, "store_unsafe"),
        (spoiled_text, Malformed, "store_damaged"),
        (spoiled_page, Malformed, "store_damaged"),
        (spoiled_other, Malformed, "store_damaged"),
    ],
)
async def test_a_file_that_is_not_what_it_should_be_is_refused_by_name(
    tmp_path: Path, spoil: Callable[[Path], None], kind: type[Exception], reason: str
) -> None:
    vault = vault_in(tmp_path)
    await vault.write("a", fields(value="1"))
    await vault.close()
    spoil(tmp_path / "vault.sqlite")
    vault = vault_in(tmp_path)
    with pytest.raises(kind, match=r"vault\.sqlite.*fix: ") as caught:
        await vault.read("a")
    assert getattr(caught.value, "reason", "") == reason
    assert await vault.ping() is not None


async def test_a_full_disk_is_a_clean_failure_and_passes_when_there_is_room(tmp_path: Path) -> None:
    store = SqliteStore(directory=tmp_path)
    vault = vault_over(store)
    await vault.write("a", fields(value="1"))
    await store._do(lambda db: db.execute("PRAGMA max_page_count = 12").fetchall())
    with pytest.raises(Unreachable) as caught:
        await asyncio.gather(*(vault.write("a", fields(value=str(number) * 4000)) for number in range(10)))
    assert caught.value.reason == "store_full"
    before = (await vault.read("a")).number
    await store._do(lambda db: db.execute("PRAGMA max_page_count = 10000").fetchall())
    assert await vault.write("a", fields(value="fits")) == str(int(before) + 1)
    await vault.close()


def moved_away(folder: Path) -> None:
    for file in list(folder.iterdir()):
        file.rename(folder.parent / f"{folder.name}-{file.name}")


async def test_a_file_taken_away_under_a_running_broker_is_noticed(tmp_path: Path) -> None:
    vault = vault_in(tmp_path)
    await vault.write("a", fields(value="1"))
    moved_away(tmp_path)
    with pytest.raises(Malformed) as caught:
        await vault.read("a")
    assert caught.value.reason == "replaced"
    await vault.close()


async def test_a_lock_that_somebody_holds_is_waited_for_and_then_a_clean_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.secrets.store_sqlite._BUSY_MILLISECONDS", 50)
    monkeypatch.setattr(
        "broker.secrets.store_sqlite._PRAGMAS", ("PRAGMA busy_timeout = 50", "PRAGMA journal_mode = WAL")
    )
    one, other = SqliteStore(directory=tmp_path), SqliteStore(directory=tmp_path)
    vault = vault_over(one)
    await vault.write("a", fields(value="1"))
    await other._do(lambda db: db.execute("BEGIN IMMEDIATE").fetchall())
    with pytest.raises(Unreachable) as caught:
        await vault.write("a", fields(value="2"))
    assert caught.value.reason == "store_busy"
    # Readers do not wait for writers.
    assert shown(await vault.read("a")) == {"value": "1"}
    await other._do(lambda db: db.execute("ROLLBACK").fetchall())
    assert await vault.write("a", fields(value="2")) == "2"
    await vault.close()
    await other.close()


# ---- Redis ----


@asynccontextmanager
async def vault_at(server: RedisServer, **options: float) -> AsyncIterator[Vault]:
    client = redis.Redis.from_url(server.url_with_password, **({"socket_timeout": 5} | options))
    vault = vault_over(RedisVaultStore(client=client, replicas=Replicas(0)))
    yield vault
    await vault.close()


async def test_a_redis_that_evicts_is_not_begun_with_and_one_that_forgets_says_so(redis_server: RedisServer) -> None:
    redis_server.cli("CONFIG", "SET", "maxmemory", "100mb", "maxmemory-policy", "allkeys-lru")
    try:
        async with vault_at(redis_server) as vault:
            with pytest.raises(Refused, match="noeviction") as caught:
                await vault.write("a", fields(value="1"))
            assert caught.value.reason == "store_evicts"
            redis_server.cli("CONFIG", "SET", "maxmemory-policy", "volatile-lru")
            await vault.write("a", fields(value="1"))
            # Snapshots would lose what came since the last one.
            redis_server.cli("CONFIG", "SET", "save", "3600 1")
            assert "no log of writes" in str(await vault.ping())
            redis_server.cli("CONFIG", "SET", "appendonly", "yes")
            assert await vault.ping() is None
    finally:
        redis_server.cli(
            *("CONFIG", "SET", "maxmemory", "0", "maxmemory-policy", "noeviction", "save", "", "appendonly", "no")
        )


async def test_what_somebody_puts_beside_versions_in_redis_holds_up_neither_a_rewrap_nor_a_backup(
    redis_server: RedisServer,
) -> None:
    async with vault_at(redis_server) as vault, redis.Redis.from_url(redis_server.url_with_password) as client:
        await vault.write("a", fields(value="1"))
        (key,) = [key async for key in client.scan_iter("zerotrust:{vault}:*", _type="hash")]
        for field in (b"v" + b"9" * 5000, b"v01", b"v0", b"v\xd9\xa1", b"v1\n", b"v" + b"9" * 18):
            await client.hset(key, field, b"junk")
        done = await vault.rewrap()
        assert (done.seen, done.broken) == (1, 0)
        assert [dict(saved.versions).keys() async for saved in vault.saved()] == [{1}]
        assert shown(await vault.read("a")) == {"value": "1"}


async def test_a_redis_that_is_full_refuses_cleanly(redis_server: RedisServer) -> None:
    async with vault_at(redis_server) as vault:
        await vault.write("a", fields(value="1"))
        redis_server.cli("CONFIG", "SET", "maxmemory", "1")
        try:
            with pytest.raises(Unreachable) as caught:
                await vault.write("a", fields(value="2"))
            assert caught.value.reason == "store_full"
            assert shown(await vault.read("a")) == {"value": "1"}
        finally:
            redis_server.cli("CONFIG", "SET", "maxmemory", "0")


async def test_a_frozen_redis_is_unreachable_and_serves_again_when_it_thaws(redis_server: RedisServer) -> None:
    async with vault_at(redis_server, socket_timeout=0.2) as vault:
        await vault.write("a", fields(value="1"))
        redis_server.freeze()
        with pytest.raises(Unreachable) as caught:
            await vault.read("a")
        assert caught.value.reason == "store_unreachable"
        assert await vault.ping() is not None
        redis_server.thaw()
        assert shown(await vault.read("a")) == {"value": "1"}


async def test_a_redis_that_came_back_empty_is_noticed_and_not_taken_for_a_vault_without_secrets(
    redis_server: RedisServer,
) -> None:
    async with vault_at(redis_server) as vault:
        await vault.write("a", fields(value="1"))
        redis_server.cli("FLUSHALL")
        for asked in (vault.read("a"), vault.read("b"), vault.list(""), vault.write("c", fields(value="1"))):
            with pytest.raises(Malformed) as caught:
                await asked
            assert caught.value.reason == "replaced"
        async with vault_at(redis_server) as other:
            await other.write("b", fields(value="of another vault"))
        with pytest.raises(Malformed, match="another lies in its place"):
            await vault.write("b", fields(value="1"))
        assert "another lies in its place" in str(await vault.ping())
