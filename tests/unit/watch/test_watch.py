"""From an event to an alert on record, and to what follows it; and that whatever fails on the way reaches nobody's request."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from broker.audit.event import Event, Kind
from broker.audit.log import AuditLog
from broker.core.errors import AuditUnavailable, RevocationsUnavailable
from broker.keys.hierarchy import KeyHierarchy
from broker.revocation.epochs import Epochs
from broker.revocation.holds import Holds, Response
from broker.watch.anomaly.finding import Kind as Found
from broker.watch.detectors import Detectors
from broker.watch.metrics import Metrics
from broker.watch.places import Places
from broker.watch.queue import Queue
from broker.watch.states import InProcess
from broker.watch.watch import Watch
from tests.fakes.audit import SetClock, an_event
from tests.fakes.epochs import ledger_file
from tests.fakes.life import days

ALICE = "alice@EXAMPLE.COM"


class Log(AuditLog):
    """The observers of the real one, over a list in the place of a disk."""

    def __init__(self, observers: list[Callable[[Event], None]]) -> None:
        self._own = observers
        self.events: list[Event] = []
        self.is_broken = False

    async def record(self, event: Event) -> None:
        if self.is_broken:
            raise AuditUnavailable("no disk")
        event.timestamp = event.timestamp or SetClock().now()
        self.events.append(event)
        for observer in self._own:
            observer(event)

    @property
    def alerts(self) -> list[Event]:
        return [event for event in self.events if event.kind is Kind.ALERT]


class House:
    """A watch with its neighbours."""

    def __init__(self, directory: Path) -> None:
        self.clock = SetClock()
        self.queue, self.metrics, self.states = Queue(), Metrics(), InProcess()
        self.audit = Log([self.metrics.observe, self.queue.observe])
        self.epochs = Epochs(file=ledger_file(directory, KeyHierarchy(master=b"m" * 32)), spread=None, clock=self.clock)
        self.holds = Holds(epochs=self.epochs)
        self.respond = {Found.ENDED: Response.HOLD, Found.DENIALS: Response.STEP_UP}
        self.detectors = Detectors(states=self.states)
        self.watch = Watch(
            queue=self.queue,
            detectors=self.detectors,
            places=Places(None),
            respond=self.respond,
            holds=self.holds,
            kept=None,
            audit=self.audit,
        )

    async def refused(self, reason: str, *, number: int = 1) -> None:
        for _ in range(number):
            await self.audit.record(an_event(kind=Kind.REFUSED, success=False, reason=reason, role=None))
        await self.watch.look()


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    made = House(tmp_path)
    yield made
    made.epochs._worker.stop()


async def test_an_alert_is_a_record_that_says_who_why_and_what_followed(house: House) -> None:
    await house.refused("revoked")
    (event,) = house.audit.alerts
    assert (event.action, event.reason, event.success) == ("raise_alert", "reuse_of_revoked", False)
    assert (str(event.principal), event.source_ip, event.request_id) == (ALICE, "127.0.0.1", "request-1")
    assert event.details == {
        "severity": "medium",
        "why": [
            "Tried with what was revoked (revoked), once, from 127.0.0.0/24.",
            "Too little is known of their networks.",
        ],
        "cause": "watch",
        "response": "hold",
    }


async def test_the_metric_counts_alerts_by_kind_and_names_nobody(house: House) -> None:
    await house.refused("revoked")
    assert b'broker_watch_alerts_total{kind="reuse_of_revoked"} 1.0' in house.metrics.text()
    assert b"alice" not in house.metrics.text()


async def test_an_alert_is_no_reason_for_another(house: House) -> None:
    await house.refused("revoked")
    for _ in range(3):
        await house.watch.look()
    assert len(house.audit.alerts) == 1


async def test_what_follows_is_what_is_configured_for_the_kind(house: House) -> None:
    await house.refused("no_rule", number=61)
    (held,) = house.holds.listing()
    assert (held.user, held.response, held.by, held.in_force) == (
        ALICE,
        Response.STEP_UP,
        "watch: denial_burst",
        True,
    )
    house.respond.clear()
    await house.refused("revoked")
    assert [event.details["response"] for event in house.audit.alerts] == ["step_up", "none"]
    assert len(house.holds.listing()) == 1


async def test_an_alert_of_low_severity_holds_nobody(house: House) -> None:
    await house.refused("pass_cancelled")
    (event,) = house.audit.alerts
    assert (event.details["severity"], event.details["response"]) == ("low", "none")
    assert house.holds.listing() == []


async def test_an_alert_about_an_address_holds_nobody(house: House) -> None:
    house.respond[Found.SPRAYING] = Response.HOLD
    for number in range(12):
        principal = type(an_event().principal)((f"user{number}",), "R")
        await house.audit.record(
            an_event(
                kind=Kind.REFUSED,
                success=False,
                reason="no_rule",
                principal=principal,
                source_identity=f"user{number}@R",
            )
        )
    await house.watch.look()
    (event,) = house.audit.alerts
    assert (event.reason, event.principal, event.source_ip) == ("spraying", None, "127.0.0.1")
    assert house.holds.listing() == []


@pytest.mark.parametrize("reason", ["impersonated", "no_rule"])
async def test_nobody_is_held_for_what_a_service_or_machine_is_refused_in_their_name(house: House, reason: str) -> None:
    """One own refusal comes first: what others add to it in the same moment must not count for it."""
    await house.audit.record(an_event(kind=Kind.REFUSED, success=False, reason=reason, role=None))
    for _ in range(500):
        event = an_event(kind=Kind.REFUSED, success=False, reason=reason, role=None)
        event.details["impersonated_by"] = ["host/web.example.com@EXAMPLE.COM"]
        await house.audit.record(event)
    await house.watch.look()
    assert (house.audit.alerts, house.holds.listing()) == ([], [])


async def test_an_alert_that_cannot_be_recorded_holds_at_once_and_waits_for_the_log(house: House) -> None:
    await house.audit.record(an_event(kind=Kind.REFUSED, success=False, reason="revoked", role=None))
    house.audit.is_broken = True
    await house.watch.look()
    assert house.audit.alerts == []
    assert [held.in_force for held in house.holds.listing()] == [True]
    await house.watch.look()
    house.audit.is_broken = False
    await house.watch.look()
    await house.watch.look()
    assert [event.reason for event in house.audit.alerts] == ["reuse_of_revoked"]


async def test_a_hold_that_the_disk_does_not_take_counts_and_the_alert_is_recorded(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object, **__: object) -> object:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(house.epochs._file, "keep", full)
    await house.refused("revoked")
    assert len(house.audit.alerts) == 1
    assert house.epochs.suspicions(an_event().principal)  # type: ignore[arg-type]
    assert "not on the disk" in caplog.text


async def test_a_defect_in_here_is_said_once_and_ends_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def defect(_: object) -> object:
        raise ZeroDivisionError

    with monkeypatch.context() as broken:
        broken.setattr(house.detectors, "look", defect)
        await house.refused("revoked")
        await house.refused("revoked")
    assert caplog.text.count("watch: a defect") == 1
    await house.refused("revoked")
    assert len(house.audit.alerts) == 1


async def test_what_waits_at_the_end_is_looked_at_before_the_log_is_closed(house: House) -> None:
    await house.audit.record(an_event(kind=Kind.REFUSED, success=False, reason="revoked", role=None))
    await house.watch.close()
    assert len(house.audit.alerts) == 1


async def test_many_events_are_looked_at_in_turns_with_everybody_else(house: House) -> None:
    """A week of one person, as it comes after a disk that hung."""
    for each in days(30):
        await house.audit.record(an_event(source_ip=each.address, request_id=str(each.at), role=f"role{each.at % 7}"))
    await house.watch.look()
    assert house.audit.alerts == []


async def test_holds_raise_revocations_unavailable_to_those_who_must_know(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.refused("revoked")

    def full(*_: object, **__: object) -> object:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(house.epochs._file, "keep", full)
    with pytest.raises(RevocationsUnavailable):
        await house.holds.clear(ALICE, by="root/admin@R")
    assert [held.in_force for held in house.holds.listing()] == [True]
