"""Collectors of traces that mean no good: one whose answer never ends, one that sends us to somebody else."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator

import pytest

from broker.audit.event import Event, Kind, Step
from broker.core.clock import SystemClock
from broker.watch.metrics import Metrics
from broker.watch.traces import Traces
from tests.fakes.until import eventually

CHUNK = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
# More than lies on the way in sockets' buffers; all of it would be read by who waits for the end.
MUCH = 64 * 1024 * 1024


class Collector:
    """``answers`` with a status, headers, and a body without an end where that is asked for."""

    def __init__(self, status: int, *, location: str = "", is_endless: bool = False) -> None:
        self.asked = 0
        self.written = 0
        self.hung_up = threading.Event()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                outer.asked += 1
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(status)
                if location:
                    self.send_header("Location", location)
                self.send_header(*(("Transfer-Encoding", "chunked") if is_endless else ("Content-Length", "0")))
                self.end_headers()
                try:
                    while is_endless and outer.written < MUCH:
                        self.wfile.write(CHUNK)
                        outer.written += len(CHUNK)
                except OSError:
                    outer.hung_up.set()
                self.close_connection = True

            def log_message(self, *_: object) -> None: ...

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1/traces"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def elsewhere() -> Iterator[Collector]:
    made = Collector(200)
    yield made
    made.close()


def event() -> Event:
    steps = [Step("accept", 1.0, 2.0)]
    return Event(action="credentials", resource="role", kind=Kind.ISSUED, success=True, request_id="r", steps=steps)


async def told(collector: Collector, outcome: str) -> None:
    """Send one; return when it is counted so."""
    metrics = Metrics()
    traces = Traces(endpoint=collector.url, metrics=metrics, clock=SystemClock())
    try:
        traces.observe(event())
        eventually(lambda: f'broker_trace_spans_total{{outcome="{outcome}"}} 2.0' in metrics.text().decode())
    finally:
        await traces.close()


async def test_an_answer_without_an_end_is_not_read() -> None:
    collector = Collector(200, is_endless=True)
    try:
        await told(collector, "sent")
        assert collector.hung_up.wait(30), "all of it was taken"
        assert collector.written < MUCH
    finally:
        collector.close()


@pytest.mark.parametrize("status", [302, 307])
async def test_traces_go_nowhere_that_a_collector_names_and_count_as_failed(elsewhere: Collector, status: int) -> None:
    collector = Collector(status, location=elsewhere.url)
    try:
        await told(collector, "failed")
    finally:
        collector.close()
    assert (collector.asked > 0, elsewhere.asked) == (True, 0)
