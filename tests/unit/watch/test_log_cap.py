"""A flood of what strangers cause is counted out; what the other rooms say is not."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest

from broker.watch.log_cap import BURST, LogCap


class Hands:
    time = 1000.0

    def boottime(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Hands:
    return Hands()


@pytest.fixture
def written(clock: Hands) -> Iterator[io.StringIO]:
    output = io.StringIO()
    handler = logging.StreamHandler(output)
    handler.addFilter(LogCap(clock=clock))
    root = logging.getLogger()
    root.addHandler(handler)
    yield output
    root.removeHandler(handler)


def flood(name: str, times: int = 1000) -> None:
    for number in range(times):
        logging.getLogger(name).warning("line %d of a flood", number)


@pytest.mark.parametrize("name", ["asyncio", "aiohttp.server", "broker.web.connections"])
def test_a_flood_from_the_door_is_cut_and_says_so(written, name):
    flood(name)
    lines = written.getvalue().splitlines()
    assert len(lines) == BURST
    assert lines[-1].endswith("[too many at once: the next are left out]")


def test_after_the_flood_the_next_line_says_how_many_are_missing(written, clock):
    flood("asyncio", BURST + 500)
    clock.time += 60
    logging.getLogger("asyncio").warning("something else")
    assert written.getvalue().splitlines()[-1] == "something else [500 before this were left out]"


def test_a_minute_of_flood_writes_no_more_than_a_line_every_other_second_beyond_the_first(written, clock):
    for _ in range(60):
        flood("asyncio", 100)
        clock.time += 1
    assert len(written.getvalue().splitlines()) <= BURST + 30


def test_what_other_rooms_say_passes_in_the_middle_of_a_flood(written):
    flood("asyncio")
    logging.getLogger("broker.audit.log").error("the disk is full")
    assert written.getvalue().splitlines()[-1] == "the disk is full"
