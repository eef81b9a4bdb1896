"""The store in the process forgets in time and in bounds."""

from __future__ import annotations

from datetime import timedelta

import pytest

from broker.cache import store as store_module
from broker.cache.store import MemoryStore

MINUTE = timedelta(minutes=1)


async def test_an_entry_lives_as_long_as_it_was_put_for(clock) -> None:
    store = MemoryStore(clock=clock)
    await store.put("a", b"1", MINUTE)
    clock.move(MINUTE - timedelta(milliseconds=1))
    assert await store.get("a") == b"1"
    clock.move(timedelta(milliseconds=1))
    assert await store.get("a") is None


async def test_setting_the_wall_clock_back_prolongs_nothing(clock) -> None:
    store = MemoryStore(clock=clock)
    await store.put("a", b"1", MINUTE)
    clock.booted += 60
    clock.moment -= timedelta(days=1)
    assert await store.get("a") is None


async def test_the_least_recently_used_entry_makes_room(clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "_MEMORY_ENTRIES", 3)
    store = MemoryStore(clock=clock)
    for name in ("a", "b", "c"):
        await store.put(name, name.encode(), MINUTE)
    await store.get("a")
    await store.put("d", b"d", MINUTE)
    assert [await store.get(name) for name in ("a", "b", "c", "d")] == [b"a", None, b"c", b"d"]


async def test_a_name_put_again_has_the_new_value_and_the_new_life(clock) -> None:
    store = MemoryStore(clock=clock)
    await store.put("a", b"1", MINUTE)
    clock.move(MINUTE / 2)
    await store.put("a", b"2", MINUTE)
    clock.move(MINUTE / 2)
    assert await store.get("a") == b"2"


async def test_it_is_always_well(clock) -> None:
    assert await MemoryStore(clock=clock).ping() is None
