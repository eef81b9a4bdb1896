"""Sessions against the broker as a process: programs with a key, browsers with a cookie, and those who have neither."""

from __future__ import annotations

import base64
import http.client
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import BrowserContext, sync_playwright

from broker import wire
from tests.fakes.broker import BrokerProcess, configuration
from tests.fakes.dpop import Prover
from tests.fakes.realm import Realm
from tests.fakes.redis import RedisServer
from tests.fakes.sts.demo import demo_world
from tests.fakes.sts.process import StrictSts

PATIENCE = 10.0
MARK = {wire.REQUEST_HEADER: wire.REQUEST_HEADER_VALUE}
WANT = json.dumps({"role": "developer"}).encode()

BrokerMaker = Callable[..., BrokerProcess]


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(
    broker: BrokerProcess, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
) -> Answer:
    """One request, exactly as given."""
    address = urlsplit(broker.url)
    connection = http.client.HTTPConnection("127.0.0.1", address.port, timeout=PATIENCE)
    sent = {"Host": address.netloc, **({"Content-Type": wire.JSON} if body else {}), **(headers or {})}
    try:
        connection.request(method, path, body=body, headers=sent)
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()


class Program:
    """A client that logs in with a ticket and goes on with a token bound to its key."""

    def __init__(self, broker: BrokerProcess, *, prover: Prover | None = None) -> None:
        self.broker = broker
        self.prover = prover or Prover.es256()
        self.token = ""

    def log_in(self, ticket: Callable[[], dict[str, str]]) -> Answer:
        proof = self.prover.proof("POST", f"{self.broker.url}{wire.SESSIONS_PATH}")
        answer = ask(self.broker, "POST", wire.SESSIONS_PATH, {**ticket(), **MARK, "DPoP": proof})
        if answer.status == 200:
            self.token = answer.json["access_token"]
        return answer

    def headers(self, method: str, path: str, **bent: Any) -> dict[str, str]:
        proof = self.prover.proof(method, f"{self.broker.url}{path}", **{"token": self.token, **bent})
        return {"Authorization": f"DPoP {self.token}", "DPoP": proof, **MARK}

    def credentials(self, **bent: Any) -> Answer:
        headers = self.headers("POST", wire.CREDENTIALS_PATH, **bent)
        return ask(self.broker, "POST", wire.CREDENTIALS_PATH, headers, WANT)


@pytest.fixture(scope="module")
def sts() -> Iterator[StrictSts]:
    with StrictSts(demo_world()) as running:
        yield running


@pytest.fixture
def make(tmp_path: Path, realm: Realm, sts: StrictSts) -> Iterator[BrokerMaker]:
    """Brokers of one fleet: the same keytab and master key, each with its own folder."""
    keytab = realm.keytab(tmp_path / "broker.keytab", "HTTP/localhost")
    made: list[BrokerProcess] = []

    def start(name: str = "one", **sections: Any) -> BrokerProcess:
        folder = tmp_path / name
        folder.mkdir()
        sections = {"audit": {"directory": str(folder / "audit")}, **sections}
        settings = configuration(tmp_path, keytab=keytab, sts_endpoint=sts.url, **sections)
        made.append(BrokerProcess(folder, settings, env=realm.env).start())
        return made[-1]

    yield start
    for process in made:
        process.kill()


@pytest.fixture
def ticket(realm: Realm, tmp_path: Path) -> Callable[[], dict[str, str]]:
    """A fresh ``Authorization`` header of alice at each call."""
    client = realm.kinit("alice", tmp_path / "ccache")

    def header() -> dict[str, str]:
        token = base64.b64encode(realm.client_token(client)).decode()
        return {"Authorization": f"Negotiate {token}"}

    return header


def cookie_of(answer: Answer) -> dict[str, str]:
    """What a browser sends back."""
    return {"Cookie": answer.headers["Set-Cookie"].partition(";")[0]}


