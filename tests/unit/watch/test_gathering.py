"""One message for one matter, a count for its repetitions, and one for all that is too much."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from broker.audit.alert import Severity
from broker.core.principal import Principal
from broker.watch.gathering import MOST, WINDOW, Gathering
from tests.fakes.notices import notice

SPAN = WINDOW.total_seconds()


def somebody(number: int) -> Principal:
    return Principal((f"user{number}",), "EXAMPLE.COM")


def test_the_first_is_told_at_once_and_its_repetitions_once_when_the_window_ends() -> None:
    gathering = Gathering()
    assert gathering.take(notice(1), now=0) == [notice(1)]
    for number in range(2, 5):
        assert gathering.take(notice(number), now=number) == []
    assert gathering.due(now=SPAN - 1) == []
    [count] = gathering.due(now=SPAN)
    assert (count.number, count.matter, count.id) == (3, notice(1).matter, "broker-1-1-2026-01-31T12:00:04Z")
    assert count.happened == "Impossible travel: alice@EXAMPLE.COM (3 more times)"
    assert count.why == (
        "You were told of this before. It was recorded 3 more times between 2026-01-31T12:00:02Z and 2026-01-31T12:00:04Z.",
    )
    assert gathering.due(now=SPAN) == []


def test_what_goes_on_is_a_count_each_window_and_what_is_over_is_news_again() -> None:
    gathering = Gathering()
    gathering.take(notice(1), now=0)
    gathering.take(notice(2), now=1)
    assert len(gathering.due(now=SPAN)) == 1
    assert gathering.take(notice(3), now=SPAN + 1) == []
    assert [count.number for count in gathering.due(now=2 * SPAN)] == [1]
    assert gathering.due(now=3 * SPAN) == []
    assert gathering.take(notice(4), now=3 * SPAN + 1) == [notice(4)]


def test_another_principal_or_kind_is_another_matter() -> None:
    gathering = Gathering()
    gathering.take(notice(1), now=0)
    assert gathering.take(notice(2, about=somebody(1)), now=1) != []
    assert gathering.take(notice(3, name="new_network"), now=1) != []


def test_too_many_matters_are_told_together_and_the_more_severe_are_not_among_them() -> None:
    gathering = Gathering()
    low = [notice(number, about=somebody(number), severity=Severity.LOW) for number in range(MOST + 412)]
    told = [one for each in low for one in gathering.take(each, now=1)]
    assert told == low[:MOST]
    assert gathering.take(notice(900), now=2) == [notice(900)]
    [digest] = gathering.due(now=SPAN + 1)
    assert digest.happened == "And 412 more of severity low: 412 impossible_travel"
    assert (digest.number, digest.severity, digest.about) == (412, Severity.LOW, None)


def test_what_has_grown_more_severe_is_told_at_once() -> None:
    gathering = Gathering()
    gathering.take(notice(1, severity=Severity.LOW), now=0)
    assert gathering.take(notice(2, severity=Severity.HIGH), now=1) == [notice(2, severity=Severity.HIGH)]


def test_broken_glass_is_told_each_time_and_takes_nobody_s_room() -> None:
    gathering = Gathering()
    for number in range(MOST):
        gathering.take(notice(number, about=somebody(number)), now=1)
    assert gathering.take(notice(900, about=somebody(900)), now=2) == []
    glass = [replace(notice(number, name="break_glass"), elevation=f"{number:032x}") for number in range(MOST + 1)]
    assert [gathering.take(each, now=3) for each in glass] == [[each] for each in glass]
    fresh = Gathering()
    for each in glass:
        fresh.take(each, now=1)
    assert fresh.take(notice(901), now=2) == [notice(901)]


def test_matters_that_all_go_on_are_counted_together_beyond_the_same_number() -> None:
    gathering = Gathering()
    for window in range(3):
        for number in range(MOST):
            gathering.take(notice(number, about=somebody(100 * window + number)), now=window * SPAN)
        for earlier in range(window + 1):
            for number in range(MOST):
                gathering.take(notice(number, about=somebody(100 * earlier + number)), now=window * SPAN + 1)
    assert len(gathering.due(now=3 * SPAN)) <= MOST + 1


def test_at_the_end_everything_is_told() -> None:
    gathering = Gathering()
    for number in range(3):
        gathering.take(notice(number), now=0)
    for number in range(MOST + 5):
        gathering.take(notice(number, about=somebody(number)), now=0)
    rest = gathering.rest()
    assert sorted(one.number for one in rest) == [2, 6]
    assert gathering.rest() == []


@given(st.lists(st.tuples(st.integers(0, 40), st.sampled_from(Severity), st.integers(0, 400)), max_size=300))
def test_nothing_is_lost_whatever_comes(events: list[tuple[int, Severity, int]]) -> None:
    gathering = Gathering()
    now, told = 0.0, []
    for seq, (number, severity, pause) in enumerate(events):
        now += pause
        told += gathering.take(notice(seq, about=somebody(number), severity=severity), now=now)
    told += gathering.rest()
    assert sum(one.number for one in told) == len(events)
