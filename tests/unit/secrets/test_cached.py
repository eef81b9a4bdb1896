"""The cache before a vault of others: how long, how often, for whom, and what is never kept."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from broker.core.secret import Secret
from broker.remote.failure import Missing, Refused, RemoteFailure, Unreachable
from broker.secrets import cached
from broker.secrets.cached import CachedProvider
from broker.secrets.provider import Version

TTL = timedelta(minutes=5)
MADE = datetime(2026, 1, 31, tzinfo=UTC)


class HandClock:
    def __init__(self) -> None:
        self.moved = 0.0

    def now(self) -> datetime:
        return MADE + timedelta(seconds=self.moved)

    def boottime(self) -> float:
        return self.moved


class Vault:
    """Holds what it is given; counts, waits and fails as it is told to."""

    def __init__(self) -> None:
        self.held: dict[str, str] = {"a": "one", "b": "two"}
        self.failure: RemoteFailure | None = None
        self.reads: list[tuple[str, str | None]] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.is_leased = False
        self.is_closed = False

    async def read(self, path: str, *, version: str | None = None) -> Version:
        self.reads.append((path, version))
        value, failure = self.held.get(path), self.failure
        await self.may_answer.wait()
        if failure is not None:
            raise failure
        if value is None:
            raise Missing("not there", reason="missing")
        ends = MADE + timedelta(hours=1) if self.is_leased else None
        return Version(fields={"value": Secret(value)}, number=version or "7", made=MADE, lease_ends=ends)

    async def write(self, path: str, fields: Mapping[str, Secret], *, cas: int | None = None) -> str:
        if self.failure is not None:
            raise self.failure
        self.held[path] = fields["value"].reveal()
        return "8" if cas is None else str(cas + 1)

    async def delete(self, path: str) -> None:
        del self.held[path]

    async def list(self, prefix: str) -> Sequence[str]:
        return sorted(path for path in self.held if path.startswith(prefix))

    async def ping(self) -> str | None:
        return None

    async def close(self) -> None:
        self.is_closed = True


class Scene:
    def __init__(self) -> None:
        self.vault, self.clock = Vault(), HandClock()
        self.cache = CachedProvider(self.vault, ttl=TTL, clock=self.clock)

    async def value(self, path: str = "a", **keywords: Any) -> str:
        return (await self.cache.read(path, **keywords)).fields["value"].reveal()

    @property
    def reads(self) -> int:
        return len(self.vault.reads)


@pytest.fixture
async def scene() -> Scene:
    return Scene()


async def test_a_value_is_asked_for_once_and_again_when_its_time_is_over(scene: Scene) -> None:
    assert [await scene.value(), await scene.value()] == ["one", "one"]
    assert await scene.cache.read("a") == Version(fields={"value": Secret("one")}, number="7", made=MADE)
    scene.vault.held["a"] = "changed there"
    scene.clock.moved = TTL.total_seconds() - 0.1
    assert (await scene.value(), scene.reads) == ("one", 1)
    scene.clock.moved = TTL.total_seconds()
    assert (await scene.value(), scene.reads) == ("changed there", 2)


async def test_the_time_counts_from_the_question_so_that_a_slow_answer_is_not_used_longer(scene: Scene) -> None:
    scene.vault.may_answer.clear()
    reading = asyncio.create_task(scene.value())
    await asyncio.sleep(0)
    scene.clock.moved = 200.0
    scene.vault.may_answer.set()
    await reading
    scene.clock.moved = TTL.total_seconds()
    await scene.value()
    assert scene.reads == 2


async def test_a_vault_that_does_not_answer_prolongs_nothing(scene: Scene) -> None:
    await scene.value()
    scene.vault.failure = Unreachable("away", reason="sealed")
    scene.clock.moved = TTL.total_seconds() - 1
    assert await scene.value() == "one"
    scene.clock.moved = TTL.total_seconds()
    with pytest.raises(Unreachable) as failure:
        await scene.value()
    assert failure.value.reason == "sealed"


async def test_failures_are_remembered_for_a_moment_and_what_must_be_corrected_is_not(scene: Scene) -> None:
    for path, failure, seconds in (
        ("none", None, cached.MISSING_SECONDS),
        ("a", Unreachable("away", reason="sealed"), cached.UNREACHABLE_SECONDS),
        ("b", Refused("no", reason="denied"), 0.0),
    ):
        scene.vault.failure, scene.vault.reads, began = failure, [], scene.clock.moved
        for moved in (0.0, seconds * 0.9, seconds):
            scene.clock.moved = began + moved
            with pytest.raises(RemoteFailure):
                await scene.value(path)
        assert scene.reads == (2 if seconds else 3)
    scene.vault.failure = None
    assert await scene.value("b") == "two"


async def test_who_asks_while_it_is_asked_for_shares_the_answer_good_or_bad(scene: Scene) -> None:
    scene.vault.may_answer.clear()
    waiting = [asyncio.create_task(scene.value(path)) for path in ["a", "none"] * 10]
    await asyncio.sleep(0)
    scene.vault.may_answer.set()
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert found[::2] == ["one"] * 10
    assert {type(failure) for failure in found[1::2]} == {Missing}
    assert sorted(scene.vault.reads) == [("a", None), ("none", None)]


async def test_who_gives_up_takes_nobody_elses_answer_along(scene: Scene) -> None:
    scene.vault.may_answer.clear()
    first, second = asyncio.create_task(scene.value()), asyncio.create_task(scene.value())
    await asyncio.sleep(0)
    first.cancel()
    scene.vault.may_answer.set()
    assert await second == "one"


async def test_what_is_leased_is_made_for_each_reader_even_for_those_who_ask_at_once(scene: Scene) -> None:
    scene.vault.is_leased = True
    await asyncio.gather(*(scene.value() for _ in range(5)))
    assert scene.reads == 5


async def test_what_is_written_or_deleted_here_is_new_at_once(scene: Scene) -> None:
    assert [await scene.value(), await scene.value(version="3")] == ["one", "one"]
    assert await scene.cache.write("a", {"value": Secret("new")}, cas=7) == "8"
    assert [await scene.value(), await scene.value(version="3")] == ["new", "new"]
    await scene.cache.delete("a")
    with pytest.raises(Missing):
        await scene.value()
    await scene.cache.write("a", {"value": Secret("back")})
    assert await scene.value() == "back"


async def test_a_write_that_failed_may_have_happened(scene: Scene) -> None:
    await scene.value()
    scene.vault.failure = Unreachable("too late", reason="timeout")
    with pytest.raises(Unreachable):
        await scene.cache.write("a", {"value": Secret("new")})
    scene.vault.failure, scene.vault.held["a"] = None, "new"
    assert await scene.value() == "new"


async def test_an_answer_from_before_a_write_is_not_kept(scene: Scene) -> None:
    scene.vault.may_answer.clear()
    before = asyncio.create_task(scene.value())
    await asyncio.sleep(0)
    await scene.cache.write("a", {"value": Secret("new")})
    scene.vault.may_answer.set()
    assert await before == "one"
    assert await scene.value() == "new"


async def test_versions_and_paths_have_entries_of_their_own(scene: Scene) -> None:
    assert [(await scene.cache.read("a", version=number)).number for number in ("1", "2", "1")] == ["1", "2", "1"]
    assert scene.vault.reads == [("a", "1"), ("a", "2")]


async def test_names_that_do_not_exist_fill_no_memory(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cached, "ENTRIES_MAX", 10)
    await scene.value()
    for number in range(10):
        with pytest.raises(Missing):
            await scene.value(f"none/{number}")
    scene.vault.reads.clear()
    assert await scene.value() == "one"
    with pytest.raises(Missing):
        await scene.value("none/9")
    assert scene.vault.reads == [("a", None)]


async def test_a_kept_value_lies_open_nowhere(scene: Scene) -> None:
    scene.vault.held = {"a": "canary of the cache"}
    await scene.value()
    scene.vault.held.clear()
    gc.collect()
    reached: list[Any] = [scene.cache._entries]
    seen: set[int] = set()
    while reached:
        thing = reached.pop()
        if id(thing) in seen or isinstance(thing, type):
            continue
        seen.add(id(thing))
        assert not (isinstance(thing, str) and "canary" in thing)
        assert not (isinstance(thing, bytes) and b"canary" in thing)
        reached += gc.get_referents(thing)
    assert await scene.value() == "canary of the cache"


async def test_closing_forgets_and_closes_the_vault(scene: Scene) -> None:
    await scene.value()
    await scene.cache.close()
    assert scene.vault.is_closed
    assert not scene.cache._entries
