"""Audit events as Prometheus metrics. Labels are bounded: outcomes, reasons and role names, never a principal.

What is in no event is read when somebody asks: whoever knows a number gives it a name with one line, ``gauge``, ``counter`` or
``of_each``, or takes a ``tally`` to count by itself. docs/metrics.md says what each means, and a test that it says all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from broker.audit.event import Event, Kind
from broker.watch.anomaly.finding import Kind as Alert
from broker.watch.families import Counts, Read, Spread

# Seconds. An accept takes a tenth of a millisecond, a chain of two hops some tenths of a second, a record on a good disk one.
_SPNEGO_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05)
_STS_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0)
_AUDIT_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 0.5, 0.8)
_HTTP_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_REMAINING_BUCKETS = (900, 1200, 1800, 2700, 3600, 7200, 14_400, 28_800, 43_200)

# Of 1. From three quarters on a longer name may be one too long.
_PACKED_BUCKETS = (0.1, 0.25, 0.5, 0.75, 0.9, 1.0)

_RELOADS = frozenset({Kind.RELOAD, Kind.CONFIG_RELOADED, Kind.CONFIG_REFUSED})


class Tally(Protocol):
    """Counts one more, by the values of its labels."""

    def __call__(self, *values: str, by: float = 1.0) -> None:
        """``values`` in the order of the labels."""


class Metrics:
    """An observer of the audit log, and the text that Prometheus reads."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        # Requests for credentials, whatever became of them.
        self.asked = 0
        self._requests = self.tally(
            "broker_credential_requests", "Requests for credentials, by outcome", "outcome", "reason", "role"
        )
        self._attempts = self.tally(
            "broker_attempts", "What was attempted of all kinds, and put on record", "action", "outcome"
        )
        self._records = self.tally("broker_audit_records", "Records that are on the disk, by event", "event")
        self._cache = self.tally("broker_cache_requests", "Credentials handed out, by where they came from", "result")
        self._sts_errors = self.tally(
            "broker_sts_errors",
            "Calls to STS that gave no credentials, by region; without one: chains for which none was asked in time",
            "region",
            "reason",
        )
        self._notifications = self.tally(
            "broker_notifications", "Notifications that were delivered or given up", "channel", "outcome"
        )
        self._secrets = self.tally("broker_secret_requests", "Requests for secrets, by outcome", "action", "outcome")
        self._alerts = self.tally("broker_watch_alerts", "Alerts of the watch, by kind", "kind")
        for kind in Alert:
            # One is enough to be told of, and a rate needs a nought to rise from.
            self._alerts(kind, by=0.0)
        self._reloads = self.tally("broker_reloads", "Changed files that were taken over, or not", "of", "outcome")
        self._reloaded = 0.0
        self.gauge(
            "broker_config_last_reload_success_timestamp_seconds",
            "When the configuration in force was taken over: at the start, or at the last reload that changed something",
            lambda: self._reloaded,
        )
        self._measures = {
            "spnego": self._spread("broker_spnego_seconds", "Time to accept a token", bounds=_SPNEGO_BUCKETS),
            "sts": self._spread("broker_sts_request_seconds", "Time to walk a role chain", bounds=_STS_BUCKETS),
            "audit": self._spread(
                "broker_audit_write_seconds", "Time until a record was on the disk", bounds=_AUDIT_BUCKETS
            ),
            "packed": self._spread(
                "broker_sts_packed_policy_ratio",
                "How much of AWS's room for session tags and policies a new session takes",
                bounds=_PACKED_BUCKETS,
            ),
        }
        self._remaining = self._spread(
            "broker_credentials_remaining_seconds",
            "Life left in credentials when they are handed out",
            bounds=_REMAINING_BUCKETS,
        )
        self._answers = self.tally("broker_http_responses", "Answers, by route and status", "route", "status")
        self._answer_times = self._spread(
            "broker_http_response_seconds",
            "Time from a request's head to its answer, by route",
            "route",
            bounds=_HTTP_BUCKETS,
        )
        self._breakers: dict[str, Callable[[], bool]] = {}
        self.of_each(
            "broker_redis_breaker_open",
            "Whether Redis is left alone after it failed, by what it is used for",
            "use",
            lambda: {use: float(is_open()) for use, is_open in self._breakers.items()},
        )

    # ---- for whoever knows something ----

    def gauge(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Add a metric that is read when asked for."""
        self.add(Read(GaugeMetricFamily, name, text, None, lambda: {"": value()}))

    def counter(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Add a count that somebody else keeps; Prometheus sees it as ``NAME_total``."""
        self.add(Read(CounterMetricFamily, name, text, None, lambda: {"": value()}))

    def of_each(
        self, name: str, text: str, label: str, values: Callable[[], Mapping[str, float]], *, counts: bool = False
    ) -> None:
        """Add one that has a value for each of a few names; as ``counter`` where it ``counts``, else as ``gauge``."""
        self.add(Read(CounterMetricFamily if counts else GaugeMetricFamily, name, text, label, values))

    def tally(self, name: str, text: str, *labels: str) -> Tally:
        """Add a count that is kept here, and what adds to it. The values of its labels must be few, and nobody's but ours."""
        counts = Counts(name, text, *labels)
        self.add(counts)
        return counts.add

    def breaker(self, use: str, is_open: Callable[[], bool]) -> None:
        """Say how to find out whether Redis is left alone in one of its uses."""
        self._breakers[use] = is_open

    def add(self, collector: Collector) -> None:
        """Add families of somebody else's making."""
        self._registry.register(collector)

    # ---- what happens ----

    def sts_failed(self, region: str, reason: str) -> None:
        """Count a call to STS: a failure that another region makes good is in no audit event."""
        self._sts_errors(region, reason)

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count an answer: what is refused before anybody attempted anything, or could not be recorded, is in no event."""
        self._answers(route, str(status))
        self._answer_times(seconds, route)

    def observe(self, event: Event) -> None:
        """Fold one recorded event in."""
        self._records(event.kind)
        for name, value in event.measures.items():
            if name in self._measures:
                self._measures[name](value)
        if event.kind in (Kind.NOTIFIED, Kind.NOT_NOTIFIED):
            outcome = "delivered" if event.kind is Kind.NOTIFIED else event.reason or ""
            self._notifications(event.resource, outcome, by=event.details.get("dropped", 1))
            return
        if event.kind is Kind.ALERT and event.details.get("cause") == "watch":
            self._alerts(event.reason or "")
        if event.kind in _RELOADS or event.kind is Kind.START:
            self._taken_over(event)
        if event.kind is Kind.INTENT:
            return
        outcome = "done" if event.success else "refused"
        if event.request_id is not None:
            # The actions are the doors' own words, never the client's.
            self._attempts(event.action, outcome)
        if event.kind is Kind.SECRET:
            self._secrets(event.action, outcome)
        if event.action == "get_credentials":
            self._credentials(event)

    def _credentials(self, event: Event) -> None:
        # A client may ask for any name: only a role that was given becomes a label.
        role = event.role if event.success and event.role else ""
        self._requests(event.kind, event.reason or "", role)
        self.asked += 1
        if event.origin is not None:
            self._cache("hit" if event.origin == "cache" else "miss")
        if event.expiration is not None and event.timestamp is not None:
            self._remaining((event.expiration - event.timestamp).total_seconds())

    def _taken_over(self, event: Event) -> None:
        is_config = event.kind is not Kind.RELOAD
        if event.kind is not Kind.START:
            self._reloads("config" if is_config else event.resource, "done" if event.success else "refused")
        if is_config and event.success and event.timestamp is not None:
            self._reloaded = event.timestamp.timestamp()

    def text(self) -> bytes:
        """Prometheus text format."""
        return generate_latest(self._registry)

    def _spread(self, name: str, text: str, *labels: str, bounds: tuple[float, ...]) -> Callable[..., None]:
        spread = Spread(name, text, *labels, bounds=bounds)
        self.add(spread)
        return spread.add
