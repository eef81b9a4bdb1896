"""A crowd passes bit by bit and in its order; whoever comes alone does not wait."""

from __future__ import annotations

import asyncio

import pytest

from broker.core.turnstile import Turnstile

MOST = 8


async def _pass(turnstile: Turnstile, order: list[object], name: object) -> None:
    await turnstile.enter()
    if not order:
        asyncio.get_running_loop().call_soon(order.append, "heard")
    order.append(name)


async def test_what_the_loop_hears_meanwhile_comes_behind_one_round_and_not_behind_the_crowd() -> None:
    turnstile, order = Turnstile(most=MOST), list[object]()
    await asyncio.gather(*(_pass(turnstile, order, number) for number in range(100)))
    assert order.index("heard") == MOST
    assert [name for name in order if name != "heard"] == list(range(100))


async def test_who_comes_alone_passes_without_a_round_of_the_loop() -> None:
    turnstile = Turnstile(most=MOST)
    for _ in range(MOST):
        with pytest.raises(StopIteration):
            turnstile.enter().send(None)


async def test_a_crowd_of_whom_many_gave_up_is_through_all_the_same() -> None:
    turnstile, order = Turnstile(most=MOST), list[object]()
    crowd = [asyncio.ensure_future(_pass(turnstile, order, number)) for number in range(5 * MOST)]
    await asyncio.sleep(0)
    for gave_up in crowd[MOST : 4 * MOST]:
        gave_up.cancel()
    async with asyncio.timeout(10):
        await asyncio.gather(*crowd, return_exceptions=True)
        await _pass(turnstile, order, "late")
    assert [name for name in order if name != "heard"] == [*range(MOST), *range(4 * MOST, 5 * MOST), "late"]
