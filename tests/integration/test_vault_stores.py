"""What the vault asks of a store, of a real file and of a real Redis: swaps that are whole, and failures that are clean."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import patch

import pytest
from redis import asyncio as redis

from broker.core.replicated import Replicas
from broker.remote.failure import Conflict, Malformed
from broker.secrets.store import Store, Swap
from broker.secrets.store_redis import RedisVaultStore
from broker.secrets.store_sqlite import SqliteStore
from broker.secrets.vault import Vault
from tests.fakes.redis import RedisServer
from tests.fakes.vault import KEY, NEWER_KEY, fields, shown, vault_over

HEADER, NEWER, ANOTHER = (
    b"a generation: 16 and what it seals",
    b"a generation: 16 sealed anew",
    b"another one: 16 and this",
)
MakeStore = Callable[[], Store]


def redis_store(server: RedisServer) -> RedisVaultStore:
    return RedisVaultStore(
        client=redis.Redis.from_url(server.url_with_password, socket_timeout=5), replicas=Replicas(0)
    )


@pytest.fixture(params=["sqlite", "redis"])
def make_store(request: pytest.FixtureRequest, tmp_path: Path, redis_server: RedisServer) -> MakeStore:
    """Makes stores over the same rows, as each instance has one."""
    if request.param == "sqlite":
        return lambda: SqliteStore(directory=tmp_path)
    return lambda: redis_store(redis_server)


@pytest.fixture
async def store(make_store: MakeStore) -> AsyncIterator[Store]:
    store = make_store()
    await store.begin(HEADER)
    yield store
    await store.close()


async def test_the_first_header_stays_whoever_comes_later(store: Store, make_store: MakeStore) -> None:
    other = make_store()
    assert await other.begin(ANOTHER) == HEADER
    assert not await other.put_header(ANOTHER, NEWER)
    assert await other.put_header(HEADER, NEWER)
    assert await store.begin(b"third") == NEWER
    await other.close()


async def test_a_swap_is_made_only_where_the_head_is_still_what_was_read_and_then_whole(store: Store) -> None:
    first = Swap(name=b"n", before=None, after=b"h1", puts={1: b"one", 2: b"two"})
    assert list(await store.swap([first, first])) == [True, False]
    assert list(await store.swap([Swap(name=b"n", before=b"h0", after=b"h2", drops=[1])])) == [False]
    assert list(await store.swap([Swap(name=b"n", before=b"h1", after=b"h2", puts={3: b"three"}, drops=[1])])) == [True]
    kept = await store.whole(b"n")
    assert kept is not None
    assert (kept.head, kept.versions, kept.use) == (b"h2", {2: b"two", 3: b"three"}, None)
    assert [await store.version(b"n", number) for number in (1, 2)] == [None, b"two"]
    assert (await store.head(b"n"), await store.head(b"m"), await store.whole(b"m")) == (b"h2", None, None)


async def test_a_store_that_finds_itself_under_another_header_changes_nothing(store: Store) -> None:
    await store.put_header(HEADER, NEWER)
    assert list(await store.swap([Swap(name=b"n", before=None, after=b"h")])) == [True]
    await store.put_header(NEWER, ANOTHER)
    with pytest.raises(Malformed) as caught:
        await store.swap([Swap(name=b"n", before=b"h", after=b"h2")])
    assert caught.value.reason == "replaced"
    assert await store.head(b"n") == b"h"


async def test_beginnings_are_of_every_row_of_a_secret_and_of_nothing_more_page_by_page(store: Store) -> None:
    for name in (b"a", b"b", b"c"):
        long = {1: b"version-1" * 20_000, 2: b"version-2 and more"}
        await store.swap([Swap(name=name, before=None, after=b"head-of-" + name + b" and more", puts=long)])
    await store.note({b"b": b"used-of-b and more"})
    (first, of_a), (second, of_b) = await store.beginnings(b"", limit=2)
    assert (first, sorted(of_a)) == (b"a", [b"head-of-a", b"version-1", b"version-2"])
    assert (second, sorted(of_b)) == (b"b", [b"head-of-b", b"used-of-b", b"version-1", b"version-2"])
    assert [name for name, _ in await store.beginnings(b"b", limit=2)] == [b"c"]
    assert not await store.beginnings(b"c", limit=2)


async def test_a_rewrap_that_finds_nothing_to_do_reads_no_secret(make_store: MakeStore) -> None:
    vault = vault_over(make_store())
    for count in range(3):
        await vault.write(f"s{count}", fields(value="v"))
        await vault.read(f"s{count}")
    await vault.note_uses()
    with patch.object(vault._store, "whole", side_effect=AssertionError("read whole")):
        done = await vault.rewrap()
    assert (done.seen, done.renewed) == (3, 0)
    await vault.close()


async def test_heads_come_in_order_page_by_page_each_once(store: Store) -> None:
    names = [bytes([number, 0, 255]) for number in range(10)]
    await store.swap([Swap(name=name, before=None, after=b"h" + name) for name in reversed(names)])
    found, after = [], b""
    while page := await store.heads(after, limit=4):
        found += page
        after = page[-1][0]
    assert found == [(name, b"h" + name) for name in names]


async def test_uses_are_noted_of_what_is_there_alone(store: Store) -> None:
    await store.swap([Swap(name=b"n", before=None, after=b"h")])
    await store.note({b"n": b"use", b"gone": b"use"})
    assert await store.uses([b"n", b"gone"]) == {b"n": b"use"}
    assert await store.whole(b"gone") is None


async def test_of_two_instances_that_write_with_the_same_expectation_exactly_one_wins(make_store: MakeStore) -> None:
    one, other = vault_over(make_store()), vault_over(make_store())
    for number in range(20):
        answers = await asyncio.gather(
            one.write("a", fields(value=f"one {number}"), cas=number),
            other.write("a", fields(value=f"other {number}"), cas=number),
            return_exceptions=True,
        )
        won = [answer for answer in answers if not isinstance(answer, BaseException)]
        assert won == [str(number + 1)]
        assert [type(answer) for answer in answers if isinstance(answer, BaseException)] == [Conflict]
    await one.close()
    await other.close()


async def test_writers_without_expectation_all_get_a_version_of_their_own(make_store: MakeStore) -> None:
    vaults = [vault_over(make_store()) for _ in range(3)]
    numbers = await asyncio.gather(*(vault.write("a", fields(value=str(id(vault)))) for vault in vaults * 3))
    assert sorted(numbers) == [str(number) for number in range(1, 10)]
    for vault in vaults:
        await vault.close()


def test_instances_that_begin_at_the_same_moment_all_find_a_whole_vault(tmp_path: Path) -> None:
    for round_ in range(25):
        folder = tmp_path / str(round_)
        folder.mkdir()
        stores = [SqliteStore(directory=folder) for _ in range(4)]
        with ThreadPoolExecutor(len(stores)) as threads:
            opened = list(threads.map(lambda store: store._connect(), stores))
        for connection in opened:
            connection.close()


async def test_a_rewrap_leaves_nothing_under_the_old_key_and_readers_notice_nothing(make_store: MakeStore) -> None:
    old, both = vault_over(make_store()), vault_over(make_store(), keys=(NEWER_KEY, KEY))
    for number in range(150):
        await old.write(f"s/{number}", fields(value=str(number)))
        await old.write(f"s/{number}", fields(value=f"{number} again"))
    await old.purge("s/7")
    await old.read("s/8")
    await old.note_uses()

    is_over = asyncio.Event()

    async def reading() -> int:
        rounds = 0
        while not is_over.is_set():
            rounds += 1
            for number in (0, 75, 149):
                assert shown(await both.read(f"s/{number}", version="1")) == {"value": str(number)}
        return rounds

    reader = asyncio.ensure_future(reading())
    done = await both.rewrap()
    is_over.set()
    assert await reader > 1
    assert (done.seen, done.renewed, done.broken) == (150, 150, 0)
    assert (await both.rewrap()).renewed == 0
    new = vault_over(make_store(), keys=(NEWER_KEY,))
    assert shown(await new.read("s/149")) == {"value": "149 again"}
    assert shown(await new.read("s/149", version="1")) == {"value": "149"}
    assert len(await new.list("s")) == 149
    assert (await new.metadata("s/8")).used is not None
    for vault in (old, both, new):
        await vault.close()


class BrokenOff(Exception):
    """As a kill, a cut line or a full disk would."""


async def broken_off(vault: Vault) -> None:
    """A rewrap of which two batches are made."""
    store = vault._store
    swap, made = store.swap, 0

    async def swap_twice(swaps: Sequence[Swap]) -> Sequence[bool]:
        nonlocal made
        made += 1
        if made > 2:
            raise BrokenOff
        return await swap(swaps)

    with patch.object(store, "swap", swap_twice), pytest.raises(BrokenOff):
        await vault.rewrap()


async def test_a_rewrap_that_was_broken_off_is_finished_by_the_next(make_store: MakeStore) -> None:
    old, both = vault_over(make_store()), vault_over(make_store(), keys=(NEWER_KEY, KEY))
    for number in range(200):
        await old.write(f"s/{number}", fields(value=str(number)))
    await broken_off(both)
    rest = await both.rewrap()
    new = vault_over(make_store(), keys=(NEWER_KEY,))
    assert 0 < rest.renewed < 200
    assert len(await new.list("")) == rest.seen == 200
    for number in range(200):
        assert shown(await new.read(f"s/{number}")) == {"value": str(number)}
    for vault in (old, both, new):
        await vault.close()
