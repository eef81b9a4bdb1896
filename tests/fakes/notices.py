"""Notices and events as the tests of notification need them."""

from __future__ import annotations

from datetime import timedelta

from broker.audit.alert import Severity, alert
from broker.audit.event import Event
from broker.core.principal import Principal
from broker.watch.notice import Notice, notice_of
from tests.fakes.audit import NOON

ALICE = Principal(("alice",), "EXAMPLE.COM")
ROOT = Principal(("root", "admin"), "EXAMPLE.COM")


def recorded(event: Event, seq: int = 7) -> Event:
    """As the log hands it to its observers."""
    event.timestamp, event.instance, event.seq = NOON + timedelta(seconds=seq), "broker-1", seq
    return event


def alarm(
    seq: int = 7,
    *,
    name: str = "impossible_travel",
    about: Principal | None = ALICE,
    severity: Severity = Severity.HIGH,
    why: tuple[str, ...] = ("Berlin and Sydney are 16,090 km apart.", "No airplane does that in 9 minutes."),
) -> Event:
    """An alarm of the watch, recorded."""
    event = alert(
        name,
        severity=severity,
        why=why,
        about=about,
        role="developer",
        source_ip="203.0.113.9",
        request_id="6f1e2d",
        cause="watch",
    )
    return recorded(event, seq)


def notice(seq: int = 7, **wanted: object) -> Notice:
    """Of such an alarm."""
    found = notice_of(alarm(seq, **wanted))  # type: ignore[arg-type]
    assert found is not None
    return found
