"""A web page against the endpoint that ``zerotrust serve`` opens on loopback, in a real Chromium: by every way it gets nothing.

The page may even know port and token. Chromium is told that ``evil.test`` is this machine, which is what a page does that rebinds
its name.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

from tests.e2e.conftest import House
from tests.fakes.browsers import CHROMIUM, CHROMIUM_ARGUMENTS
from tests.fakes.served import Served, serving

IMDS = "/latest/api/token"
TTL = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
# What a script sees of an answer: its status and text; "kept from it" where the browser shows it none.
FETCH = """async ([url, options]) => {
    try {
        const answer = await fetch(url, options)
        return [answer.status, answer.type === "opaque" ? "kept from it" : await answer.text()]
    } catch {
        return [0, "kept from it"]
    }
}"""


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>evil</title>")

    def log_message(self, *_: object) -> None:
        """Nothing to say."""


@contextmanager
def evil() -> Iterator[str]:
    """Somebody's page."""
    with HTTPServer(("127.0.0.1", 0), _Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://evil.test:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            str(tmp_path / "profile"),
            executable_path=CHROMIUM,
            args=[*CHROMIUM_ARGUMENTS, "--host-resolver-rules=MAP evil.test 127.0.0.1"],
            timeout=120_000,
        )
        yield context.pages[0]
        context.close()


@pytest.fixture
def served(house: House, alice: dict[str, str], tmp_path: Path) -> Iterator[Served]:
    env = {**alice, "ZEROTRUST_BROKER_URL": house.broker.url, "XDG_RUNTIME_DIR": str(tmp_path)}
    with serving(env, "--role", "developer", "--imds") as served:
        yield served


def test_a_page_gets_nothing_of_the_endpoint_under_any_name(served: Served, page: Page) -> None:
    token = {"Authorization": served.token}
    ours, rebound = (f"http://{host}:{served.port}" for host in ("127.0.0.1", "evil.test"))
    ways = [("GET", served.path, token), ("GET", served.path, {}), ("PUT", IMDS, TTL)]
    with evil() as elsewhere:
        page.goto(elsewhere)
        for method, path, headers in ways:
            assert page.evaluate(FETCH, [ours + path, {"method": method, "headers": headers}])[1] == "kept from it"
        assert page.evaluate(FETCH, [ours + served.path, {"mode": "no-cors"}]) == [0, "kept from it"]
    # The same origin to the browser: by a name that was rebound, and by our own address, which no page can have.
    for origin, code in ((rebound, "host_not_allowed"), (ours, "cross_site_blocked")):
        opened = page.goto(origin + served.path)
        assert opened is not None
        assert opened.status == 403
        for method, path, headers in ways:
            status, said = page.evaluate(FETCH, [origin + path, {"method": method, "headers": headers}])
            assert (status, code in said) == (403, True), (method, path, said)
    # Who is no browser still does.
    answer = served.ask()
    assert answer is not None
    assert answer.status == 200
