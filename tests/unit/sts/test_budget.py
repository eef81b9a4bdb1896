"""So many calls a second, in turns, and no longer a queue than is of use."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import pytest

from broker.core.errors import Overloaded
from broker.core.rate import Rate
from broker.sts import budget
from broker.sts.budget import Budget


class Diary:
    """Who was served, in which order, and when."""

    def __init__(self, rate: Rate) -> None:
        self.budget = Budget(rate=rate)
        self.served: list[str] = []
        self.times: list[float] = []
        self.refused: list[str] = []

    async def ask(self, owner: str) -> None:
        try:
            await self.budget.begin(owner)
        except Overloaded:
            self.refused.append(owner)
        else:
            self._note(owner)

    async def go_on(self, name: str) -> None:
        await self.budget.go_on()
        self._note(name)

    def _note(self, name: str) -> None:
        self.served.append(name)
        self.times.append(asyncio.get_running_loop().time())


async def all_of(*asking: Awaitable[None]) -> None:
    await asyncio.gather(*asking)


async def test_in_no_second_are_there_more_calls_than_the_rate_and_not_all_at_its_beginning() -> None:
    diary = Diary(Rate(100, 1))
    await all_of(*(diary.ask(f"u{number}") for number in range(130)))
    first = diary.times[0]
    for begins in diary.times:
        assert sum(begins <= time < begins + 1 for time in diary.times) <= 101
    assert sum(time < first + 0.5 for time in diary.times) <= 60


async def test_who_asks_for_many_waits_in_turn_with_who_asks_for_one() -> None:
    diary = Diary(Rate(200, 1))
    await all_of(*(diary.ask("many") for _ in range(50)), *(diary.ask(name) for name in ("one", "two", "three")))
    assert set(diary.served[:6]) >= {"one", "two", "three"}
    assert diary.served.count("many") == 50


async def test_a_chain_that_has_begun_goes_before_those_that_have_not() -> None:
    diary = Diary(Rate(50, 1))
    waiting = asyncio.gather(*(diary.ask(f"u{number}") for number in range(20)))
    await asyncio.sleep(0)
    await asyncio.gather(diary.go_on("begun"), waiting)
    assert diary.served.index("begun") <= 5


async def test_beyond_what_can_be_served_in_time_is_refused_at_once_and_the_rest_is_served() -> None:
    diary = Diary(Rate(50, 1))
    started = asyncio.get_running_loop().time()
    waiting = [asyncio.ensure_future(diary.ask(f"u{number}")) for number in range(300)]
    await asyncio.sleep(0.05)
    assert len(diary.refused) == 210
    await asyncio.gather(*waiting)
    assert len(diary.served) + len(diary.refused) == 300
    assert 60 <= len(diary.served) <= 95
    assert diary.times[-1] - started <= 2.1


async def test_who_fills_the_queue_alone_makes_room_for_who_does_not() -> None:
    diary = Diary(Rate(20, 1))
    many = [asyncio.ensure_future(diary.ask("many")) for _ in range(100)]
    await asyncio.sleep(0)
    await all_of(*(diary.ask(f"u{number}") for number in range(10)))
    assert set(diary.served) >= {f"u{number}" for number in range(10)}
    assert set(diary.refused) == {"many"}
    await asyncio.gather(*many)


async def test_who_waits_longer_than_is_of_use_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    diary = Diary(Rate(1, 1))
    started = asyncio.get_running_loop().time()
    monkeypatch.setattr(budget, "_PATIENCE", budget._PATIENCE / 10)
    await all_of(*(diary.ask(f"u{number}") for number in range(4)))
    assert len(diary.refused) == 3
    assert asyncio.get_running_loop().time() - started < 0.5


async def test_who_goes_away_gives_the_turn_to_the_next() -> None:
    diary = Diary(Rate(50, 1))
    gone = [asyncio.ensure_future(diary.ask("gone")) for _ in range(30)]
    stays = asyncio.ensure_future(diary.ask("stays"))
    begun = asyncio.ensure_future(diary.go_on("begun"))
    await asyncio.sleep(0)
    for task in [*gone, begun]:
        task.cancel()
    started = asyncio.get_running_loop().time()
    await stays
    assert asyncio.get_running_loop().time() - started < 0.2
    assert diary.budget._number == 0
    assert diary.budget._lines == {}
