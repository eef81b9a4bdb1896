"""Job passes against the broker as a process: jobs that go on, and everything that a pass must not be good for."""

from __future__ import annotations

import base64
import http.client
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.exceptions import CredentialRetrievalError
from botocore.session import get_session

from broker import wire
from tests.fakes.broker import BrokerProcess, configuration
from tests.fakes.dpop import Prover
from tests.fakes.realm import Realm
from tests.fakes.redis import RedisServer
from tests.fakes.sts.demo import demo_world
from tests.fakes.sts.process import StrictSts

PATIENCE = 10.0
JOBS = Path(__file__).parents[2] / "docs" / "jobs.md"
MARK = {wire.REQUEST_HEADER: wire.REQUEST_HEADER_VALUE}
CURRENT = f"{wire.PASSES_PATH}/current"
RULE = {
    "name": "engineers",
    "principals": ["alice@EXAMPLE.COM", "root/admin@EXAMPLE.COM"],
    "roles": ["developer"],
    "job_passes": "7d",
}
BY_TICKET_ONLY = {"name": "readers", "principals": ["alice@EXAMPLE.COM"], "roles": ["readonly"]}

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
    broker: BrokerProcess,
    method: str,
    path: str,
    headers: Mapping[str, str] | None = None,
    body: object = None,
    *,
    source: str = "127.0.0.1",
) -> Answer:
    """One request, exactly as given; ``source`` is the address that it comes from."""
    address = urlsplit(broker.url)
    connection = http.client.HTTPConnection("127.0.0.1", address.port, timeout=PATIENCE, source_address=(source, 0))
    content = None if body is None else json.dumps(body).encode()
    sent = {"Host": address.netloc, **({"Content-Type": wire.JSON} if content else {}), **(headers or {})}
    try:
        connection.request(method, path, body=content, headers=sent)
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()


class Owner:
    """Somebody with a ticket cache."""

    def __init__(self, realm: Realm, user: str, ccache: Path, *, lifetime: timedelta | None = None) -> None:
        self.realm = realm
        self.ccache = ccache
        self.client = realm.kinit(user, ccache, lifetime=lifetime)

    def ticket(self) -> dict[str, str]:
        """A fresh ``Authorization`` header."""
        token = base64.b64encode(self.realm.client_token(self.client)).decode()
        return {"Authorization": f"Negotiate {token}"}

    def asks(self, broker: BrokerProcess, **wanted: Any) -> Answer:
        return ask(broker, "POST", wire.PASSES_PATH, {**self.ticket(), **MARK}, {"role": "developer", **wanted})

    def pass_of(self, broker: BrokerProcess, **wanted: Any) -> dict[str, Any]:
        answer = self.asks(broker, **wanted)
        assert answer.status == 200, answer.body
        made: dict[str, Any] = answer.json
        return made


def container(broker: BrokerProcess, token: str, *, role: str = "developer", source: str = "127.0.0.1") -> Answer:
    """What an SDK does."""
    return ask(broker, "GET", f"{wire.CONTAINER_PATH}/{role}", {"Authorization": token}, source=source)


def renew(broker: BrokerProcess, token: str) -> Answer:
    return ask(broker, "POST", f"{CURRENT}/renew", {"Authorization": token, **MARK})


def attenuate(broker: BrokerProcess, token: str, **wanted: Any) -> Answer:
    return ask(broker, "POST", f"{CURRENT}/attenuate", {"Authorization": token, **MARK}, wanted)


def give_back(broker: BrokerProcess, token: str) -> Answer:
    return ask(broker, "DELETE", CURRENT, {"Authorization": token, **MARK})


