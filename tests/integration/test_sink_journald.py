"""Records in a real systemd-journald, read back with journalctl."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.audit.event import Kind
from broker.audit.sinks import journald
from broker.audit.sinks.journald import MESSAGE_ID, Journald
from broker.audit.sinks.parcel import SinkDown
from tests.fakes.audit import an_event
from tests.fakes.journal import Journal
from tests.fakes.records import parcel
from tests.fakes.scripted_sink import caught_up, forwarder_to, log_to
from tests.fakes.until import until


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path) as journal:
        yield journal


async def test_every_member_is_a_field_that_journalctl_can_search(journal: Journal) -> None:
    sink = Journald(path=journal.socket)
    refused = parcel(8, kind=Kind.REFUSED, success=False, reason="no_rule", payload=b'{"seq":8}')
    await sink.send([parcel(7, payload=b'{"seq":7}'), refused])
    await sink.close()
    await until(lambda: len(journal.entries(f"MESSAGE_ID={MESSAGE_ID}")) == 2)
    (entry,) = journal.entries("ZEROTRUST_USER=alice@EXAMPLE.COM", "ZEROTRUST_EVENT=issued")
    wanted = {
        "MESSAGE": "issued: alice@EXAMPLE.COM get_credentials developer",
        "PRIORITY": "6",
        "SYSLOG_IDENTIFIER": "zerotrust-broker",
        "ZEROTRUST_SEQ": "7",
        "ZEROTRUST_INSTANCE": "db-1.example.com-1",
        "ZEROTRUST_SUCCESS": "true",
        "ZEROTRUST_ROLE": "developer",
        "ZEROTRUST_ACCESS_KEY_ID": "ASIAEXAMPLE000000001",
        "ZEROTRUST_RECORD": '{"seq":7}',
    }
    assert {name: entry[name] for name in wanted} == wanted
    (entry,) = journal.entries("ZEROTRUST_REASON=no_rule", "PRIORITY=4")
    assert entry["ZEROTRUST_SUCCESS"] == "false"


async def test_a_line_feed_in_a_value_begins_no_field_of_somebodys_choice(journal: Journal) -> None:
    sink = Journald(path=journal.socket)
    forged = "developer\nPRIORITY=0\nZEROTRUST_USER=root/admin@EXAMPLE.COM"
    await sink.send([parcel(1, resource=forged, payload=f"x\n{forged}".encode())])
    await sink.close()
    await until(lambda: bool(journal.entries("ZEROTRUST_SEQ=1")))
    (entry,) = journal.entries("ZEROTRUST_SEQ=1")
    assert (entry["PRIORITY"], entry["ZEROTRUST_USER"]) == ("6", "alice@EXAMPLE.COM")
    assert (entry["ZEROTRUST_RESOURCE"], entry["ZEROTRUST_RECORD"]) == (forged, f"x\n{forged}")


async def test_a_record_that_is_too_long_for_a_datagram_arrives_whole(journal: Journal) -> None:
    sink = Journald(path=journal.socket)
    long = b'{"long":"' + b"x" * 700_000 + b'"}'
    await sink.send([parcel(1, payload=long), parcel(2)])
    await sink.close()
    await until(lambda: bool(journal.entries("ZEROTRUST_SEQ=2")))
    (entry,) = journal.entries("ZEROTRUST_SEQ=1")
    assert entry["ZEROTRUST_RECORD"].encode() == long


async def test_a_journald_that_is_restarted_or_hangs_misses_nothing(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journald, "_SECONDS", 0.3)
    directory = tmp_path / "audit"
    forwarder = forwarder_to(Journald(path=journal.socket), directory)
    log = log_to(directory, forwarder)
    await log.open()
    await caught_up(forwarder)
    journal.stop()
    for number in range(10):
        await log.record(an_event(number))
    await until(lambda: forwarder.fault is not None)
    assert "does not take records" in (forwarder.fault or "")
    journal.start()
    await caught_up(forwarder)
    journal.freeze()
    recorded = 11
    while forwarder.fault is None:
        await log.record(an_event())
        recorded += 1
    assert "queue is full" in forwarder.fault
    journal.thaw()
    await caught_up(forwarder)
    await log.close()
    await until(lambda: bool(journal.entries(f"ZEROTRUST_SEQ={recorded + 1}")))
    found = [json.loads(entry["ZEROTRUST_RECORD"])["seq"] for entry in journal.entries(f"MESSAGE_ID={MESSAGE_ID}")]
    assert list(dict.fromkeys(found)) == [*range(1, recorded + 2)]


async def test_where_there_is_no_journald_the_fault_says_so(tmp_path: Path) -> None:
    sink = Journald(path=tmp_path / "nowhere")
    with pytest.raises(SinkDown, match="No such file"):
        await sink.send([parcel(1)])
    await sink.close()
