"""Audit events as Prometheus metrics. Labels are bounded: outcomes, reasons and role names, never a principal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from broker.audit.event import Event, Kind

# Seconds. An accept takes a tenth of a millisecond, a chain of two hops some tenths of a second.
_SPNEGO_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05)
_STS_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0)

# Of 1. From three quarters on a longer name may be one too long.
_PACKED_BUCKETS = (0.1, 0.25, 0.5, 0.75, 0.9, 1.0)


class _Count(Collector):
    def __init__(self, name: str, text: str, value: Callable[[], float]) -> None:
        self._name, self._text, self._value = name, text, value

    def collect(self) -> Iterator[CounterMetricFamily]:
        yield CounterMetricFamily(self._name, self._text, value=self._value())


class _OfEach(Collector):
    """A value for each of what assembly knows by name, under one label."""

    def __init__(
        self,
        family: type[CounterMetricFamily | GaugeMetricFamily],
        name: str,
        text: str,
        label: str,
        values: Callable[[], Mapping[str, float]],
    ) -> None:
        self._family, self._name, self._text, self._label, self._values = family, name, text, label, values

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        found = self._family(self._name, self._text, labels=[self._label])
        for name, value in self._values().items():
            found.add_metric([name], value)
        yield found


class Metrics:
    """An observer of the audit log, and the text that Prometheus reads."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self._requests = Counter(
            "broker_credential_requests",
            "Requests for credentials, by outcome",
            ["outcome", "reason", "role"],
            registry=registry,
        )
        self._cache = Counter(
            "broker_cache_requests", "Credentials handed out, by where they came from", ["result"], registry=registry
        )
        self._spnego = Histogram(
            "broker_spnego_seconds", "Time to accept a token", registry=registry, buckets=_SPNEGO_BUCKETS
        )
        self._sts = Histogram(
            "broker_sts_request_seconds", "Time to walk a role chain", registry=registry, buckets=_STS_BUCKETS
        )
        self._packed = Histogram(
            "broker_sts_packed_policy_ratio",
            "How much of AWS's room for session tags and policies a new session takes",
            registry=registry,
            buckets=_PACKED_BUCKETS,
        )
        self._sts_errors = Counter(
            "broker_sts_errors",
            "Calls to STS that gave no credentials, by region; without one: chains for which none was asked in time",
            ["region", "reason"],
            registry=registry,
        )
        self._notifications = Counter(
            "broker_notifications",
            "Notifications that were delivered or given up",
            ["channel", "outcome"],
            registry=registry,
        )
        self._secrets = Counter(
            "broker_secret_requests", "Requests for secrets, by outcome", ["action", "outcome"], registry=registry
        )
        self._alerts = Counter("broker_watch_alerts", "Alerts of the watch, by kind", ["kind"], registry=registry)
        self._remaining = Histogram(
            "broker_credentials_remaining_seconds",
            "Life left in credentials when they are handed out",
            registry=registry,
            buckets=(900, 1200, 1800, 2700, 3600, 7200, 14_400, 28_800, 43_200),
        )

    def gauge(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Add a metric that is read when asked for."""
        Gauge(name, text, registry=self._registry).set_function(value)

    def counter(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Add a count that somebody else keeps; Prometheus sees it as ``NAME_total``."""
        self._registry.register(_Count(name, text, value))

    def of_each(
        self, name: str, text: str, label: str, values: Callable[[], Mapping[str, float]], *, counts: bool = False
    ) -> None:
        """Add one that has a value for each of a few names; as ``counter`` where it ``counts``, else as ``gauge``."""
        family = CounterMetricFamily if counts else GaugeMetricFamily
        self._registry.register(_OfEach(family, name, text, label, values))

    def sts_failed(self, region: str, reason: str) -> None:
        """Count a call to STS: a failure that another region makes good is in no audit event."""
        self._sts_errors.labels(region=region, reason=reason).inc()

    def observe(self, event: Event) -> None:
        """Fold one recorded event in."""
        for name, histogram in (("spnego", self._spnego), ("sts", self._sts), ("packed", self._packed)):
            if name in event.measures:
                histogram.observe(event.measures[name])
        if event.kind in (Kind.NOTIFIED, Kind.NOT_NOTIFIED):
            outcome = "delivered" if event.kind is Kind.NOTIFIED else event.reason or ""
            self._notifications.labels(channel=event.resource, outcome=outcome).inc(event.details.get("dropped", 1))
            return
        if event.kind is Kind.ALERT and event.details.get("cause") == "watch":
            self._alerts.labels(kind=event.reason).inc()
        if event.kind is Kind.SECRET:
            # The actions are the doors' own words, never the client's.
            self._secrets.labels(action=event.action, outcome="done" if event.success else "refused").inc()
        if event.action != "get_credentials" or event.kind is Kind.INTENT:
            return
        # A client may ask for any name: only a role that was given becomes a label.
        role = event.role if event.success and event.role else ""
        self._requests.labels(outcome=event.kind.value, reason=event.reason or "", role=role).inc()
        if event.origin is not None:
            self._cache.labels(result="hit" if event.origin == "cache" else "miss").inc()
        if event.expiration is not None and event.timestamp is not None:
            self._remaining.observe((event.expiration - event.timestamp).total_seconds())

    def text(self) -> bytes:
        """Prometheus text format."""
        return generate_latest(self._registry)