def moment(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


def last(broker: BrokerProcess) -> dict[str, Any]:
    """The record of the last attempt."""
    return next(record for record in reversed(broker.records()) if "via" in record)


def refused(answer: Answer) -> None:
    """A 401 that no browser answers."""
    assert (answer.status, answer.json["code"]) == (401, "auth_failed"), answer.body
    assert answer.headers.get_all("WWW-Authenticate") == ["Bearer"]


@pytest.fixture(scope="module")
def sts() -> Iterator[StrictSts]:
    with StrictSts(demo_world()) as running:
        yield running


@pytest.fixture
def make(tmp_path: Path, realm: Realm, sts: StrictSts, redis_server: RedisServer) -> Iterator[BrokerMaker]:
    """Brokers of one fleet: the same keytab, master key and Redis, each with its own folder."""
    keytab = realm.keytab(tmp_path / "broker.keytab", "HTTP/localhost")
    made: list[BrokerProcess] = []

    def start(name: str = "one", *, env: Mapping[str, str] | None = None, **sections: Any) -> BrokerProcess:
        folder = tmp_path / name
        folder.mkdir()
        sections = {
            "audit": {"directory": str(folder / "audit")},
            "redis": {"url": redis_server.url, "password": redis_server.password},
            "rules": [RULE, BY_TICKET_ONLY],
            **sections,
        }
        settings = configuration(tmp_path, keytab=keytab, sts_endpoint=sts.url, **sections)
        made.append(BrokerProcess(folder, settings, env={**realm.env, **(env or {})}).start())
        return made[-1]

    yield start
    for process in made:
        process.kill()


@pytest.fixture
def alice(realm: Realm, tmp_path: Path) -> Owner:
    return Owner(realm, "alice", tmp_path / "alice.ccache")


# ---- jobs that go on ----


def test_a_job_goes_on_without_a_ticket_and_every_step_is_on_record(make: BrokerMaker, alice: Owner) -> None:
    broker = make()
    answer = alice.asks(broker, lifetime="2d")
    made = answer.json
    assert answer.status == 200, answer.body
    assert answer.headers["Cache-Control"] == "no-store"
    assert (made["role"], made["networks"]) == ("developer", ["127.0.0.1/32"])
    now = datetime.now(UTC)
    assert abs(moment(made["expires"]) - now - timedelta(days=2)) < timedelta(seconds=10)
    assert abs(moment(made["renewable_until"]) - now - timedelta(days=7)) < timedelta(seconds=10)
    record = last(broker)
    assert (record["event"], record["success"], record["via"]) == ("pass_issued", True, "ticket")
    assert (record["pass_id"], record["user"], record["role"]) == (made["id"], "alice@EXAMPLE.COM", "developer")
    assert (record["pass_expires"], record["pass_networks"]) == (made["expires"], made["networks"])

    alice.ccache.unlink()
    for token in (made["pass"], f"Bearer {made['pass']}", f"bearer  {made['pass']} "):
        answer = container(broker, token)
        assert answer.status == 200, answer.body
        assert answer.json["AccessKeyId"].startswith("ASIA")
        assert answer.json["Token"] == answer.json["SessionToken"]
        record = last(broker)
        assert (record["event"], record["via"], record["pass_id"]) == ("issued", "job_pass", made["id"])
        assert (record["user"], record["access_key_id"]) == ("alice@EXAMPLE.COM", answer.json["AccessKeyId"])
    headers = {"Authorization": made["pass"], **MARK}
    assert ask(broker, "POST", wire.CREDENTIALS_PATH, headers, {"role": "developer"}).status == 200

    renewed = renew(broker, made["pass"])
    assert renewed.status == 200, renewed.body
    assert (renewed.json["id"], renewed.json["renewable_until"]) == (made["id"], made["renewable_until"])
    assert (last(broker)["event"], last(broker)["pass_id"]) == ("pass_renewed", made["id"])
    assert container(broker, renewed.json["pass"]).status == 200
    assert give_back(broker, renewed.json["pass"]).status == 204
    assert (last(broker)["event"], last(broker)["success"]) == ("pass_cancelled", True)
    refused(container(broker, made["pass"]))
    assert last(broker)["reason"] == "pass_cancelled"

    assert broker.admin("audit", "verify").returncode == 0
    metrics = ask(broker, "GET", "/metrics").body.decode()
    written = broker.output.read_text() + json.dumps(broker.records()) + metrics
    for token in (made["pass"], renewed.json["pass"]):
        assert token.removeprefix("ztpass_")[:40] not in written


def test_boto3_takes_a_pass_from_a_file_and_a_renewed_one_at_its_next_look(
    make: BrokerMaker, alice: Owner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sts: StrictSts
) -> None:
    broker = make()
    made = alice.pass_of(broker)
    file = tmp_path / "pass"
    file.write_text(made["pass"])
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{broker.url}{wire.CONTAINER_PATH}/developer")
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(file))

    identity = boto3.client("sts", endpoint_url=sts.url).get_caller_identity()
    assert identity["Arn"].startswith("arn:aws:sts::111122223333:assumed-role/Developer/alice")

    file.write_text(renew(broker, made["pass"]).json["pass"])
    credentials = get_session().get_credentials()
    assert credentials.method == "container-role"
    assert credentials.get_frozen_credentials().access_key.startswith("ASIA")

    give_back(broker, made["pass"])
    with pytest.raises(CredentialRetrievalError, match="The job pass was not accepted"):
        get_session().get_credentials()
    file.write_text(made["pass"] + "\n")
    with pytest.raises(ValueError, match="not a legal header value"):
        get_session().get_credentials()


