"""What is remembered of AWS's denials, and how much of it."""

from __future__ import annotations

import pytest

from broker.cache import refusals
from broker.cache.refusals import Refusals
from broker.core.errors import StsDenied
from tests.unit.cache.conftest import MovedClock


def denied(memory: Refusals, name: str) -> None:
    with pytest.raises(StsDenied), memory.remembered(name):
        raise StsDenied("no", reason=f"hop1_{name}")


def test_what_is_remembered_is_bounded_and_the_oldest_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "_ENTRIES", 3)
    memory = Refusals(clock=MovedClock())
    for name in ("a", "b", "a", "c", "d"):
        denied(memory, name)
    assert [name for name in "abcd" if memory.knows(name)] == ["a", "c", "d"]


def test_each_who_is_refused_gets_an_error_of_their_own() -> None:
    memory = Refusals(clock=MovedClock())
    denied(memory, "a")
    caught = []
    for _ in range(2):
        with pytest.raises(StsDenied) as error:
            memory.check("a")
        caught.append(error.value)
    first, second = caught
    assert first is not second, "an error that is raised twice holds the frames of both"
    assert first.reason == second.reason == "hop1_a"
