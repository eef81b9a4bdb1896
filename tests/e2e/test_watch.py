"""From what somebody does to an alert on record, to a hold at every instance, to the operator who clears it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from broker import wire, wire_operators
from tests.fakes.broker import BrokerProcess, configuration
from tests.fakes.operator import MARK, Answer, Operator, send
from tests.fakes.realm import Realm
from tests.fakes.redis import RedisServer
from tests.fakes.sts.demo import demo_world
from tests.fakes.sts.process import StrictSts

ROOT, ALICE = "root/admin@EXAMPLE.COM", "alice@EXAMPLE.COM"
RULE = {"name": "engineers", "principals": [ALICE, ROOT], "roles": ["developer"], "job_passes": "1d"}
# A burst of somebody without a history is one more than this.
BURST = 61
PATIENCE = 5.0


@pytest.fixture(scope="module")
def fleet(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[BrokerProcess, BrokerProcess]]:
    folder = tmp_path_factory.mktemp("w")
    keytab = realm.keytab(folder / "http.keytab", "HTTP/localhost")

    def instance(name: str, server: RedisServer, sts: StrictSts) -> BrokerProcess:
        inner = folder / name
        inner.mkdir()
        (inner / "state").mkdir(mode=0o700)
        settings = configuration(
            folder,
            keytab=keytab,
            sts_endpoint=sts.url,
            audit={"directory": str(inner / "audit")},
            state={"directory": str(inner / "state")},
            redis={"url": server.url, "password": server.password},
            rules=[RULE],
            admin={"socket": str(inner / "s"), "principals": [ROOT]},
            watch={"respond": {"denial_burst": "hold", "reuse_of_revoked": "step_up"}},
        )
        return BrokerProcess(inner, settings, env=realm.env)

    with RedisServer.start(folder / "redis") as server, StrictSts(demo_world()) as sts:
        one, two = instance("one", server, sts), instance("two", server, sts)
        with one, two:
            yield one, two


@pytest.fixture(scope="module")
def here(fleet: tuple[BrokerProcess, BrokerProcess]) -> BrokerProcess:
    return fleet[0]


@pytest.fixture(scope="module")
def there(fleet: tuple[BrokerProcess, BrokerProcess]) -> BrokerProcess:
    return fleet[1]


def somebody(realm: Realm, folder: Path, user: str, broker: BrokerProcess) -> Operator:
    made = Operator(realm, user, folder / "ccache")
    made.env |= {"ZEROTRUST_ADMIN_SOCKET": str(broker.folder / "s"), "ZEROTRUST_HOST": "localhost"}
    return made


@pytest.fixture(scope="module")
def root(realm: Realm, tmp_path_factory: pytest.TempPathFactory, here: BrokerProcess) -> Operator:
    return somebody(realm, tmp_path_factory.mktemp("root"), "root/admin", here)


@pytest.fixture
def alice(realm: Realm, tmp_path: Path, here: BrokerProcess) -> Operator:
    """With a ticket of her own each time."""
    return somebody(realm, tmp_path, "alice", here)


def session(broker: BrokerProcess, who: Operator) -> str:
    host = ("Host", broker.url.partition("//")[2])
    answer = send(broker.url, "POST", wire.SESSIONS_PATH, [host, MARK, who.ticket()])
    return answer.headers["Set-Cookie"].partition(";")[0]


def by_cookie(broker: BrokerProcess, cookie: str, role: str = "developer") -> Answer:
    body = json.dumps({"role": role}).encode()
    host = ("Host", broker.url.partition("//")[2])
    length = ("Content-Length", str(len(body)))
    headers = [host, MARK, ("Cookie", cookie), ("Content-Type", wire.JSON), length]
    return send(broker.url, "POST", wire.CREDENTIALS_PATH, headers, body)


def credentials(broker: BrokerProcess, who: Operator) -> Answer:
    return who.ask(broker.url, "POST", wire.CREDENTIALS_PATH, b'{"role":"developer"}')


def alerts(broker: BrokerProcess, kind: str) -> list[dict[str, Any]]:
    return [record for record in broker.records() if record["event"] == "alert" and record["reason"] == kind]


def until_refused(broker: BrokerProcess, cookie: str, code: str) -> float:
    """Seconds until these credentials are refused, with this code."""
    begun = time.monotonic()
    while (answer := by_cookie(broker, cookie)).status == 200:
        assert time.monotonic() - begun < PATIENCE, "nothing is held"
        time.sleep(0.05)
    assert (answer.status, answer.code) == (403, code)
    return time.monotonic() - begun


def done(operator: Operator, *words: str) -> str:
    result = operator.admin(*words)
    assert (result.returncode, result.stderr) == (0, ""), result.stderr
    return result.stdout


def test_a_burst_of_refusals_holds_somebody_at_every_instance_until_an_operator_clears_it(
    here: BrokerProcess, there: BrokerProcess, alice: Operator, root: Operator
) -> None:
    cookie = session(there, alice)
    assert by_cookie(there, cookie).status == 200
    made = json.loads(alice.ask(here.url, "POST", wire.PASSES_PATH, b'{"role":"developer"}').body)
    # Half of them here, half there: neither alone would be enough.
    for number in range(BURST):
        by_cookie((here, there)[number % 2], cookie, role="readonly")
    until_refused(here, cookie, "approval_required")
    until_refused(there, cookie, "approval_required")
    assert credentials(there, alice).code == "approval_required"
    authorization = ("Authorization", made["pass"])
    host = ("Host", here.url.partition("//")[2])
    by_pass = send(here.url, "GET", f"{wire.CONTAINER_PATH}/developer", [host, MARK, authorization])
    assert (by_pass.status, by_pass.code) == (403, "approval_required")
    new_pass = alice.ask(here.url, "POST", wire.PASSES_PATH, b'{"role":"developer"}')
    assert new_pass.code == "approval_required"

    (record,) = alerts(here, "denial_burst") + alerts(there, "denial_burst")
    assert (record["user"], record["response"], record["cause"]) == (ALICE, "hold", "watch")
    assert record["why"][0] == "61 refusals in the hour, the last for no_rule; no history yet."
    text = [send(each.url, "GET", "/metrics", [("Host", "localhost")]).body.decode() for each in (here, there)]
    assert sum('broker_watch_alerts_total{kind="denial_burst"} 1.0' in each for each in text) == 1
    assert all("broker_watch_dropped_events_total 0.0" in each for each in text)

    (line,) = done(root, "alerts", "list").splitlines()
    assert line.endswith(f"hold      {ALICE}  by watch: denial_burst")
    assert done(root, "alerts", "clear", "--user", ALICE) == f"{ALICE} is cleared of: hold\n"
    begun = time.monotonic()
    while by_cookie(there, cookie).status != 200:
        assert time.monotonic() - begun < PATIENCE
        time.sleep(0.05)
    intent, cleared = [record for record in here.records() if record["action"] == "clear_alert"]
    assert (intent["event"], intent["about"]) == ("intent", ALICE)
    assert (cleared["event"], cleared["user"], cleared["about"]) == ("access_restored", ROOT, ALICE)
    assert f"cleared   {ALICE}  by {ROOT}" in done(root, "alerts", "list")
    # What operators revoked is another list.
    assert done(root, "revocations") == ""

    found = root.admin("watch", "replay", "--json", str(here.folder / "audit"), str(there.folder / "audit"))
    assert found.returncode == 0, found.stderr
    replayed = [json.loads(line) for line in found.stdout.splitlines()]
    assert [(each["kind"], each["user"], each["why"]) for each in replayed] == [("denial_burst", ALICE, record["why"])]


def test_after_a_step_up_only_a_newer_ticket_counts(
    fleet: tuple[BrokerProcess, BrokerProcess], alice: Operator, root: Operator, realm: Realm, tmp_path: Path
) -> None:
    here, there = fleet
    ended = session(here, alice)
    done(root, "revoke-credentials", "--user", ALICE)
    done(root, "restore", "--user", ALICE)
    time.sleep(1.1)  # A ticket names whole seconds.
    cookie = session(there, alice)
    assert by_cookie(there, cookie).status == 200
    # A session that was ended, shown again: of low severity alone, as is fitting for a forgotten tab.
    assert by_cookie(here, ended).status == 401
    done(root, "revoke-credentials", "--user", ALICE)
    assert credentials(here, alice).code == "revoked"
    time.sleep(1.1)
    done(root, "restore", "--user", ALICE)
    old = credentials(there, alice)
    assert (old.status, old.code) == (403, "step_up_required")
    assert "run zerotrust login" in json.loads(old.body)["hint"]
    time.sleep(1.1)
    (tmp_path / "anew").mkdir()
    anew = somebody(realm, tmp_path / "anew", "alice", here)
    assert credentials(there, anew).status == 200
    assert [record["severity"] for record in alerts(here, "reuse_of_revoked")] == ["low", "medium"]


def test_an_operator_who_is_held_may_still_clear_themselves(
    here: BrokerProcess, there: BrokerProcess, root: Operator
) -> None:
    cookie = session(here, root)
    for _ in range(BURST):
        by_cookie(here, cookie, role="readonly")
    until_refused(here, cookie, "approval_required")
    assert f"hold      {ROOT}" in done(root, "alerts", "list")
    assert done(root, "alerts", "clear", "--user", ROOT) == f"{ROOT} is cleared of: hold\n"
    assert by_cookie(here, cookie).status == 200


def test_who_is_no_operator_sees_and_clears_nothing(here: BrokerProcess, alice: Operator) -> None:
    listing = alice.ask(here.url, "GET", wire_operators.ALERTS_PATH)
    clearing = alice.ask(here.url, "POST", wire_operators.CLEAR_PATH, wire_operators.clearing(user=ALICE))
    assert (listing.code, clearing.code) == ("access_denied", "access_denied")
    again = alice.admin("alerts", "clear", "--user", ALICE)
    assert (again.returncode, again.stdout) == (4, "")