def script(name: str, folder: Path) -> str:
    """One of the scripts in docs/jobs.md, ready to run."""
    marked = JOBS.read_text().partition(f"<!-- {name} -->\n```bash\n")[2]
    path = folder / name
    path.write_text(marked.partition("```")[0])
    path.chmod(0o700)
    return str(path)


def test_the_scripts_of_the_documentation_make_renew_and_use_a_pass(
    make: BrokerMaker, alice: Owner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sts: StrictSts
) -> None:
    broker = make()
    (tmp_path / ".aws").mkdir()
    file = tmp_path / ".aws" / "job.pass"
    cron = {"BROKER": broker.url, "PATH": os.environ["PATH"], "HOME": str(tmp_path)}

    def run(name: str, *arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        command = [script(name, tmp_path), *arguments]
        return subprocess.run(
            command, env={**cron, **(env or {})}, capture_output=True, text=True, check=False, timeout=30
        )

    wanted = json.dumps({"role": "developer", "lifetime": "2d"})
    assert run("job-pass", str(file), wanted, env=alice.client).returncode == 0
    first = file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    assert run("job-pass", str(file)).returncode == 0
    assert first != file.read_text()
    assert last(broker)["event"] == "pass_renewed"

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("BROKER", broker.url)
    profile = tmp_path / "aws_config"
    profile.write_text(f"[profile job]\ncredential_process = {script('job-credentials', tmp_path)} developer {file}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(profile))
    client = boto3.Session(profile_name="job").client("sts", endpoint_url=sts.url)
    assert ":assumed-role/Developer/" in client.get_caller_identity()["Arn"]

    for line in run("task-prolog").stdout.splitlines():
        name, _, value = line.removeprefix("export ").partition("=")
        monkeypatch.setenv(name, value)
    credentials = get_session().get_credentials()
    assert (credentials.method, credentials.access_key[:4]) == ("container-role", "ASIA")

    # What fails leaves the file as it was.
    kept = file.read_text()
    broker.stop()
    assert run("job-pass", str(file)).returncode != 0
    assert run("job-credentials", "developer", str(file)).stdout == ""
    assert file.read_text() == kept


def test_a_pass_is_good_at_every_instance_and_after_a_restart(make: BrokerMaker, alice: Owner) -> None:
    here, there = make("here"), make("there")
    made = alice.pass_of(here)
    assert container(there, made["pass"]).status == 200
    assert here.stop() == 0
    here.start()
    assert container(here, made["pass"]).status == 200


def test_credentials_end_no_later_than_the_pass(make: BrokerMaker, alice: Owner) -> None:
    broker = make()
    # An hour's credentials lie in the cache already.
    assert container(broker, alice.pass_of(broker, lifetime="2d")["pass"]).status == 200
    made = alice.pass_of(broker, lifetime="30m")
    answer = container(broker, made["pass"])
    assert answer.status == 200, answer.body
    left = moment(answer.json["Expiration"]) - datetime.now(UTC)
    assert timedelta(minutes=15) < left
    assert moment(answer.json["Expiration"]) <= moment(made["expires"])


def test_a_pass_made_in_the_last_minutes_of_a_ticket_goes_on_after_it(
    make: BrokerMaker, realm: Realm, tmp_path: Path
) -> None:
    broker = make()
    owner = Owner(realm, "alice", tmp_path / "short", lifetime=timedelta(minutes=10))
    # The ticket itself has too little left for credentials.
    answer = ask(broker, "POST", wire.CREDENTIALS_PATH, {**owner.ticket(), **MARK}, {"role": "developer"})
    assert (answer.status, last(broker)["reason"]) == (401, "ticket_ends_too_soon")
    made = owner.pass_of(broker)
    assert moment(made["expires"]) - datetime.now(UTC) > timedelta(hours=7)
    answer = container(broker, made["pass"])
    assert answer.status == 200
    assert moment(answer.json["Expiration"]) - datetime.now(UTC) > timedelta(minutes=50)


# ---- what a pass is not good for ----


def test_a_pass_is_for_its_role_alone(make: BrokerMaker, alice: Owner) -> None:
    broker = make()
    made = alice.pass_of(broker)
    for role, reason in (
        ("readonly", "pass_other_role"),
        ("unheard-of", "pass_other_role"),
        ("%00", "pass_other_role"),
    ):
        answer = container(broker, made["pass"], role=role)
        assert (answer.status, answer.json["code"]) == (403, "access_denied"), role
        assert (last(broker)["reason"], last(broker)["pass_id"]) == (reason, made["id"])
    headers = {"Authorization": made["pass"], **MARK}
    assert ask(broker, "POST", wire.CREDENTIALS_PATH, headers, {"role": "readonly"}).status == 403


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", wire.PASSES_PATH, {"role": "developer"}),
        ("POST", wire.SESSIONS_PATH, None),
        ("POST", wire.CONSOLE_PATH, {"role": "developer"}),
        ("GET", wire.ROLES_PATH, None),
        ("GET", wire.WHOAMI_PATH, None),
        ("GET", "/", None),
        ("DELETE", f"{wire.PASSES_PATH}/{'0' * 32}", None),
    ],
)
def test_a_pass_makes_no_pass_and_no_session_and_opens_no_other_door(
    make: BrokerMaker, alice: Owner, method: str, path: str, body: object
) -> None:
    broker = make()
    made = alice.pass_of(broker)
    proof = Prover.es256().proof("POST", f"{broker.url}{path}")
    for token in (made["pass"], f"Bearer {made['pass']}"):
        answer = ask(broker, method, path, {"Authorization": token, **MARK, "DPoP": proof}, body)
        refused(answer)
        assert "Set-Cookie" not in answer.headers
        assert (last(broker)["reason"], last(broker)["via"]) == ("pass_not_here", "job_pass")


