"""The alarm says what was found, and cannot be used to fill the log."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, cast

import pytest

from broker.cache import tamper
from broker.cache.tamper import TamperAlarm
from tests.fakes.cache import GRANT, Records

MINUTE = timedelta(minutes=1)


@pytest.fixture
def records() -> Records:
    return Records()


@pytest.fixture
def alarm(records, clock) -> TamperAlarm:
    return TamperAlarm(audit=cast("Any", records), clock=clock)


async def test_a_record_says_whose_entry_it_was_where_it_lies_and_what_is_wrong_with_it(alarm, records) -> None:
    await alarm.sound(GRANT, entry="zerotrust:{cache}:credentials:ab", reason="altered")
    (event,) = records.events
    assert (event.kind, event.success, event.reason) == ("cache_tamper", False, "entry_altered")
    assert (str(event.principal), event.role, event.resource) == (
        "alice@EXAMPLE.COM",
        "developer",
        "zerotrust:{cache}:credentials:ab",
    )


async def test_an_entry_has_one_record_a_minute_and_the_next_says_how_many_there_were_besides(
    alarm, records, clock
) -> None:
    for _ in range(10):
        await alarm.sound(GRANT, entry="a", reason="altered")
    assert len(records.events) == 1
    clock.move(MINUTE)
    await alarm.sound(GRANT, entry="a", reason="altered")
    assert [event.details["unrecorded"] for event in records.events] == [0, 9]
    assert alarm.seen == 11


async def test_many_entries_do_not_fill_the_log_either(alarm, records) -> None:
    for number in range(1000):
        await alarm.sound(GRANT, entry=f"entry {number}", reason="altered")
    assert len(records.events) == tamper._RECORDS
    assert alarm.seen == 1000


async def test_a_record_that_cannot_be_written_is_counted_for_the_next_one_and_raises_nothing(
    alarm, records, clock
) -> None:
    records.broken = True
    await alarm.sound(GRANT, entry="a", reason="altered")
    records.broken = False
    clock.move(MINUTE)
    await alarm.sound(GRANT, entry="a", reason="altered")
    assert records.events[0].details["unrecorded"] == 1