def last(broker: BrokerProcess) -> dict[str, Any]:
    """The record of the last attempt."""
    return next(record for record in reversed(broker.records()) if "via" in record)


# ---- programs ----


@pytest.mark.parametrize("prover", [Prover.es256(), Prover.ed25519()], ids=lambda prover: prover.algorithm)
def test_a_program_asks_with_a_ticket_once(
    make: BrokerMaker, ticket: Callable[[], dict[str, str]], prover: Prover
) -> None:
    broker = make()
    program = Program(broker, prover=prover)
    opened = program.log_in(ticket)
    assert opened.status == 200, opened.body
    assert opened.json["token_type"] == "DPoP"
    assert 3590 <= opened.json["expires_in"] <= 3600
    assert opened.headers["Cache-Control"] == "no-store"
    assert opened.headers["WWW-Authenticate"].startswith("Negotiate ")
    assert "Set-Cookie" not in opened.headers
    first = last(broker)
    assert (first["action"], first["via"], first["success"]) == ("open_session", "ticket", True)

    answer = program.credentials()
    assert answer.status == 200, answer.body
    assert answer.json["AccessKeyId"].startswith("ASIA")
    record = last(broker)
    assert (record["event"], record["via"], record["user"]) == ("issued", "dpop", "alice@EXAMPLE.COM")

    answer = ask(broker, "GET", "/v1/whoami?verbose=1", program.headers("GET", wire.WHOAMI_PATH))
    assert answer.json["principal"] == "alice@EXAMPLE.COM"
    assert broker.admin("audit", "verify").returncode == 0
    # Neither token nor proof is in log or audit.
    written = broker.output.read_text() + json.dumps(broker.records())
    assert program.token not in written


def test_whoever_bends_a_proof_gets_the_same_401_and_its_reason_is_in_the_audit(
    make: BrokerMaker, ticket: Callable[[], dict[str, str]]
) -> None:
    broker = make()
    program = Program(broker)
    assert program.log_in(ticket).status == 200
    port = urlsplit(broker.url).port
    bodies = set()
    for bent, reason in (
        ({"htm": "GET"}, "dpop_other_method"),
        ({"htu": f"http://localhost:{port}/v1/roles"}, "dpop_other_address"),
        ({"htu": f"http://localhost:{port + 1}/v1/credentials"}, "dpop_other_address"),
        ({"htu": f"http://other.localhost:{port}/v1/credentials"}, "dpop_other_address"),
        ({"iat": 1}, "dpop_time"),
        ({"iat": None}, "dpop_time"),
        ({"ath": None}, "dpop_other_token"),
        ({"token": "another"}, "dpop_other_token"),
        ({"header": {"alg": "none"}}, "dpop_algorithm"),
        ({"header": {"alg": "HS256"}}, "dpop_algorithm"),
        ({"header": {"typ": "JWT"}}, "dpop_header"),
        ({"header": {"kid": "/dev/null"}}, "dpop_header"),
        ({"header": {"jwk": program.prover.private_jwk}}, "dpop_key"),
        ({"header": {"jwk": Prover.es256().jwk}}, "dpop_other_key"),
    ):
        answer = program.credentials(**bent)
        assert (answer.status, answer.json["code"]) == (401, "auth_failed"), bent
        assert answer.headers["WWW-Authenticate"] == "Negotiate"
        bodies.add(json.dumps({**answer.json, "request_id": ""}))
        record = last(broker)
        assert (record["reason"], record["via"], record["success"]) == (reason, "dpop", False), bent
        # The token opened, so it is known whose it was.
        assert record["user"] == "alice@EXAMPLE.COM"
    assert len(bodies) == 1
    assert program.credentials().status == 200


