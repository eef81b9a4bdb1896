"""The vault over real stores: against whoever owns the store, and killed in the middle of writing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from redis import asyncio as redis

from broker.core.replicated import Replicas
from broker.remote.failure import Malformed
from broker.secrets.metadata import Details
from broker.secrets.store import Snapshot, Store, Swap
from broker.secrets.store_redis import RedisVaultStore
from broker.secrets.store_sqlite import SqliteStore
from broker.secrets.vault import Vault
from tests.fakes.redis import RedisServer
from tests.fakes.vault import fields, shown, vault_in, vault_over
from tests.fakes.write_secrets_and_die import PATHS

CANARY = "canary-of-the-vault"
REDIS_KILLS = int(os.environ.get("KILLS", "5"))


def redis_store(server: RedisServer) -> RedisVaultStore:
    return RedisVaultStore(
        client=redis.Redis.from_url(server.url_with_password, socket_timeout=5), replicas=Replicas(0)
    )


# ---- against whoever owns the store ----


@pytest.fixture(params=["sqlite", "redis"])
async def store(request: pytest.FixtureRequest, tmp_path: Path, redis_server: RedisServer) -> AsyncIterator[Store]:
    store: Store = SqliteStore(directory=tmp_path) if request.param == "sqlite" else redis_store(redis_server)
    yield store
    await store.close()


async def put(store: Store, name: bytes, head: bytes, versions: dict[int, bytes]) -> None:
    """Over whatever lies there, as its owner can."""
    before = await store.whole(name)
    drops = set() if before is None else before.versions.keys() - versions.keys()
    swap = Swap(name=name, before=before.head if before else None, after=head, puts=versions, drops=drops)
    assert list(await store.swap([swap])) == [True]


async def rows_of(store: Store, vault: Vault, path: str) -> tuple[bytes, Snapshot]:
    name = await vault._rows.name(path)
    kept = await store.whole(name)
    assert kept is not None
    return name, kept


async def refused(asked: Awaitable[object]) -> str:
    with pytest.raises(Malformed) as caught:
        await asked
    return caught.value.reason


async def test_each_byte_of_a_row_counts(store: Store) -> None:
    vault = vault_over(store)
    await vault.write("a", fields(value="1"))
    name, kept = await rows_of(store, vault, "a")
    for position in range(0, len(kept.head), 7):
        head = bytearray(kept.head)
        head[position] ^= 1
        await put(store, name, bytes(head), dict(kept.versions))
        assert await refused(vault.read("a")) in ("altered", "unknown_key")
        assert await refused(vault.list("")) in ("altered", "unknown_key")
    for position in range(len(kept.versions[1])):
        blob = bytearray(kept.versions[1])
        blob[position] ^= 1
        await put(store, name, kept.head, {1: bytes(blob)})
        assert await refused(vault.read("a")) in ("altered", "unknown_key")
    await put(store, name, kept.head, dict(kept.versions))
    assert shown(await vault.read("a")) == {"value": "1"}


async def test_rows_of_two_secrets_and_versions_of_one_cannot_change_places(store: Store) -> None:
    vault = vault_over(store)
    for path in ("a", "b"):
        await vault.write(path, fields(value=f"{path}1"))
        await vault.write(path, fields(value=f"{path}2"))
    (a, of_a), (_, of_b) = await rows_of(store, vault, "a"), await rows_of(store, vault, "b")
    await put(store, a, of_b.head, dict(of_b.versions))
    assert await refused(vault.read("a")) == "altered"
    await put(store, a, of_a.head, dict(of_b.versions))
    assert await refused(vault.read("a")) == "altered"
    await put(store, a, of_a.head, {1: of_a.versions[2], 2: of_a.versions[1]})
    assert await refused(vault.read("a")) == await refused(vault.read("a", version="1")) == "altered"
    await put(store, a, of_a.head, {})
    assert await refused(vault.read("a")) == "vanished"
    assert shown(await vault.read("b")) == {"value": "b2"}


async def test_an_older_row_put_back_is_noticed_by_whoever_has_seen_a_later_one(store: Store) -> None:
    vault = vault_over(store)
    await vault.write("a", fields(value="leaked"))
    name, old = await rows_of(store, vault, "a")
    await vault.write("a", fields(value="rotated"))
    await put(store, name, old.head, dict(old.versions))
    assert await refused(vault.read("a")) == "rolled_back"
    assert await refused(vault.write("a", fields(value="x"))) == "rolled_back"


async def test_the_values_of_a_purged_secret_do_not_come_back_under_the_next_one(store: Store) -> None:
    vault = vault_over(store)
    await vault.write("a", fields(value="old"))
    _, old = await rows_of(store, vault, "a")
    await vault.purge("a")
    await vault.write("a", fields(value="new"))
    name, new = await rows_of(store, vault, "a")
    await put(store, name, new.head, {2: old.versions[1]})
    assert await refused(vault.read("a")) == "altered"


async def test_versions_of_two_secrets_that_were_born_alike_cannot_change_places(store: Store) -> None:
    vault = vault_over(store)
    await vault.write("a", fields(value="a"))
    (saved,) = [saved async for saved in vault.saved()]
    assert await vault.adopt(replace(saved, metadata=replace(saved.metadata, path="b")))
    (a, of_a), (_, of_b) = await rows_of(store, vault, "a"), await rows_of(store, vault, "b")
    await put(store, a, of_a.head, dict(of_b.versions))
    assert await refused(vault.read("a")) == "altered"


async def test_a_value_of_a_secret_that_was_taken_away_does_not_open_under_the_next_of_that_path(
    tmp_path: Path,
) -> None:
    store = SqliteStore(directory=tmp_path)
    vault = vault_over(store)
    await vault.write("a", fields(value="old"))
    name, old = await rows_of(store, vault, "a")
    with contextlib.closing(sqlite3.connect(tmp_path / "vault.sqlite")) as db:
        db.execute("DELETE FROM secrets")
        db.execute("DELETE FROM versions")
        db.commit()
    # A process that has seen nothing, so that the number is given again.
    fresh = vault_over(store)
    assert await fresh.write("a", fields(value="new")) == "1"
    _, new = await rows_of(store, fresh, "a")
    await put(store, name, new.head, dict(old.versions))
    assert await refused(fresh.read("a")) == "altered"
    await store.close()


async def test_rows_of_another_vault_with_the_same_keys_do_not_open(tmp_path: Path) -> None:
    one, other = SqliteStore(directory=tmp_path / "one"), SqliteStore(directory=tmp_path / "two")
    here, there = vault_over(one), vault_over(other)
    await here.write("a", fields(value="1"))
    await there.write("a", fields(value="2"))
    _, foreign = await rows_of(other, there, "a")
    name, _ = await rows_of(one, here, "a")
    await put(one, name, foreign.head, dict(foreign.versions))
    assert await refused(here.read("a")) == "altered"
    await here.close()
    await there.close()


def lying_in(folder: Path, *, files: int) -> bytes:
    found = [file.read_bytes() for file in sorted(folder.iterdir())]
    assert len(found) == files
    return b"".join(found)


async def test_no_value_no_path_and_no_word_about_them_lies_in_the_clear(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    for store in (SqliteStore(directory=tmp_path), redis_store(redis_server)):
        vault = vault_over(store)
        await vault.write(f"path-{CANARY}", fields(value=CANARY), details=Details(contact=CANARY, labels={"x": CANARY}))
        await vault.write(f"path-{CANARY}", fields(value=CANARY))
        await vault.destroy(f"path-{CANARY}", [1])
        await vault.read(f"path-{CANARY}")
        await vault.note_uses()
        if isinstance(store, SqliteStore):
            lying = lying_in(tmp_path, files=3)
        else:
            names = redis_server.cli("KEYS", "zerotrust:{vault}:*").split()
            assert len(names) == 3
            lying = (
                "".join(redis_server.cli("DUMP", name) for name in names).encode(errors="surrogateescape")
                + " ".join(names).encode()
            )
        assert CANARY.encode() not in lying
        await vault.close()


async def test_what_was_destroyed_is_gone_from_the_file_and_its_log(tmp_path: Path) -> None:
    store = SqliteStore(directory=tmp_path)
    vault = vault_over(store)
    await vault.write("a", fields(value=CANARY))
    await vault.write("a", fields(value="2"))
    _, kept = await rows_of(store, vault, "a")
    gone, stays = kept.versions[1][30:60], kept.versions[2][30:60]
    await vault.destroy("a", [1])
    lying = lying_in(tmp_path, files=3)
    assert stays in lying
    assert gone not in lying
    await vault.close()


# ---- killed ----


@pytest.fixture
def place(kind: str, tmp_path: Path, redis_server: RedisServer) -> str:
    return str(tmp_path) if kind == "sqlite" else redis_server.url_with_password


@pytest.fixture
def writers(place: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.write_secrets_and_die", place],
        cwd=Path(__file__).parents[2], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        yield process
        process.kill()


def acknowledged(writers: subprocess.Popen[str], file: Path, *, after: float) -> list[tuple[str, str, str]]:
    """What a writer writes down before it is killed."""
    assert writers.stdin is not None
    assert writers.stdout is not None
    writers.stdin.write(f"{file}\n")
    writers.stdin.flush()
    pid = int(writers.stdout.readline())
    deadline = time.monotonic() + 60
    while not file.stat().st_size:
        assert time.monotonic() < deadline, "nothing is written"
        time.sleep(0.005)
    time.sleep(after)
    os.kill(pid, signal.SIGKILL)
    assert writers.stdout.readline() == "\n", "it is dead"
    words = [line.split() for line in file.read_text().splitlines()]
    return [(path, version, number) for path, version, number in words]


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_killed_at_random_points_everything_that_was_acknowledged_is_there_and_nothing_is_half_written(
    kind: str,
    writers: subprocess.Popen[str],
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    redis_server: RedisServer,
) -> None:
    said_in = tmp_path_factory.mktemp("said")
    chance = random.Random(20)  # noqa: S311  # when to kill

    async def look(said: list[tuple[str, str, str]]) -> None:
        vault = vault_in(tmp_path) if kind == "sqlite" else vault_over(redis_store(redis_server))
        last = {path: (int(version), number) for path, version, number in said}
        for path, (version, number) in last.items():
            newest = await vault.read(path)
            # One more may have been made that nobody was told of.
            assert int(newest.number) - version in (0, 1)
            assert shown(await vault.read(path, version=str(version)))["value"] == number * 500
            for info in await vault.versions(path):
                found = shown(await vault.read(path, version=str(info.number)))
                assert found["of"] == path
                assert len(set(found["value"])) >= 1
        assert set(await vault.list("")) <= set(PATHS)
        await vault.close()

    # A script of Redis is cut by no kill of ours.
    for life in range(20 if kind == "sqlite" else REDIS_KILLS):
        asyncio.run(look(acknowledged(writers, said_in / str(life), after=chance.uniform(0, 0.05))))
    if kind == "sqlite":
        with contextlib.closing(sqlite3.connect(tmp_path / "vault.sqlite")) as db:
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            heads = db.execute("SELECT count(*) FROM secrets").fetchone()[0]
            orphans = db.execute(
                "SELECT count(*) FROM versions WHERE name NOT IN (SELECT name FROM secrets)"
            ).fetchone()
            assert (heads, orphans[0]) == (3, 0)
