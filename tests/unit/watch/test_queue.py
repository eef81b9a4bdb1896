"""Between the log and the detectors: bounded, whatever comes."""

from __future__ import annotations

import dataclasses

from broker.audit.alert import Severity, alert
from broker.audit.event import Event, Kind
from broker.core.principal import Principal
from broker.watch import queue
from broker.watch.queue import Queue
from tests.fakes.audit import an_event


def somebody(number: int) -> dict[str, object]:
    return {"principal": Principal((f"user{number}",), "R"), "source_identity": f"user{number}@R"}


def refused(**members: object) -> Event:
    return an_event(kind=Kind.REFUSED, success=False, reason="no_rule", **members)


def test_what_is_the_same_is_counted_and_queued_once() -> None:
    waiting = Queue()
    for _ in range(100):
        waiting.observe(an_event())
    waiting.observe(an_event(role="other"))
    waiting.observe(an_event(source_ip="127.0.0.2"))
    waiting.observe(refused())
    assert [number for _, number in waiting.take()] == [100, 1, 1, 1]
    assert waiting.take() == []


def test_a_queue_that_is_full_drops_and_counts() -> None:
    waiting = Queue()
    for number in range(queue.LONGEST + 5):
        waiting.observe(an_event(**somebody(number)))
    waiting.observe(an_event(**somebody(0)))
    taken = waiting.take()
    assert (len(taken), waiting.dropped, taken[0][1]) == (queue.LONGEST, 5, 2)


def test_nobody_fills_it_with_names_of_roles_that_they_are_refused() -> None:
    waiting = Queue()
    for number in range(1000):
        waiting.observe(refused(role=f"role{number}", resource=f"role{number}"))
    assert [number for _, number in waiting.take()] == [1000]


def test_input_of_nobody_is_not_taken_at_all() -> None:
    waiting = Queue()
    waiting.observe(refused(principal=None, source_identity=None))
    assert (waiting.take(), waiting.dropped) == ([], 0)


def test_an_alert_never_calls_for_the_next() -> None:
    waiting = Queue()
    waiting.observe(alert("new_role", severity=Severity.LOW, why=["Why."], about=Principal.parse("alice@R")))
    assert waiting.take() == []


def test_the_first_of_each_is_what_is_handed_on() -> None:
    waiting = Queue()
    first = an_event(request_id="first")
    for event in (first, dataclasses.replace(first, request_id="second")):
        waiting.observe(event)
    ((event, number),) = waiting.take()
    assert (event.request_id, number) == ("first", 2)
