"""Traces of what was attempted: a fold over audit events, sent to a collector by OpenTelemetry's own exporter.

A span holds what a metric may have as a label, and the request id, which leads to the record. Never a name, an address, a path, a
token or a key: what may stand in a span is listed here, and nothing else does. Events come when their record is on the disk, so
nobody waits for a trace: a queue of bounded length and a thread of the exporter's own lie between. What has no room is dropped.

A ``traceparent`` (W3C Trace Context) becomes a link, never the parent: anybody can send one, and a stranger must neither join our
traces to theirs nor decide which of ours are kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import ssl
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import requests
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, Tracer

from broker import __version__
from broker.audit.event import Event, Kind
from broker.core.clock import Clock
from broker.core.workers import Workers
from broker.watch.metrics import Metrics

# A request has some eight spans; this is a quarter of a minute of a busy instance, and some megabytes.
_QUEUE = 8192
_EXPORT_WITHIN = timedelta(seconds=5)
# At the end: what a collector that is there takes in time. A hung one costs the drain no more.
_FLUSH_WITHIN = timedelta(seconds=1)
_NANO = 1_000_000_000

# W3C Trace Context, section 3.2.2; version 00 and nothing behind it.
_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")


class _Unread(requests.Session):
    """Of an answer the head alone is taken: a body may never end, and nothing in it is asked for."""

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        options["stream"] = True
        answer = super().send(request, **options)
        answer.close()
        if answer.is_redirect:
            # The library takes it for a success.
            raise requests.TooManyRedirects("a collector that sends us elsewhere has taken nothing")
        return answer


class _Counted(SpanExporter):
    """Says how it went. The library would write a line for each failure into the log; a collector that is away is a number."""

    def __init__(self, exporter: OTLPSpanExporter) -> None:
        self._exporter = exporter
        self.sent = 0
        self.failed = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = SpanExportResult.FAILURE
        with contextlib.suppress(Exception):
            result = self._exporter.export(spans)
        if result is SpanExportResult.SUCCESS:
            self.sent += len(spans)
        else:
            self.failed += len(spans)
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()  # type: ignore[no-untyped-call]


class Traces:
    """An observer of the audit log."""

    def __init__(self, *, endpoint: str, metrics: Metrics, clock: Clock) -> None:
        """Send to ``endpoint``; nothing is connected yet."""
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        self._clock = clock
        session, paths = _Unread(), ssl.get_default_verify_paths()
        # Neither a proxy nor a password of the environment's; and the system's certificates, as everywhere.
        session.trust_env = False
        exporter = OTLPSpanExporter(
            endpoint=endpoint,
            certificate_file=paths.cafile or paths.capath,
            timeout=_EXPORT_WITHIN.total_seconds(),
            session=session,
        )
        counted = _Counted(exporter)
        # Made by hand: what the library finds of the machine by itself (its name, its user, its command line) stays here.
        resource = Resource({"service.name": "zerotrust-broker", "service.version": __version__})
        self._provider = TracerProvider(sampler=ALWAYS_ON, resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(
            BatchSpanProcessor(counted, max_queue_size=_QUEUE, schedule_delay_millis=1000)
        )
        self._tracer: Tracer = self._provider.get_tracer("broker")
        metrics.of_each(
            "broker_trace_spans",
            "Spans that the collector took, or did not; what found no room in the queue is in neither",
            "outcome",
            lambda: {"sent": float(counted.sent), "failed": float(counted.failed)},
            counts=True,
        )

    def observe(self, event: Event) -> None:
        """One attempt, with its steps."""
        # An intent is a step of the attempt that it is of.
        if event.request_id is None or not event.steps or event.kind is Kind.INTENT:
            return
        # Steps are measured by a clock that nobody sets; this is where it stands by the calendar.
        offset = self._clock.now().timestamp() - time.perf_counter()
        begun = min(step.began for step in event.steps)
        ended = max(step.ended for step in event.steps)
        span = self._tracer.start_span(
            event.action,
            context=trace.set_span_in_context(trace.INVALID_SPAN),
            kind=SpanKind.SERVER,
            attributes=_said_of(event),
            links=_links(event.traceparent),
            start_time=int((begun + offset) * _NANO),
        )
        if not event.success:
            span.set_status(Status(StatusCode.ERROR, event.reason))
        inside = trace.set_span_in_context(span)
        for step in event.steps:
            child = self._tracer.start_span(step.name, context=inside, start_time=int((step.began + offset) * _NANO))
            child.end(int((step.ended + offset) * _NANO))
        span.end(int((ended + offset) * _NANO))

    async def close(self) -> None:
        """Send what is left, if the collector takes it now."""
        worker = Workers(name="traces", number=1)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FLUSH_WITHIN.total_seconds()):
                await worker.do(self._provider.shutdown)


def _said_of(event: Event) -> dict[str, str]:
    """All that a span may say."""
    said = {
        "broker.request_id": event.request_id,
        "broker.outcome": "done" if event.success else "refused",
        "broker.event": str(event.kind),
        "broker.reason": event.reason,
        "broker.origin": event.origin,
        # A client may ask for any name: only a role that was given is one of ours.
        "broker.role": event.role if event.success else None,
    }
    return {name: value for name, value in said.items() if value is not None}


def _links(traceparent: str | None) -> list[Link]:
    found = _TRACEPARENT.fullmatch(traceparent or "")
    if found is None:
        return []
    context = SpanContext(int(found[1], 16), int(found[2], 16), is_remote=True, trace_flags=TraceFlags(0))
    return [Link(context)] if context.is_valid else []
