"""Whoever answers in Redis's place answers as they like: then nobody can say what is noted, and nothing breaks."""

from __future__ import annotations

from typing import Any, cast

import pytest

from broker.authn.roll_store import RedisStore, Unanswered
from tests.fakes.cache import MovedClock


class Liar:
    """A Redis that answers the same to everything."""

    def __init__(self, answer: object) -> None:
        self._answer = answer

    def register_script(self, _: str) -> Any:
        async def run(**_: object) -> object:
            return self._answer

        return run


@pytest.mark.parametrize(
    "answer", [None, 1, b"row", [b"name"], [b"name", 1], [[b"name", b"row"], [b"x"]], [None, None]]
)
async def test_an_answer_that_is_none_is_taken_for_no_answer(answer: object) -> None:
    store = RedisStore(client=cast("Any", Liar(answer)), clock=MovedClock())
    with pytest.raises(Unanswered):
        await store.of("0" * 32, most=10)


async def test_names_and_rows_are_read() -> None:
    store = RedisStore(client=cast("Any", Liar([b"name", b"row"])), clock=MovedClock())
    assert await store.of("0" * 32, most=10) == {"name": b"row"}