def test_a_session_makes_no_pass_but_cancels_one(make: BrokerMaker, alice: Owner) -> None:
    broker = make()
    prover = Prover.es256()
    proof = prover.proof("POST", f"{broker.url}{wire.SESSIONS_PATH}")
    token = ask(broker, "POST", wire.SESSIONS_PATH, {**alice.ticket(), **MARK, "DPoP": proof}).json["access_token"]
    cookie = ask(broker, "POST", wire.SESSIONS_PATH, {**alice.ticket(), **MARK}).headers["Set-Cookie"].partition(";")[0]

    def session(method: str, path: str) -> dict[str, str]:
        proof = prover.proof(method, f"{broker.url}{path}", token=token)
        return {"Authorization": f"DPoP {token}", "DPoP": proof, **MARK}

    wanted = {"role": "developer"}
    assert ask(broker, "POST", wire.PASSES_PATH, session("POST", wire.PASSES_PATH), wanted).status == 401
    assert ask(broker, "POST", wire.PASSES_PATH, {"Cookie": cookie, **MARK}, wanted).status == 401
    # A program's session fetches credentials from the SDKs' address, with a proof; a cookie does not.
    path = f"{wire.CONTAINER_PATH}/developer"
    assert ask(broker, "GET", path, session("GET", path)).status == 200
    assert last(broker)["via"] == "dpop"
    assert ask(broker, "GET", path, {"Authorization": f"DPoP {token}"}).status == 401
    refused(ask(broker, "GET", path, {"Cookie": cookie, **MARK, "Sec-Fetch-Site": "same-origin"}))

    for headers in (lambda path: session("DELETE", path), lambda _: {"Cookie": cookie, **MARK}):
        made = alice.pass_of(broker)
        path = f"{wire.PASSES_PATH}/{made['id']}"
        assert ask(broker, "DELETE", path, headers(path)).status == 204
        refused(container(broker, made["pass"]))


def test_nothing_else_that_we_seal_is_a_pass_and_a_pass_is_nothing_else(make: BrokerMaker, alice: Owner) -> None:
    broker = make()
    token = alice.pass_of(broker)["pass"]
    sealed = token.removeprefix("ztpass_")
    proof = Prover.es256().proof("POST", f"{broker.url}{wire.SESSIONS_PATH}")
    session = ask(broker, "POST", wire.SESSIONS_PATH, {**alice.ticket(), **MARK, "DPoP": proof}).json["access_token"]
    cookie = ask(broker, "POST", wire.SESSIONS_PATH, {**alice.ticket(), **MARK}).headers["Set-Cookie"]
    cookie = cookie.partition(";")[0].partition("=")[2]
    for other in (session, cookie):
        refused(container(broker, f"ztpass_{other}"))
        assert last(broker)["reason"] == "pass_key_unknown"
        refused(container(broker, other))
    for text in (token, sealed):
        answer = ask(broker, "GET", wire.WHOAMI_PATH, {"Cookie": f"{wire.SESSION_COOKIE}={text}", **MARK})
        assert answer.status == 401
        assert ask(broker, "GET", wire.WHOAMI_PATH, {"Authorization": f"DPoP {text}"}).status == 401