def test_a_token_alone_is_worth_nothing(make: BrokerMaker, ticket: Callable[[], dict[str, str]]) -> None:
    broker = make()
    program = Program(broker)
    assert program.log_in(ticket).status == 200
    for headers, reason in (
        ({"Authorization": f"DPoP {program.token}"}, "dpop_missing"),
        # RFC 9449 section 7.2: a bound token must not pass as a bearer token.
        ({"Authorization": f"Bearer {program.token}"}, "other_scheme"),
        ({"Cookie": f"{wire.SESSION_COOKIE}={program.token}"}, "session_altered"),
    ):
        assert ask(broker, "POST", wire.CREDENTIALS_PATH, {**headers, **MARK}, WANT).status == 401
        assert last(broker)["reason"] == reason


def test_a_proof_counts_once_and_two_are_no_request(make: BrokerMaker, ticket: Callable[[], dict[str, str]]) -> None:
    broker = make()
    program = Program(broker)
    assert program.log_in(ticket).status == 200
    headers = program.headers("POST", wire.CREDENTIALS_PATH)
    assert ask(broker, "POST", wire.CREDENTIALS_PATH, headers, WANT).status == 200
    assert ask(broker, "POST", wire.CREDENTIALS_PATH, headers, WANT).status == 401
    assert last(broker)["reason"] == "dpop_replayed"

    address = urlsplit(broker.url)
    connection = http.client.HTTPConnection("127.0.0.1", address.port, timeout=PATIENCE)
    connection.putrequest("GET", wire.WHOAMI_PATH, skip_host=True)
    connection.putheader("Host", address.netloc)
    connection.putheader("Authorization", f"DPoP {program.token}")
    for _ in range(2):
        connection.putheader("DPoP", program.headers("GET", wire.WHOAMI_PATH)["DPoP"])
    connection.endheaders()
    assert connection.getresponse().status == 400
    connection.close()


def test_two_instances_with_one_redis_share_sessions_and_proofs(
    make: BrokerMaker, ticket: Callable[[], dict[str, str]], redis_server: RedisServer
) -> None:
    redis = {"url": redis_server.url, "password": redis_server.password}
    here, there = make("here", redis=redis), make("there", redis=redis)
    program = Program(here)
    assert program.log_in(ticket).status == 200
    headers = program.headers("GET", wire.WHOAMI_PATH)
    # The same name in front of both, as a load balancer has it.
    headers["Host"] = urlsplit(here.url).netloc
    assert ask(there, "GET", wire.WHOAMI_PATH, headers).status == 200
    assert ask(here, "GET", wire.WHOAMI_PATH, headers).status == 401
    assert last(here)["reason"] == "dpop_replayed"

    redis_server.stop()
    assert ask(here, "GET", wire.WHOAMI_PATH, ticket()).json["code"] == "replay_guard_unavailable"
    # Sessions already made go on, and a proof still counts once where it was shown.
    headers = program.headers("GET", wire.WHOAMI_PATH)
    assert ask(here, "GET", wire.WHOAMI_PATH, headers).status == 200
    assert ask(here, "GET", wire.WHOAMI_PATH, headers).status == 401
    assert program.credentials().status == 200


def test_no_session_makes_a_session(make: BrokerMaker, ticket: Callable[[], dict[str, str]]) -> None:
    broker = make()
    program = Program(broker)
    assert program.log_in(ticket).status == 200
    assert ask(broker, "POST", wire.SESSIONS_PATH, program.headers("POST", wire.SESSIONS_PATH)).status == 401
    page = ask(broker, "GET", "/", program.headers("GET", "/"))
    assert (page.status, page.headers["Set-Cookie"]) == (200, None)
    cookie = cookie_of(ask(broker, "POST", wire.SESSIONS_PATH, {**ticket(), **MARK}))
    proof = program.prover.proof("POST", f"{broker.url}{wire.SESSIONS_PATH}")
    assert ask(broker, "POST", wire.SESSIONS_PATH, {**cookie, **MARK, "DPoP": proof}).status == 401


# ---- cookies, without a browser ----


