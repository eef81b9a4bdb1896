"""From the record file to a sink: everything, in order, at least once, whatever the sink does."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from broker.audit.log import AuditLog
from broker.audit.sinks import file
from broker.audit.sinks.spool import Spool
from broker.core.errors import AuditUnavailable
from tests.fakes.audit import Directory, an_event
from tests.fakes.scripted_sink import ScriptedSink, caught_up, forwarder_to, log_to


def records(directory: Directory) -> list[dict[str, object]]:
    return [
        json.loads(line)
        for path in sorted(directory.path.glob("audit-*"))
        for line in path.read_text().splitlines()
        if line
    ]


async def recorded(log: AuditLog, number: int) -> None:
    for count in range(number):
        await log.record(an_event(count))


async def test_a_sink_gets_every_record_in_order_as_it_was_written(directory: Directory) -> None:
    sink = ScriptedSink()
    forwarder = forwarder_to(sink, directory.path)
    log = log_to(directory.path, forwarder)
    await log.open()
    await recorded(log, 5)
    await log.close()
    assert sink.got == [1, 2, 3, 4, 5, 6, 7]
    lines = b"".join(parcel.payload + b"\n" for parcel in sink.parcels)
    assert lines == next(directory.path.glob("audit-*")).read_bytes()


async def test_a_sink_that_is_away_delays_nobody_and_gets_everything_afterwards(directory: Directory) -> None:
    sink = ScriptedSink(down="HTTP 503")
    forwarder = forwarder_to(sink, directory.path)
    log = log_to(directory.path, forwarder)
    await log.open()
    await recorded(log, 300)
    while forwarder.fault is None:
        await recorded(log, 1)
    assert forwarder.failures
    written = len(records(directory))
    assert forwarder.behind == written
    assert await forwarder.ping() == f"HTTP 503; {written} records behind"
    sink.down = None
    await caught_up(forwarder)
    assert sink.got == [*range(1, written + 1)]
    assert await forwarder.ping() is None
    await log.close()


async def test_the_next_process_goes_on_where_the_last_one_stopped(directory: Directory) -> None:
    for _ in range(2):
        sink = ScriptedSink()
        log = log_to(directory.path, forwarder_to(sink, directory.path))
        await log.open()
        await recorded(log, 3)
        await log.close()
    assert sink.got == [6, 7, 8, 9, 10]


async def test_what_a_process_could_not_send_before_its_end_is_sent_by_the_next(directory: Directory) -> None:
    away = ScriptedSink(down="gone")
    log = log_to(directory.path, forwarder_to(away, directory.path))
    await log.open()
    await recorded(log, 3)
    await log.close()
    sink = ScriptedSink()
    forwarder = forwarder_to(sink, directory.path)
    log = log_to(directory.path, forwarder)
    await log.open()
    await caught_up(forwarder)
    await log.close()
    assert sink.got == [1, 2, 3, 4, 5, 6, 7]


async def test_what_had_not_settled_when_the_connection_broke_is_sent_again_in_order(directory: Directory) -> None:
    sink = ScriptedSink(settles_after=60)
    forwarder = forwarder_to(sink, directory.path)
    log = log_to(directory.path, forwarder)
    await log.open()
    await recorded(log, 2)
    await caught_up(forwarder)
    sink.down = "closed"
    await recorded(log, 1)
    while forwarder.fault is None:
        await recorded(log, 1)
    sink.down = None
    await caught_up(forwarder)
    last = len(records(directory))
    assert sink.got == [1, 2, 3, *range(1, last + 1)]
    await log.close()


async def test_a_goodbye_that_was_answered_makes_everything_certain(directory: Directory) -> None:
    sink = ScriptedSink(settles_after=60)
    log = log_to(directory.path, forwarder_to(sink, directory.path))
    await log.open()
    await log.close()
    (cursor,) = directory.path.glob("*.cursor")
    assert int(cursor.read_text()) == 2


async def test_a_record_that_the_sink_will_never_take_is_set_aside_with_an_alarm_and_the_others_arrive(
    directory: Directory,
) -> None:
    sink = ScriptedSink(refuses={7, 33})
    sink.lets_go.clear()
    forwarder = forwarder_to(sink, directory.path)
    log = log_to(directory.path, forwarder)
    await log.open()
    await recorded(log, 50)
    sink.lets_go.set()
    await caught_up(forwarder)
    await log.close()
    last = len(records(directory))
    assert sink.got == [number for number in range(1, last + 1) if number not in (7, 33)]
    assert forwarder.set_aside == 2
    alarms = [record for record in records(directory) if record["event"] == "alert"]
    assert {alarm["reason"] for alarm in alarms} == {"sink_records_refused"}
    assert all(alarm["sink"] == "siem" for alarm in alarms)
    told = " ".join(str(alarm["why"]) for alarm in alarms)
    assert "records 7 of" in told
    assert "33 of" in told


async def test_more_records_than_a_batch_that_no_receiver_takes_hold_nobody_up(directory: Directory) -> None:
    """Somebody who chooses what is in their records can have any number of them."""
    sink = ScriptedSink(refuses={*range(3, 253)})
    forwarder = forwarder_to(sink, directory.path)
    log = log_to(directory.path, forwarder)
    await log.open()
    await recorded(log, 1)
    await caught_up(forwarder)
    await recorded(log, 250)
    await caught_up(forwarder)
    await recorded(log, 1)
    await caught_up(forwarder)
    await log.close()
    last = len(records(directory))
    assert list(dict.fromkeys(sink.got)) == [1, 2, *range(253, last + 1)]
    assert forwarder.set_aside == 250


async def test_the_last_record_of_all_that_is_refused_is_set_aside_without_one_behind_it(directory: Directory) -> None:
    sink = ScriptedSink(refuses={3, 4})
    forwarder = forwarder_to(sink, directory.path)
    log = log_to(directory.path, forwarder)
    await log.open()
    await recorded(log, 1)
    await caught_up(forwarder)
    await recorded(log, 1)
    await caught_up(forwarder)
    assert forwarder.set_aside >= 1
    assert forwarder.fault is None
    await log.close()


async def test_a_required_sink_is_not_believed_that_it_is_well_because_it_takes_what_it_has(
    directory: Directory,
) -> None:
    sink = ScriptedSink(refuses={*range(3, 1000)})
    forwarder = forwarder_to(sink, directory.path, required=True)
    log = log_to(directory.path, forwarder)
    await log.open()
    await recorded(log, 1)
    for _ in range(3):
        with pytest.raises(AuditUnavailable):
            await recorded(log, 1)
    assert forwarder.set_aside == 0
    assert "refuses record 3" in str(forwarder.fault)
    await log.close()


@pytest.mark.parametrize("took", [0, 1])
async def test_a_sink_that_refuses_everything_is_down_and_no_record_is_set_aside(
    directory: Directory, took: int
) -> None:
    sink = ScriptedSink(most=1000 if took else 0)
    forwarder = forwarder_to(sink, directory.path)
    log = log_to(directory.path, forwarder)
    await log.open()
    if took:
        await caught_up(forwarder)
        sink.most = 0
    while forwarder.fault is None:
        await recorded(log, 1)
    assert f"refuses record {took + 1} " in forwarder.fault
    assert forwarder.set_aside == 0
    sink.most = 1
    await caught_up(forwarder)
    assert list(dict.fromkeys(sink.got)) == [*range(1, len(records(directory)) + 1)]
    await log.close()


async def test_segments_that_were_renamed_are_read_in_their_order(directory: Directory) -> None:
    sink = ScriptedSink(down="gone")
    forwarder = forwarder_to(sink, directory.path)
    log = log_to(directory.path, forwarder)
    await log.open()
    for number in range(3):
        await recorded(log, 2)
        path = next(directory.path.glob("audit-*.jsonl"))
        path.rename(path.with_name(f"{path.name}.{number}"))
    await recorded(log, 1)
    sink.down = None
    await caught_up(forwarder)
    assert sink.got == [*range(1, 9)]
    # And while it keeps up.
    path = next(directory.path.glob("audit-*.jsonl"))
    path.rename(path.with_name(f"{path.name}.9"))
    await recorded(log, 2)
    await caught_up(forwarder)
    assert sink.got == [*range(1, 11)]
    await log.close()


async def test_segments_that_the_log_closed_are_read_in_their_order(
    directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "_SEGMENT_BYTES", 4000)
    sink = ScriptedSink()
    forwarder = forwarder_to(sink, directory.path)
    log = log_to(directory.path, forwarder)
    await log.open()
    for down in ("gone", None):
        sink.down = down
        for _ in range(5):
            await recorded(log, 5)
            await log.checkpoint()
        sink.down = None
        await caught_up(forwarder)
    await log.close()
    assert len(list(directory.path.glob("audit-*.jsonl"))) > 5
    assert sink.got == [*range(1, len(records(directory)) + 1)]


async def test_records_that_were_taken_away_unsent_are_an_alarm_and_the_rest_goes_on(directory: Directory) -> None:
    sink = ScriptedSink(down="gone")
    forwarder = forwarder_to(sink, directory.path)
    log = log_to(directory.path, forwarder)
    await log.open()
    await recorded(log, 4)
    path = next(directory.path.glob("audit-*.jsonl"))
    path.unlink()
    await recorded(log, 2)
    sink.down = None
    await caught_up(forwarder)
    await log.close()
    assert sink.got[0] == 6
    assert sink.got == [*range(6, len(sink.got) + 6)]
    alarms = [str(record["why"]) for record in records(directory) if record["reason"] == "sink_records_missing"]
    # The sink may be looking while the file goes: then it is told twice, or in parts.
    missing = [re.findall(r"Records? ([0-9]+)(?: to ([0-9]+))? of", why) for why in alarms]
    told = {number for [(first, last)] in missing for number in range(int(first), int(last or first) + 1)}
    assert told == {1, 2, 3, 4, 5}, alarms


async def test_a_log_that_was_begun_anew_is_sent_from_its_first_record(directory: Directory) -> None:
    log = log_to(directory.path, forwarder_to(ScriptedSink(), directory.path))
    await log.open()
    await recorded(log, 50)
    await log.close()
    for path in [*directory.path.glob("audit-*"), *directory.path.glob("checkpoints-*")]:
        path.unlink()
    sink = ScriptedSink()
    forwarder = forwarder_to(sink, directory.path)
    log = log_to(directory.path, forwarder)
    await log.open()
    await caught_up(forwarder)
    await log.close()
    assert sink.got == [*range(1, len(sink.got) + 1)]
    assert len(sink.got) >= 2


async def test_records_of_a_process_that_is_gone_for_good_are_sent_by_another(directory: Directory) -> None:
    first = log_to(directory.path)
    second = log_to(directory.path)
    await first.open()
    await second.open()
    await recorded(second, 3)
    for log in (first, second):
        await log.close()
    sink = ScriptedSink()
    forwarder = forwarder_to(sink, directory.path)
    log = log_to(directory.path, forwarder)
    await log.open()
    while len(sink.got) < 8:
        await recorded(log, 1)
    await log.close()
    of_second = [parcel.seq for parcel in sink.parcels if parcel.instance.endswith("-2")]
    assert of_second == [1, 2, 3, 4, 5]


async def test_a_cursor_is_one_processes_at_a_time_and_no_record_file(directory: Directory) -> None:
    spool = Spool.claim(directory=directory.path, sink="siem", instance="host-1")
    assert spool is not None
    assert Spool.claim(directory=directory.path, sink="siem", instance="host-1") is None
    spool.save(77)
    spool.close()
    assert directory.verify().findings == []
    again = Spool.claim(directory=directory.path, sink="siem", instance="host-1")
    assert again is not None
    assert again.sent == 77
    again.close()


@pytest.mark.parametrize("content", [b"", b"77\n", b"{}", b"x" * 21])
async def test_a_cursor_that_somebody_spoilt_sends_everything_once_more(directory: Directory, content: bytes) -> None:
    (directory.path / "sink-siem-host-1.cursor").write_bytes(content)
    spool = Spool.claim(directory=Path(directory.path), sink="siem", instance="host-1")
    assert spool is not None
    assert spool.sent == 0
    spool.close()
