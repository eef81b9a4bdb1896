"""The store in the process forgets in time and in bounds."""

from __future__ import annotations

from datetime import timedelta

import pytest

from broker.cache import store as store_module
from broker.cache.store import MemoryStore

MINUTE = timedelta(minutes=1)


def test_an_entry_lives_as_long_as_it_was_put_for(clock) -> None:
    store = MemoryStore(clock=clock)
    store.put("a", b"1", MINUTE)
    clock.move(MINUTE - timedelta(milliseconds=1))
    assert store.get("a") == b"1"
    clock.move(timedelta(milliseconds=1))
    assert store.get("a") is None


def test_setting_the_wall_clock_back_prolongs_nothing(clock) -> None:
    store = MemoryStore(clock=clock)
    store.put("a", b"1", MINUTE)
    clock.booted += 60
    clock.moment -= timedelta(days=1)
    assert store.get("a") is None


def test_the_least_recently_used_entry_makes_room(clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "_MEMORY_ENTRIES", 3)
    store = MemoryStore(clock=clock)
    for name in ("a", "b", "c"):
        store.put(name, name.encode(), MINUTE)
    store.get("a")
    store.put("d", b"d", MINUTE)
    assert [store.get(name) for name in ("a", "b", "c", "d")] == [b"a", None, b"c", b"d"]


def test_a_name_put_again_has_the_new_value_and_the_new_life(clock) -> None:
    store = MemoryStore(clock=clock)
    store.put("a", b"1", MINUTE)
    clock.move(MINUTE / 2)
    store.put("a", b"2", MINUTE)
    clock.move(MINUTE / 2)
    assert store.get("a") == b"2"
