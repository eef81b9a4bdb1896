"""Traces, where the configuration says where to; otherwise neither exporter nor tracing is loaded."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from broker.config.model import Settings
from broker.config.telemetry import Telemetry
from broker.core.clock import Clock
from broker.watch.metrics import Metrics

if TYPE_CHECKING:
    from broker.watch.traces import Traces


def traces_of(section: Telemetry, *, metrics: Metrics, clock: Clock) -> Traces | None:
    """What makes them."""
    if section.otlp_endpoint is None:
        return None
    from broker.watch.traces import Traces  # noqa: PLC0415  # an extra, and a tenth of a second to load

    return Traces(endpoint=section.otlp_endpoint, metrics=metrics, clock=clock)


def telemetry_problems(settings: Settings) -> list[str]:
    """What is missing to make them."""
    # The exporter needs the SDK, which needs the API.
    if settings.telemetry.otlp_endpoint is None or importlib.util.find_spec("opentelemetry") is not None:
        return []
    fix = "pip install 'zerotrust-kerberos-link[broker,otel]', or remove it"
    return [f"telemetry.otlp_endpoint: needs OpenTelemetry, which is not installed — fix: {fix}"]
