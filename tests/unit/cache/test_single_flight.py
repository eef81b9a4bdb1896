"""One call for all who wait, owned by none of them."""

from __future__ import annotations

import asyncio
import gc

import pytest

from broker.cache.single_flight import SingleFlight


class Work:
    """Counts its calls, and ends when the test says so."""

    def __init__(self) -> None:
        self.calls = 0
        self.gate = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self) -> str:
        self.calls += 1
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return f"answer {self.calls}"


async def started(flights: SingleFlight[str], work: Work, count: int, key: str = "k") -> list[asyncio.Task]:
    tasks = [asyncio.ensure_future(flights.do(key, work)) for _ in range(count)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return tasks


async def test_two_hundred_who_ask_at_once_share_one_call() -> None:
    flights, work = SingleFlight(), Work()
    tasks = await started(flights, work, 200)
    work.gate.set()
    answers = await asyncio.gather(*tasks)
    assert work.calls == 1
    assert {answer for answer, _ in answers} == {"answer 1"}
    assert [leads for _, leads in answers] == [True] + [False] * 199


async def test_an_error_reaches_everybody_and_is_not_kept() -> None:
    flights, work = SingleFlight(), Work()
    tasks = await started(flights, work, 3)
    work.error = ValueError("no")
    work.gate.set()
    assert [type(one) for one in await asyncio.gather(*tasks, return_exceptions=True)] == [ValueError] * 3
    work.error = None
    assert await flights.do("k", work) == ("answer 2", True)


async def test_other_keys_have_calls_of_their_own() -> None:
    flights, work = SingleFlight(), Work()
    work.gate.set()
    await asyncio.gather(flights.do("a", work), flights.do("b", work))
    assert work.calls == 2


@pytest.mark.parametrize("gone", [0, 1])
async def test_a_client_that_goes_away_takes_nobody_s_answer_with_it(gone: int) -> None:
    flights, work = SingleFlight(), Work()
    tasks = await started(flights, work, 3)
    tasks[gone].cancel()
    await asyncio.sleep(0)
    assert tasks[gone].cancelled()
    work.gate.set()
    rest = [task for place, task in enumerate(tasks) if place != gone]
    assert [answer for answer, _ in await asyncio.gather(*rest)] == ["answer 1"] * 2
    assert work.calls == 1


async def test_the_call_goes_on_when_everybody_has_gone_and_its_failure_disturbs_nobody() -> None:
    unheard = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unheard.append(context))
    flights, work = SingleFlight(), Work()
    (task,) = await started(flights, work, 1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    work.error = ValueError("no")
    work.gate.set()
    await flights.drain()
    await asyncio.sleep(0)
    gc.collect()
    assert work.calls == 1
    assert unheard == []


async def test_draining_waits_for_what_is_under_way() -> None:
    flights, work = SingleFlight(), Work()
    (task,) = await started(flights, work, 1)
    draining = asyncio.ensure_future(flights.drain())
    await asyncio.sleep(0)
    assert not draining.done()
    work.gate.set()
    await asyncio.wait_for(draining, 1)
    assert task.done() or await task
    await flights.drain()
