"""What the log tells those who look at its events: where each record is, and that somebody cut it."""

from __future__ import annotations

import asyncio
import os

from broker.audit.event import Event, Kind
from broker.audit.log import AuditLog
from broker.audit.signer import signer_of
from tests.fakes.audit import MASTER, Directory, SetClock, an_event


def log_of(directory: Directory, seen: list[Event]) -> AuditLog:
    return AuditLog(directory=directory.path, signer=signer_of(MASTER), clock=SetClock(), observers=[seen.append])


async def test_an_event_knows_where_its_record_is_when_it_is_seen(directory: Directory) -> None:
    seen: list[Event] = []
    log = log_of(directory, seen)
    await log.open()
    await asyncio.gather(*(log.record(an_event(number)) for number in range(3)))
    await log.close()
    assert [event.seq for event in seen] == [1, 2, 3, 4, 5]
    assert len({event.instance for event in seen}) == 1
    assert (directory.path / f"audit-{seen[0].instance}.jsonl").exists()


async def test_a_log_that_was_cut_is_an_alarm_at_the_next_start(directory: Directory) -> None:
    log = log_of(directory, [])
    await log.open()
    for number in range(3):
        await log.record(an_event(number))
    await log.close()
    [path] = directory.path.glob("audit-*.jsonl")
    os.truncate(path, len(path.read_bytes().split(b"\n")[0]) + 1)

    seen: list[Event] = []
    again = log_of(directory, seen)
    await again.open()
    await again.close()
    [alarm] = [event for event in seen if event.kind is Kind.ALERT]
    assert (alarm.reason, alarm.details["severity"], alarm.details["cause"]) == ("audit_log_cut", "high", "audit")
    assert alarm.details["why"][0] == f"{path.name} ends at record 1, but 5 were written: it was cut."


async def test_start_and_stop_say_what_is_running(directory: Directory) -> None:
    seen: list[Event] = []
    log = log_of(directory, seen)
    await log.open(version="1.2.3", configuration="c0ffee")
    await log.close()
    assert [(event.kind, event.details) for event in seen] == [
        (kind, {"version": "1.2.3", "configuration": "c0ffee"}) for kind in (Kind.START, Kind.STOP)
    ]


async def test_a_log_that_ends_well_is_no_alarm_nor_is_one_that_a_kill_tore(directory: Directory) -> None:
    log = log_of(directory, [])
    await log.open()
    await log.close()
    [path] = directory.path.glob("audit-*.jsonl")
    path.write_bytes(path.read_bytes() + b'{"half a rec')
    seen: list[Event] = []
    again = log_of(directory, seen)
    await again.open()
    await again.close()
    assert [event.kind for event in seen] == [Kind.START, Kind.STOP]


async def test_a_key_that_changed_without_a_certificate_is_an_alarm_that_observers_get(directory: Directory) -> None:
    log = log_of(directory, [])
    await log.open()
    await log.close()
    seen: list[Event] = []
    thief = AuditLog(directory=directory.path, signer=signer_of(b"x" * 32), clock=SetClock(), observers=[seen.append])
    await thief.open()
    await thief.checkpoint()
    await thief.close()
    [alarm] = [event for event in seen if event.kind is Kind.ALERT]
    assert (alarm.reason, alarm.details["severity"]) == ("audit_key_changed_uncertified", "high")
    assert signer_of(MASTER).kid in alarm.details["why"][0]