def test_a_cookie_is_given_for_a_ticket_and_taken_back(make: BrokerMaker, ticket: Callable[[], dict[str, str]]) -> None:
    broker = make()
    opened = ask(broker, "POST", wire.SESSIONS_PATH, {**ticket(), **MARK})
    assert (opened.status, opened.body) == (204, b"")
    name, *attributes = opened.headers["Set-Cookie"].split("; ")
    assert name.startswith("__Host-zerotrust=")
    assert {"Path=/", "Secure", "HttpOnly", "SameSite=Strict"} < set(attributes)
    assert not any(attribute.startswith("Domain") for attribute in attributes)
    age = next(int(attribute.partition("=")[2]) for attribute in attributes if attribute.startswith("Max-Age"))
    assert 35_000 < age <= 36_000

    cookie = cookie_of(opened)
    assert ask(broker, "GET", wire.ROLES_PATH, {**cookie, **MARK}).json["roles"][0]["name"] == "developer"
    assert ask(broker, "POST", wire.CREDENTIALS_PATH, {**cookie, **MARK}, WANT).status == 200
    assert (last(broker)["event"], last(broker)["via"]) == ("issued", "cookie")

    ended = ask(broker, "DELETE", wire.CURRENT_SESSION_PATH, {**cookie, **MARK})
    assert ended.status == 204
    assert "Max-Age=0" in ended.headers["Set-Cookie"]
    assert ask(broker, "DELETE", wire.CURRENT_SESSION_PATH, cookie).json["code"] == "cross_site_blocked"


