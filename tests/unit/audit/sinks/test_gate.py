"""A sink that is required: nobody goes on before it has their record, and nobody waits for long."""

from __future__ import annotations

import asyncio
import time

import pytest

from broker.audit.alert import Severity, alert
from broker.audit.chain import Head, Position
from broker.audit.event import Event, Kind
from broker.audit.sinks.gate import NEARLY, Gate
from broker.core.errors import AuditUnavailable
from tests.fakes.audit import Directory, an_event
from tests.fakes.scripted_sink import ScriptedSink, caught_up, forwarder_to, log_to


def at(seq: int, instance: str = "host-1") -> Position:
    return Position(instance=instance, head=Head(seq=seq))


def soon() -> float:
    return asyncio.get_running_loop().time() + 0.1


async def test_nobody_goes_on_before_the_sink_has_the_record(directory: Directory) -> None:
    sink = ScriptedSink()
    log = log_to(directory.path, forwarder_to(sink, directory.path, required=True))
    await log.open()
    sink.lets_go.clear()
    waiting = asyncio.ensure_future(log.record(an_event()))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    sink.lets_go.set()
    await waiting
    assert sink.got[-1] == 2
    await log.close()


async def test_a_stuck_sink_refuses_within_a_second_then_at_once_and_lets_through_when_it_answers(
    directory: Directory,
) -> None:
    sink = ScriptedSink()
    forwarder = forwarder_to(sink, directory.path, required=True)
    log = log_to(directory.path, forwarder)
    await log.open()
    await log.record(an_event())
    sink.lets_go.clear()
    started = time.monotonic()
    outcomes = await asyncio.gather(*(log.record(an_event(n)) for n in range(20)), return_exceptions=True)
    assert 0.7 < time.monotonic() - started < 5
    assert {type(outcome) for outcome in outcomes} == {AuditUnavailable}
    started = time.monotonic()
    for _ in range(5):
        with pytest.raises(AuditUnavailable, match="siem is required") as caught:
            await log.record(an_event())
    assert time.monotonic() - started < 0.2
    assert caught.value.reason == "sink_unavailable"
    assert "does not confirm in time" in (await forwarder.ping() or "")
    sink.lets_go.set()
    await caught_up(forwarder)
    await log.record(an_event())
    assert sink.got == [*range(1, len(sink.got) + 1)]
    await log.close()


async def test_a_sink_that_is_gone_refuses_at_once_and_is_tried_again_by_itself(directory: Directory) -> None:
    sink = ScriptedSink()
    forwarder = forwarder_to(sink, directory.path, required=True)
    log = log_to(directory.path, forwarder)
    await log.open()
    await log.record(an_event())
    sink.down = "no connection"
    started = time.monotonic()
    with pytest.raises(AuditUnavailable, match="no connection"):
        await log.record(an_event())
    assert time.monotonic() - started < 0.5
    sink.down = None
    async with asyncio.timeout(3):
        await caught_up(forwarder)
    await log.record(an_event())
    await log.close()


async def test_a_refusal_and_an_alarm_wait_for_no_sink_and_are_told_to_whoever_observes(directory: Directory) -> None:
    sink = ScriptedSink()
    sink.lets_go.clear()
    told: list[Event] = []
    log = log_to(directory.path, forwarder_to(sink, directory.path, required=True), observers=[told.append])
    await log.open()
    started = time.monotonic()
    refusal = an_event(success=False, kind=Kind.REFUSED)
    alarm = alert("impossible_travel", severity=Severity.HIGH, why=["One."])
    for event in (refusal, alarm):
        await log.record(event)
    assert time.monotonic() - started < 0.5
    assert told[-2:] == [refusal, alarm]
    sink.lets_go.set()
    await log.close()


async def test_a_sink_that_is_not_required_is_waited_for_by_nobody(directory: Directory) -> None:
    sink = ScriptedSink()
    sink.lets_go.clear()
    log = log_to(directory.path, forwarder_to(sink, directory.path))
    await log.open()
    started = time.monotonic()
    await log.record(an_event())
    assert time.monotonic() - started < 0.5
    sink.lets_go.set()
    await log.close()


async def test_one_failed_try_is_repeated_before_anybody_is_refused(directory: Directory) -> None:
    """A connection that the receiver closed while nobody used it shows only when it is used."""
    sink = ScriptedSink()
    log = log_to(directory.path, forwarder_to(sink, directory.path, required=True))
    await log.open()
    await log.record(an_event())
    sink.fails_once = True
    await log.record(an_event())
    await log.close()


async def test_while_the_sink_is_far_behind_it_lets_nobody_through() -> None:
    gate = Gate(name="siem")
    gate.moved("host-1")
    gate.shut("is away")
    gate.confirmed(10, behind=NEARLY + 1)
    with pytest.raises(AuditUnavailable, match="is away"):
        await gate.passed(at(11), deadline=soon())
    gate.confirmed(11, behind=NEARLY)
    with pytest.raises(AuditUnavailable, match="in time"):
        await gate.passed(at(12), deadline=soon())


async def test_what_another_instance_confirmed_counts_for_nobody() -> None:
    gate = Gate(name="siem")
    gate.moved("host-1")
    gate.confirmed(50, behind=0)
    await gate.passed(at(50), deadline=soon())
    gate.moved("host-2")
    with pytest.raises(AuditUnavailable):
        await gate.passed(at(3, "host-2"), deadline=soon())