def test_altered_cut_and_huge_passes_are_refused_and_never_repeated(make: BrokerMaker, alice: Owner) -> None:
    broker = make()
    token = alice.pass_of(broker)["pass"]
    before = broker.records()
    reasons = set()
    for bent in (
        token[:-1],
        token[:-4],
        token[: len(token) // 2],
        "ztpass_",
        token + "A",
        token + "=",
        token.replace("ztpass_", "ztpass__"),
        token[:60] + ("A" if token[60] != "A" else "B") + token[61:],
        token[:12] + ("A" if token[12] != "A" else "B") + token[13:],
        "ztpass_" + "A" * 60_000,
        f"{token} {token}",
        f"Bearer {token[:-1]}",
    ):
        answer = container(broker, bent)
        refused(answer)
        assert len(answer.body) < 1000
        reasons.add(last(broker)["reason"])
    assert reasons == {"pass_altered", "pass_key_unknown"}
    for other in (
        "",
        "x",
        "Bearer x",
        "Basic eDp4",
        token.upper(),
        f'"{token}"',
        f"Basic {token}",
        f"Negotiate {token}",
    ):
        refused(container(broker, other))
    assert "issued" not in {record["event"] for record in broker.records()[len(before) :]}
    assert token[:60] not in broker.output.read_text() + json.dumps(broker.records())


def test_a_pass_is_good_from_its_networks_only(make: BrokerMaker, alice: Owner) -> None:
    broker = make()
    made = alice.pass_of(broker)
    assert container(broker, made["pass"]).status == 200
    refused(container(broker, made["pass"], source="127.0.0.2"))
    assert (last(broker)["reason"], last(broker)["pass_id"]) == ("pass_other_network", made["id"])
    wide = alice.pass_of(broker, networks=["10.0.0.0/8", "127.0.0.0/30", "fd00::/8"])
    assert wide["networks"] == ["10.0.0.0/8", "127.0.0.0/30", "fd00::/8"]
    assert container(broker, wide["pass"], source="127.0.0.3").status == 200
    refused(container(broker, wide["pass"], source="127.0.0.4"))
    # Nobody's word on an address counts where no proxy is trusted.
    path, token = f"{wire.CONTAINER_PATH}/developer", made["pass"]
    headers = {"Authorization": token, "X-Forwarded-For": "127.0.0.1"}
    refused(ask(broker, "GET", path, headers, source="127.0.0.2"))


def test_the_networks_of_the_rule_still_count(make: BrokerMaker, alice: Owner) -> None:
    broker = make(rules=[{**RULE, "networks": ["127.0.0.1/32"]}])
    made = alice.pass_of(broker, networks=["127.0.0.0/8"])
    assert container(broker, made["pass"]).status == 200
    answer = container(broker, made["pass"], source="127.0.0.2")
    assert (answer.status, last(broker)["reason"]) == (403, "no_rule")


def test_nobody_is_asked_for_a_ticket_and_no_ticket_counts_where_get_gives_credentials(
    make: BrokerMaker, alice: Owner, sts: StrictSts
) -> None:
    broker = make()
    sts.clear_calls()
    path = f"{wire.CONTAINER_PATH}/developer"
    refused(ask(broker, "GET", path))
    ticket = alice.ticket()
    refused(ask(broker, "GET", path, {**ticket, **MARK}))
    refused(ask(broker, "GET", path, ticket))
    for foreign in (
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://other.localhost"},
    ):
        answer = ask(broker, "GET", path, {**alice.ticket(), **foreign})
        assert (answer.status, answer.headers["WWW-Authenticate"]) == (403, None)
    assert sts.calls(action="AssumeRole") == []
    # The ticket was not looked at: it is still good for what it was made for.
    assert ask(broker, "GET", wire.WHOAMI_PATH, ticket).status == 200
    for method in ("POST", "PUT", "DELETE"):
        assert ask(broker, method, path, {**alice.ticket(), **MARK}).status == 405


def test_no_page_makes_or_cancels_a_pass(make: BrokerMaker, alice: Owner) -> None:
    broker = make()
    made = alice.pass_of(broker)
    for method, path in (("POST", wire.PASSES_PATH), ("DELETE", f"{wire.PASSES_PATH}/{made['id']}")):
        for headers in ({}, {**MARK, "Sec-Fetch-Site": "cross-site"}, {**MARK, "Origin": "null"}):
            answer = ask(broker, method, path, {**alice.ticket(), **headers}, {"role": "developer"})
            assert (answer.status, answer.json["code"]) == (403, "cross_site_blocked")
    for path in (f"{CURRENT}/renew", f"{CURRENT}/attenuate"):
        assert ask(broker, "POST", path, {"Authorization": made["pass"]}).json["code"] == "cross_site_blocked"
    assert container(broker, made["pass"]).status == 200


# ---- who may have one ----


def test_only_a_rule_that_says_so_lets_a_pass_be_made(
    make: BrokerMaker, alice: Owner, realm: Realm, tmp_path: Path
) -> None:
    broker = make()
    answer = alice.asks(broker, role="readonly")
    assert (answer.status, last(broker)["reason"]) == (403, "no_job_passes")
    bodies = {json.dumps({**answer.json, "request_id": ""})}
    for role, reason in (("unheard-of", "no_rule"), ("no role", "role_malformed")):
        answer = alice.asks(broker, role=role)
        assert (answer.status, last(broker)["reason"]) == (403, reason)
        bodies.add(json.dumps({**answer.json, "request_id": ""}))
    mallory = Owner(realm, "mallory", tmp_path / "mallory.ccache")
    answer = mallory.asks(broker)
    assert (answer.status, last(broker)["reason"]) == (403, "no_rule")
    bodies.add(json.dumps({**answer.json, "request_id": ""}))
    assert len(bodies) == 1


@pytest.mark.parametrize(
    "wanted",
    [
        {"networks": []},
        {"networks": ["10.1.2.3/8"]},
        {"networks": ["everywhere"]},
        {"networks": [167772160]},
        {"networks": "10.0.0.0/8"},
        {"networks": {"10.0.0.0/8": 1}},
        {"networks": ["10.0.0.0/8"] * 17},
        {"lifetime": "19m"},
        {"lifetime": "8d"},
        {"lifetime": "999999d"},
        {"lifetime": 3600},
        {"lifetime": "-1h"},
        {"lifetime": "1w"},
        {"lifetime": "٣h"},
        {"principal": "bob@EXAMPLE.COM"},
        {"role": None},
    ],
)
def test_a_pass_that_makes_no_sense_is_refused_with_the_fault(
    make: BrokerMaker, alice: Owner, wanted: dict[str, Any]
) -> None:
    broker = make()
    answer = alice.asks(broker, **wanted)
    assert (answer.status, answer.json["code"]) == (400, "bad_request")
    assert any(word in answer.json["hint"] for word in ("networks", "lifetime", "role"))
    assert "bob" not in answer.body.decode()


def test_a_rule_s_time_bounds_the_pass(make: BrokerMaker, alice: Owner) -> None:
    broker = make(rules=[{**RULE, "job_passes": "1h"}])
    made = alice.pass_of(broker, lifetime="2d")
    assert made["expires"] == made["renewable_until"]
    assert moment(made["expires"]) - datetime.now(UTC) <= timedelta(hours=1)
    renewed = renew(broker, made["pass"]).json
    assert renewed["expires"] == made["expires"]


def test_a_rule_that_asks_for_a_stronger_ticket_asks_the_maker_of_a_pass(make: BrokerMaker, alice: Owner) -> None:
    broker = make(rules=[{**RULE, "require": {"indicators": ["pkinit"]}}])
    answer = alice.asks(broker)
    assert (answer.status, answer.json["code"]) == (403, "step_up_required")


def test_a_rule_that_was_taken_away_ends_its_passes_at_once(make: BrokerMaker, alice: Owner) -> None:
    broker = make()
    made = alice.pass_of(broker)
    for rules, reason in (
        ([BY_TICKET_ONLY], "no_rule"),
        ([{**RULE, "principals": ["root/admin@EXAMPLE.COM"]}], "no_rule"),
        ([{name: value for name, value in RULE.items() if name != "job_passes"}], "no_job_passes"),
    ):
        broker.stop()
        broker.settings["rules"] = rules
        broker.write_configuration()
        broker.start()
        answer = container(broker, made["pass"])
        assert (answer.status, answer.json["code"], last(broker)["reason"]) == (403, "access_denied", reason)
        assert renew(broker, made["pass"]).status == 403


# ---- renewed and attenuated ----


def test_an_attenuated_pass_is_never_wider_and_dies_with_the_one_it_was_made_from(
    make: BrokerMaker, alice: Owner
) -> None:
    broker = make()
    parent = alice.pass_of(broker, networks=["127.0.0.0/24"], lifetime="8h")
    for wider in (
        {"networks": ["127.0.0.0/23"]},
        {"networks": ["127.0.0.1/32", "0.0.0.0/0"]},
        {"networks": ["::/0"]},
        {"networks": ["::ffff:127.0.0.1/128"]},
        {"lifetime": "9h"},
        {"lifetime": "7d", "networks": ["127.0.0.1/32"]},
    ):
        answer = attenuate(broker, parent["pass"], **wider)
        assert (answer.status, last(broker)["reason"]) == (403, "pass_wider"), wider
    assert attenuate(broker, parent["pass"], role="developer").status == 400
    assert attenuate(broker, parent["pass"]).status == 400

    answer = attenuate(broker, parent["pass"], networks=["127.0.0.2/32", "127.0.0.1/32"], lifetime="1h")
    child = answer.json
    assert answer.status == 200, answer.body
    record = last(broker)
    assert (record["event"], record["pass_id"], record["made_from"]) == ("pass_attenuated", child["id"], parent["id"])
    assert child["expires"] == child["renewable_until"]
    assert container(broker, child["pass"]).status == 200
    refused(container(broker, child["pass"], source="127.0.0.3"))
    # Whoever shortened it meant it.
    assert renew(broker, child["pass"]).json["expires"] == child["expires"]
    assert attenuate(broker, child["pass"], lifetime="2h").status == 403
    assert attenuate(broker, child["pass"], networks=["127.0.0.0/24"]).status == 403

    other = attenuate(broker, parent["pass"], networks=["127.0.0.1/32"]).json
    assert (other["expires"], other["renewable_until"]) == (parent["expires"], parent["renewable_until"])
    # A child is given back alone, and ends with its parent.
    assert give_back(broker, child["pass"]).status == 204
    refused(container(broker, child["pass"]))
    assert container(broker, parent["pass"]).status == 200
    assert container(broker, other["pass"]).status == 200
    assert give_back(broker, parent["pass"]).status == 204
    refused(container(broker, other["pass"]))
    assert last(broker)["reason"] == "pass_cancelled"
    refused(renew(broker, other["pass"]))
    refused(attenuate(broker, parent["pass"], lifetime="1h"))


def test_passes_made_from_passes_end_somewhere(make: BrokerMaker, alice: Owner) -> None:
    broker = make()
    token = alice.pass_of(broker)["pass"]
    for _ in range(7):
        token = attenuate(broker, token, networks=["127.0.0.1/32"]).json["pass"]
    assert container(broker, token).status == 200
    answer = attenuate(broker, token, networks=["127.0.0.1/32"])
    assert (answer.status, last(broker)["reason"]) == (400, "pass_lineage")


# ---- cancelled ----


def test_a_cancelled_pass_is_refused_at_every_instance_and_after_a_restart(make: BrokerMaker, alice: Owner) -> None:
    here, there = make("here"), make("there")
    made, other = alice.pass_of(here), alice.pass_of(here)
    renewed = renew(there, made["pass"]).json
    assert container(there, made["pass"]).status == 200
    path = f"{wire.PASSES_PATH}/{made['id']}"
    assert ask(here, "DELETE", path, {**alice.ticket(), **MARK}).status == 204
    record = last(here)
    assert (record["event"], record["pass_id"], record["via"]) == ("pass_cancelled", made["id"], "ticket")
    for token in (made["pass"], renewed["pass"]):
        for broker in (there, here):
            refused(container(broker, token))
            assert last(broker)["reason"] == "pass_cancelled"
    refused(renew(there, made["pass"]))
    assert container(there, other["pass"]).status == 200
    assert ask(here, "DELETE", path, {**alice.ticket(), **MARK}).status == 404
    for broker in (here, there):
        broker.stop()
        broker.start()
        refused(container(broker, made["pass"]))


def test_nobody_cancels_another_s_pass_nor_learns_of_it(
    make: BrokerMaker, alice: Owner, realm: Realm, tmp_path: Path
) -> None:
    broker = make()
    made = alice.pass_of(broker)
    bodies = set()
    for user, identifier in (("mallory", made["id"]), ("root/admin", made["id"]), ("mallory", "0" * 32)):
        somebody = Owner(realm, user, tmp_path / "somebody.ccache")
        answer = ask(broker, "DELETE", f"{wire.PASSES_PATH}/{identifier}", {**somebody.ticket(), **MARK})
        assert (answer.status, last(broker)["reason"]) == (404, "pass_unknown")
        bodies.add(json.dumps({**answer.json, "request_id": ""}))
    assert len(bodies) == 1
    for odd in ("0" * 31, "A" * 32, "..", "current/", "%2e%2e"):
        assert ask(broker, "DELETE", f"{wire.PASSES_PATH}/{odd}", {**alice.ticket(), **MARK}).status in (404, 405)
    assert container(broker, made["pass"]).status == 200


def test_a_redis_that_was_emptied_revives_nothing(make: BrokerMaker, alice: Owner, redis_server: RedisServer) -> None:
    broker = make()
    cancelled, good = alice.pass_of(broker), alice.pass_of(broker)
    give_back(broker, cancelled["pass"])
    redis_server.cli("FLUSHALL")
    refused(container(broker, cancelled["pass"]))
    refused(container(broker, good["pass"]))


def test_whoever_writes_to_redis_makes_no_pass_count(
    make: BrokerMaker, alice: Owner, redis_server: RedisServer
) -> None:
    broker = make()
    cancelled, good = alice.pass_of(broker), alice.pass_of(broker)
    prefix = "zerotrust:{shared}:pass:"
    give_back(broker, cancelled["pass"])
    # Another pass's entry under its name, or anything at all.
    redis_server.cli("COPY", prefix + good["id"], prefix + cancelled["id"])
    refused(container(broker, cancelled["pass"]))
    redis_server.cli("SET", prefix + cancelled["id"], "x")
    refused(container(broker, cancelled["pass"]))
    redis_server.cli("DEL", prefix + cancelled["id"])
    redis_server.cli("LPUSH", prefix + cancelled["id"], "x")
    refused(container(broker, cancelled["pass"]))
    assert "alice" not in redis_server.cli("GET", prefix + good["id"])
    assert int(redis_server.cli("TTL", prefix + good["id"])) <= timedelta(days=7, minutes=6).total_seconds()


def test_while_redis_is_away_no_pass_counts_and_sessions_go_on(
    make: BrokerMaker, alice: Owner, redis_server: RedisServer
) -> None:
    broker = make()
    made = alice.pass_of(broker)
    cookie = ask(broker, "POST", wire.SESSIONS_PATH, {**alice.ticket(), **MARK}).headers["Set-Cookie"].partition(";")[0]
    redis_server.freeze()
    started = time.monotonic()
    for _ in range(3):
        answer = container(broker, made["pass"])
        assert (answer.status, answer.json["code"]) == (503, "passes_unavailable")
        assert answer.headers["Retry-After"]
    assert time.monotonic() - started < 2
    assert give_back(broker, made["pass"]).status == 503
    assert renew(broker, made["pass"]).status == 503
    assert ask(broker, "GET", wire.ROLES_PATH, {"Cookie": cookie, **MARK}).status == 200
    redis_server.thaw()
    deadline = time.monotonic() + 5
    while container(broker, made["pass"]).status != 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_without_redis_the_broker_says_that_passes_need_it(make: BrokerMaker, alice: Owner, tmp_path: Path) -> None:
    broker = make()
    made = alice.pass_of(broker)
    broker.stop()
    del broker.settings["redis"]
    broker.write_configuration()
    checked = broker.check_config()
    assert checked.returncode == 78
    assert "rules[0].job_passes: needs redis" in checked.stderr
    broker.settings["rules"] = [{name: value for name, value in RULE.items() if name != "job_passes"}]
    broker.write_configuration()
    broker.start()
    assert container(broker, made["pass"]).status == 503
    assert last(broker)["reason"] == "passes_need_redis"
    assert (alice.asks(broker).status, last(broker)["reason"]) == (403, "no_job_passes")
