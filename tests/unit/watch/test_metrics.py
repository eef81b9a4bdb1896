"""What is counted of events, and that nobody from outside can make the counting grow."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from broker.audit.event import Event, Kind
from broker.watch.families import Counts, Spread
from broker.watch.metrics import Metrics
from broker.watch.process import add_process
from tests.fakes.cache import MovedClock

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def lines(metrics: Metrics, name: str) -> list[str]:
    return [line for line in metrics.text().decode().splitlines() if line.startswith(name)]


def asked(**members: object) -> Event:
    found = {"action": "get_credentials", "resource": "developer", "request_id": "1", "timestamp": NOW} | members
    return Event(**found)  # type: ignore[arg-type]


def test_a_histogram_counts_each_value_in_every_bucket_that_holds_it() -> None:
    spread = Spread("seconds", "How long", bounds=(0.1, 1.0))
    for value in (0.1, 0.2, 5.0):
        spread.add(value)
    (family,) = spread.collect()
    found = {(sample.name, sample.labels.get("le")): sample.value for sample in family.samples}
    assert found == {
        ("seconds_bucket", "0.1"): 1,
        ("seconds_bucket", "1.0"): 2,
        ("seconds_bucket", "+Inf"): 3,
        ("seconds_count", None): 3,
        ("seconds_sum", None): pytest.approx(5.3),
    }


def test_a_count_without_labels_is_there_before_anything_is_counted() -> None:
    (family,) = Counts("things", "How many").collect()
    assert [(sample.name, sample.value) for sample in family.samples] == [("things_total", 0)]


def test_credentials_are_counted_by_outcome_with_the_role_only_where_it_was_given() -> None:
    metrics = Metrics()
    given = asked(role="developer", kind=Kind.ISSUED, success=True, reason=None, origin="cache")
    given.expiration = NOW + timedelta(minutes=50)
    given.measures["audit"] = 0.004
    for event in (given, asked(role="made-up", reason="access_denied"), asked(kind=Kind.INTENT, success=True)):
        metrics.observe(event)
    assert lines(metrics, "broker_credential_requests_total") == [
        'broker_credential_requests_total{outcome="issued",reason="",role="developer"} 1.0',
        'broker_credential_requests_total{outcome="refused",reason="access_denied",role=""} 1.0',
    ]
    assert lines(metrics, "broker_cache_requests_total") == ['broker_cache_requests_total{result="hit"} 1.0']
    assert 'broker_credentials_remaining_seconds_bucket{le="3600.0"} 1.0' in metrics.text().decode()
    assert 'broker_audit_write_seconds_bucket{le="0.005"} 1.0' in metrics.text().decode()
    assert lines(metrics, "broker_attempts_total") == [
        'broker_attempts_total{action="get_credentials",outcome="done"} 1.0',
        'broker_attempts_total{action="get_credentials",outcome="refused"} 1.0',
    ]
    assert 'broker_audit_records_total{event="intent"} 1.0' in metrics.text().decode()


def test_nothing_that_a_client_chooses_makes_a_series() -> None:
    """Names of roles, paths of secrets, addresses, request ids, tags, reasons that people state."""
    metrics = Metrics()
    metrics.observe(asked(reason="access_denied"))
    metrics.observe(Event.of_secret(action="read", path="a", request_id="1", source_ip="10.0.0.1"))
    before = len(metrics.text().splitlines())
    for number in range(500):
        event = asked(reason="access_denied", role=f"r{number}", resource=f"r{number}", request_id=str(number))
        event.source_ip, event.details["stated_reason"] = f"10.0.0.{number}", f"because {number}"
        metrics.observe(event)
        path = f"p{number}"
        metrics.observe(Event.of_secret(action="read", path=path, request_id=path, source_ip=f"10.1.0.{number}"))
    assert len(metrics.text().splitlines()) == before


def test_when_the_configuration_in_force_was_taken_over_is_known_and_a_refusal_does_not_change_it() -> None:
    metrics = Metrics()

    def since(metrics: Metrics) -> datetime:
        (line,) = lines(metrics, "broker_config_last_reload_success_timestamp_seconds")
        return datetime.fromtimestamp(float(line.split()[-1]), UTC)

    def observe(kind: Kind, minutes: int, *, success: bool) -> None:
        moment = NOW + timedelta(minutes=minutes)
        metrics.observe(Event(action="reload", resource="config", kind=kind, success=success, timestamp=moment))

    observe(Kind.START, 0, success=True)
    assert since(metrics) == NOW
    observe(Kind.CONFIG_RELOADED, 1, success=True)
    observe(Kind.CONFIG_REFUSED, 2, success=False)
    assert since(metrics) == NOW + timedelta(minutes=1)
    assert lines(metrics, "broker_reloads_total") == [
        'broker_reloads_total{of="config",outcome="done"} 1.0',
        'broker_reloads_total{of="config",outcome="refused"} 1.0',
    ]


def test_the_process_says_of_itself_what_every_exporter_says_without_the_proc_stat_that_systemd_hides() -> None:
    metrics = Metrics()
    add_process(metrics, clock=MovedClock())
    found = {line.split("{")[0].split(" ")[0] for line in metrics.text().decode().splitlines() if line[0] != "#"}
    assert found >= {
        "broker_build_info",
        "process_cpu_seconds_total",
        "process_max_fds",
        "process_open_fds",
        "process_resident_memory_bytes",
        "process_start_time_seconds",
        "process_virtual_memory_bytes",
    }


def test_others_add_their_numbers_with_one_line_each() -> None:
    metrics = Metrics()
    metrics.gauge("broker_a", "A", lambda: 1.0)
    metrics.counter("broker_b", "B", lambda: 2.0)
    metrics.of_each("broker_c", "C", "of", lambda: {"x": 3.0}, counts=True)
    metrics.tally("broker_d", "D", "use")("cache")
    metrics.breaker("cache", lambda: True)
    text = metrics.text().decode().splitlines()
    assert "broker_a 1.0" in text
    assert "broker_b_total 2.0" in text
    assert 'broker_c_total{of="x"} 3.0' in text
    assert 'broker_d_total{use="cache"} 1.0' in text
    assert 'broker_redis_breaker_open{use="cache"} 1.0' in text
