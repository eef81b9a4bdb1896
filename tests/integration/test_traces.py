"""Traces at a collector of OpenTelemetry's protocol: the steps of the way, nothing secret, and nobody who waits for them."""

from __future__ import annotations

import base64
import http.client
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.fakes.broker import STOP_SECONDS, BrokerProcess, configuration
from tests.fakes.realm import Realm
from tests.fakes.sts.demo import demo_world
from tests.fakes.sts.process import StrictSts
from tests.fakes.until import eventually

THEIRS = "0af7651916cd43dd8448eb211c80319c"
CANARY = "canary-of-a-query"


class Collector:
    """Takes what is sent to it; ``hangs`` until it is let go."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.hangs = threading.Event()
        self.hangs.set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.bodies.append(body)
                outer.hangs.wait(60)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/v1/traces"

    def spans(self) -> list[Any]:
        found = []
        for body in list(self.bodies):
            request = ExportTraceServiceRequest()
            request.ParseFromString(body)
            found += [span for of in request.resource_spans for scope in of.scope_spans for span in scope.spans]
        return found


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.hangs.set()
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def broker(realm: Realm, collector: Collector, tmp_path: Path) -> Iterator[BrokerProcess]:
    keytab = realm.keytab(tmp_path / "broker.keytab", "HTTP/localhost")
    with StrictSts(demo_world()) as sts:
        settings = configuration(
            tmp_path, keytab=keytab, sts_endpoint=sts.url, telemetry={"otlp_endpoint": collector.url}
        )
        with BrokerProcess(tmp_path, settings, env=realm.env) as running:
            yield running


def asked(broker: BrokerProcess, token: bytes, role: str = "developer") -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection(urlsplit(broker.url).netloc, timeout=30)
    headers = {
        "Authorization": f"Negotiate {base64.b64encode(token).decode()}",
        "X-Zerotrust-Request": "1",
        "Content-Type": "application/json",
        "traceparent": f"00-{THEIRS}-b7ad6b7169203331-01",
    }
    connection.request("POST", f"/v1/credentials?{CANARY}", json.dumps({"role": role}), headers)
    answer = connection.getresponse()
    body = json.loads(answer.read())
    connection.close()
    return answer.status, body


def test_each_step_of_the_way_is_a_span_and_nothing_in_them_is_secret_or_somebody_s_name(
    broker: BrokerProcess, collector: Collector, realm: Realm, tmp_path: Path
) -> None:
    alice = realm.kinit("alice", tmp_path / "alice")
    token = realm.client_token(alice)
    status, body = asked(broker, token)
    assert status == 200
    assert asked(broker, realm.client_token(alice), "made-up-role")[0] == 403
    eventually(lambda: sum(not span.parent_span_id for span in collector.spans()) == 2)
    good, bad = [span for span in collector.spans() if not span.parent_span_id]
    steps = [span for span in collector.spans() if span.parent_span_id == good.span_id]
    assert {span.name for span in steps} == {
        *("accept", "replay_guard", "decide", "cache", "turn", "intent", "hop 1", "hop 2", "chain", "record")
    }
    for span in steps:
        assert (
            good.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano <= good.end_time_unix_nano
        )
    assert abs(good.end_time_unix_nano / 1e9 - time.time()) < 60
    said = {pair.key: pair.value.string_value for pair in good.attributes}
    assert {said["broker.outcome"], said["broker.origin"], said["broker.role"]} == {"done", "sts", "developer"}
    assert said["broker.request_id"] == broker.records()[-2]["request_id"]
    # A stranger's trace is a link, and theirs is not ours.
    assert [link.trace_id.hex() for link in good.links] == [THEIRS]
    assert good.trace_id.hex() != THEIRS
    assert (bad.status.code, bad.status.message) == (2, broker.records()[-1]["reason"])
    for body_sent in collector.bodies:
        for secret in (
            "alice", "EXAMPLE.COM", "127.0.0.1", CANARY, "made-up-role", body["AccessKeyId"], body["SecretAccessKey"],
            body["SessionToken"], base64.b64encode(token).decode()[:40],
        ):  # fmt: skip
            assert secret.encode() not in body_sent, secret
        assert token[:40] not in body_sent


def test_nobody_waits_for_a_collector_that_hangs_nor_does_the_end(
    broker: BrokerProcess, collector: Collector, realm: Realm, tmp_path: Path
) -> None:
    alice = realm.kinit("alice", tmp_path / "alice")
    collector.hangs.clear()
    assert asked(broker, realm.client_token(alice))[0] == 200
    eventually(lambda: collector.bodies)
    # It hangs now, with spans of ours in its hands.
    began = time.monotonic()
    for _ in range(5):
        assert asked(broker, realm.client_token(alice))[0] == 200
    assert time.monotonic() - began < 10, "a request waits for the collector, which hangs for a minute"
    began = time.monotonic()
    assert broker.stop() == 0
    assert time.monotonic() - began < STOP_SECONDS


def test_without_the_setting_neither_exporter_nor_tracing_is_loaded() -> None:
    wanted = ("opentelemetry.exporter", "opentelemetry.sdk.trace")
    script = f"import sys, broker.assembly.broker; print([name for name in sys.modules if name.startswith({wanted})])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