def test_a_cookie_counts_only_where_our_own_page_or_its_user_asks(
    make: BrokerMaker, ticket: Callable[[], dict[str, str]]
) -> None:
    broker = make()
    cookie = cookie_of(ask(broker, "POST", wire.SESSIONS_PATH, {**ticket(), **MARK}))
    for asked_by, status in (
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Origin": broker.url}, 200),
        (MARK, 200),
        # A browser that does not say who asks is asked for a ticket.
        ({}, 401),
        ({"Sec-Fetch-Site": "unheard-of", **MARK}, 401),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site", **MARK}, 403),
        ({"Origin": "http://other.localhost"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost:1"}, 403),
    ):
        answer = ask(broker, "GET", wire.ROLES_PATH, {**cookie, **asked_by})
        assert answer.status == status, asked_by
        assert ("WWW-Authenticate" in answer.headers) == (status == 401)
    assert ask(broker, "GET", wire.CREDENTIALS_PATH, {**cookie, **MARK}).status == 405
    assert ask(broker, "POST", wire.CREDENTIALS_PATH, cookie, WANT).status == 403


def test_a_bad_header_is_never_rescued_by_a_good_cookie(
    make: BrokerMaker, ticket: Callable[[], dict[str, str]]
) -> None:
    broker = make()
    cookie = cookie_of(ask(broker, "POST", wire.SESSIONS_PATH, {**ticket(), **MARK}))
    assert ask(broker, "GET", wire.ROLES_PATH, {**cookie, **MARK}).status == 200
    for authorization in ("Negotiate YII=", "Negotiate", "DPoP x", "DPoP", "Bearer x", "Basic eDp4", "x"):
        headers = {**cookie, **MARK, "Authorization": authorization}
        assert ask(broker, "GET", wire.ROLES_PATH, headers).status == 401, authorization


def test_altered_doubled_and_huge_cookies_are_refused(make: BrokerMaker, ticket: Callable[[], dict[str, str]]) -> None:
    broker = make()
    cookie = cookie_of(ask(broker, "POST", wire.SESSIONS_PATH, {**ticket(), **MARK}))["Cookie"]
    for sent, status in (
        (f"theme=dark; {cookie}; other=1", 200),
        (f"theme=dark;{cookie}", 200),
        (f"{cookie}; {cookie}", 400),
        (f"{wire.SESSION_COOKIE}=x; {cookie}", 400),
        (f"{cookie}; {wire.SESSION_COOKIE}=", 400),
        (cookie.swapcase(), 401),
        (cookie[:-9] + "AAAAAAAA=", 401),
        (f"{wire.SESSION_COOKIE}=", 401),
        (f'{wire.SESSION_COOKIE}="{cookie.partition("=")[2]}"', 401),
        (f"{wire.SESSION_COOKIE}={'A' * 100_000}", 401),
        (cookie.replace("__Host-", "__host-"), 401),
        (cookie.replace("__Host-", ""), 401),
    ):
        answer = ask(broker, "GET", wire.ROLES_PATH, {"Cookie": sent, **MARK})
        assert answer.status == status, sent[:80]
        assert len(answer.body) < 1000
    assert "AAAAAAAA" not in broker.output.read_text()


def test_a_session_outlives_the_broker_but_not_the_master_key(
    make: BrokerMaker, ticket: Callable[[], dict[str, str]], tmp_path: Path
) -> None:
    broker = make()
    cookie = cookie_of(ask(broker, "POST", wire.SESSIONS_PATH, {**ticket(), **MARK}))
    assert broker.stop() == 0
    broker.start()
    assert ask(broker, "GET", wire.ROLES_PATH, {**cookie, **MARK}).status == 200
    assert broker.stop() == 0
    key_file = tmp_path / "another_key"
    key_file.touch(mode=0o600)
    key_file.write_bytes(base64.b64encode(bytes(range(32))))
    broker.settings["encryption"] = {"key_file": str(key_file)}
    # Another master key signs the audit with another key, so it writes a chain of its own.
    broker.settings["audit"] = {"directory": str(tmp_path / "another_audit")}
    broker.write_configuration()
    broker.start()
    assert ask(broker, "GET", wire.ROLES_PATH, {**cookie, **MARK}).status == 401
    assert last(broker)["reason"] == "session_key_unknown"


def test_a_short_ticket_makes_a_short_session(make: BrokerMaker, realm: Realm, tmp_path: Path) -> None:
    broker = make()
    client = realm.kinit("alice", tmp_path / "short", lifetime=timedelta(minutes=30))
    token = base64.b64encode(realm.client_token(client)).decode()
    opened = ask(broker, "POST", wire.SESSIONS_PATH, {"Authorization": f"Negotiate {token}", **MARK})
    age = int(opened.headers["Set-Cookie"].partition("Max-Age=")[2].partition(";")[0])
    assert 1700 < age <= 1800


def test_step_up_rules_read_a_session_like_a_ticket(make: BrokerMaker, ticket: Callable[[], dict[str, str]]) -> None:
    rule = {
        "name": "r",
        "principals": ["alice@EXAMPLE.COM"],
        "roles": ["developer"],
        "require": {"max_ticket_age": "8h"},
    }
    fresh = make("fresh", rules=[rule])
    strong = make("strong", rules=[{**rule, "require": {"indicators": ["pkinit"]}}])
    for broker, status in ((fresh, 200), (strong, 403)):
        program = Program(broker)
        assert program.log_in(ticket).status == 200
        answer = program.credentials()
        assert answer.status == status, answer.body
        cookie = cookie_of(ask(broker, "POST", wire.SESSIONS_PATH, {**ticket(), **MARK}))
        answer = ask(broker, "POST", wire.CREDENTIALS_PATH, {**cookie, **MARK}, WANT)
        assert answer.status == status, answer.body
        if status == 403:
            assert answer.json["code"] == "step_up_required"


@pytest.mark.parametrize("body", [b"x", b"[]", b'{"role":"developer"}', b"{}{}"])
def test_a_body_where_none_is_understood_is_refused_before_the_ticket(make: BrokerMaker, body: bytes) -> None:
    broker = make()
    assert ask(broker, "POST", wire.SESSIONS_PATH, {"Authorization": "Negotiate YII=", **MARK}, body).status == 400
    assert ask(broker, "POST", wire.SESSIONS_PATH, {**MARK}, b"{}").status == 401


# ---- Chromium ----


@pytest.fixture
def elsewhere() -> Iterator[ThreadingHTTPServer]:
    """A web server of somebody else's: an empty page at every address, under any name."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>elsewhere</title>")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def ccache(realm: Realm, tmp_path: Path) -> Path:
    path = tmp_path / "chromium.ccache"
    realm.kinit("alice", path)
    return path


@pytest.fixture
def browser(realm: Realm, tmp_path: Path, ccache: Path) -> Iterator[BrowserContext]:
    """Chromium with alice's ticket and a profile that has seen a Negotiate challenge before."""
    profile = tmp_path / "profile"
    profile.mkdir()
    (profile / "Local State").write_text('{"net":{"received_http_auth_negotiate_headers":true}}')
    arguments = (
        "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
        " --disable-component-update --disable-sync --auth-server-allowlist=localhost"
    )
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            str(profile),
            executable_path="/usr/bin/chromium",
            args=arguments.split(),
            env={**realm.env, "KRB5CCNAME": f"FILE:{ccache}", "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
            # Our page has no script yet, and its policy lets none run: the tests' own stand for one.
            bypass_csp=True,
        )
        context.set_default_timeout(PATIENCE * 1000)
        yield context
        context.close()


FETCH = """async ([path, options]) => {
    const answer = await fetch(path, options);
    return [answer.status, await answer.text()];
}"""


def test_a_browser_goes_on_without_its_ticket(make: BrokerMaker, browser: BrowserContext, ccache: Path) -> None:
    broker = make()
    page = browser.new_page()
    response = page.goto(broker.url)
    assert response is not None
    assert response.status == 200
    assert last(broker)["via"] == "ticket"
    (cookie,) = browser.cookies()
    assert (cookie["name"], cookie["httpOnly"], cookie["secure"], cookie["sameSite"]) == (
        wire.SESSION_COOKIE,
        True,
        True,
        "Strict",
    )

    ccache.unlink()
    response = page.reload()
    assert response is not None
    assert response.status == 200
    assert "alice@EXAMPLE.COM" in page.content()
    assert last(broker)["via"] == "cookie"
    # A second page of a session is served without a second cookie.
    assert response.header_value("set-cookie") is None

    status, text = page.evaluate(FETCH, ["/v1/roles", {}])
    assert (status, json.loads(text)["roles"][0]["name"]) == (200, "developer")
    options = {"method": "POST", "body": WANT.decode(), "headers": {**MARK, "Content-Type": wire.JSON}}
    status, text = page.evaluate(FETCH, ["/v1/credentials", options])
    assert (status, json.loads(text)["AccountId"]) == (200, "111122223333")
    assert page.evaluate("document.cookie") == ""

    status, _ = page.evaluate(FETCH, ["/v1/sessions/current", {"method": "DELETE", "headers": MARK}])
    assert (status, browser.cookies()) == (204, [])
    response = page.reload()
    assert response is not None
    assert response.status == 401


def test_a_stale_cookie_locks_nobody_out(make: BrokerMaker, browser: BrowserContext) -> None:
    broker = make()
    stale = {
        "name": wire.SESSION_COOKIE,
        "value": "stale",
        "url": broker.url.replace("http:", "https:"),
        "secure": True,
    }
    browser.add_cookies([stale])
    response = browser.new_page().goto(broker.url)
    assert response is not None
    assert response.status == 200
    assert [record["via"] for record in broker.records() if "via" in record] == ["cookie", "ticket"]
    (cookie,) = browser.cookies()
    assert cookie["value"] != "stale"


ATTACKS = {
    "fetch": """async ([url, body]) => {
        const all = [
            fetch(url, {mode: 'no-cors', credentials: 'include'}),
            fetch(url, {mode: 'no-cors', credentials: 'include', method: 'POST', body}),
            fetch(url, {credentials: 'include', method: 'POST', body,
                headers: {'X-Zerotrust-Request': '1', 'Content-Type': 'application/json'}}),
            fetch(url, {mode: 'no-cors', credentials: 'include', method: 'POST',
                body: new Blob([body], {type: 'text/plain'})}),
            fetch(new URL('/v1/sessions', url), {mode: 'no-cors', credentials: 'include', method: 'POST'}),
            fetch(new URL('/v1/roles', url), {mode: 'no-cors', credentials: 'include'}),
            fetch(new URL('/', url), {mode: 'no-cors', credentials: 'include'}),
        ];
        return (await Promise.allSettled(all)).map(one => one.status);
    }""",
    "elements": """async ([url]) => {
        const wait = element => new Promise(done => {
            element.onload = element.onerror = done;
            document.documentElement.append(element);
        });
        for (const path of ['/v1/credentials', '/v1/roles', '/']) {
            const src = new URL(path, url).href;
            await wait(Object.assign(new Image(), {src}));
            await wait(Object.assign(document.createElement('iframe'), {src}));
            await wait(Object.assign(document.createElement('script'), {src}));
        }
    }""",
    "beacon": """async ([url, body]) => {
        navigator.sendBeacon(url, body);
        await new Promise(done => setTimeout(done, 300));
    }""",
}
FORM = """([url, body, enctype, method]) => {
    const form = Object.assign(document.createElement('form'), {action: url, method, enctype});
    // {"role":"developer","x":"="} in text/plain
    const [name, value] = [body.slice(0, -1) + ',"x":"', '"}'];
    form.append(Object.assign(document.createElement('input'), {name, value}));
    document.documentElement.append(form);
    form.submit();
}"""


@pytest.mark.parametrize("host", ["localhost", "other.localhost"])
def test_no_other_page_makes_anything_of_a_warm_browser(
    make: BrokerMaker, browser: BrowserContext, elsewhere: ThreadingHTTPServer, sts: StrictSts, host: str
) -> None:
    broker = make()
    page = browser.new_page()
    foreign = f"http://{host}:{elsewhere.server_address[1]}/"
    target = f"{broker.url}{wire.CREDENTIALS_PATH}"
    sts.clear_calls()

    def attack() -> None:
        for script in ATTACKS.values():
            page.goto(foreign)
            page.evaluate(script, [target, WANT.decode()])
        for enctype, method in (
            ("text/plain", "post"),
            ("application/x-www-form-urlencoded", "post"),
            ("multipart/form-data", "post"),
            ("text/plain", "get"),
        ):
            page.goto(foreign)
            with page.expect_navigation(url=f"{target}*") as navigation:
                page.evaluate(FORM, [target, WANT.decode(), enctype, method])
            assert navigation.value.status == 403
        for path in ("console", "credentials", "requests", "sign-out", "end-all"):
            page.goto(foreign)
            with page.expect_navigation(url=f"{broker.url}/page/{path}") as navigation:
                page.evaluate(FORM, [f"{broker.url}/page/{path}", "role", "application/x-www-form-urlencoded", "post"])
            assert navigation.value.status == 403
            assert navigation.value.header_value("set-cookie") is None
            assert navigation.value.header_value("www-authenticate") is None
        for path in ("/", wire.CREDENTIALS_PATH, wire.ROLES_PATH):
            page.goto(foreign)
            with page.expect_navigation(url=f"{broker.url}{path}") as navigation:
                page.evaluate("url => { location = url }", f"{broker.url}{path}")
            assert navigation.value.status == 403
            assert navigation.value.header_value("www-authenticate") is None

    def attempts() -> list[dict[str, Any]]:
        return [record for record in broker.records() if "via" in record]

    # With a ticket and no cookie, then with both.
    attack()
    assert attempts() == []
    page.goto(broker.url)
    assert len(browser.cookies()) == 1
    assert len(attempts()) == 1
    attack()
    assert len(attempts()) == 1
    assert sts.calls(action="AssumeRole") == []
    # The same browser may do all that when its user asks.
    response = page.goto(f"{broker.url}{wire.ROLES_PATH}")
    assert response is not None
    assert response.status == 200
    assert last(broker)["via"] == "cookie"
