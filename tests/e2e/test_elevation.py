"""A role that others must approve, a reason, and broken glass: two instances, real tickets, a Redis that is not to be trusted."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from broker import wire
from tests.fakes.broker import NO_HOME, PROGRAMS, BrokerProcess, configuration
from tests.fakes.operator import MARK, Answer, Operator, send
from tests.fakes.realm import Realm
from tests.fakes.redis import RedisServer
from tests.fakes.sts.demo import demo_world
from tests.fakes.sts.process import StrictSts

ALICE = "alice@EXAMPLE.COM"
PROD = {
    "name": "prod",
    "principals": [ALICE],
    "roles": ["developer"],
    "require": {"approval": 2, "reason": "INC-[0-9]+", "time_box": "30m"},
    "approvers": {"principals": ["mallory@EXAMPLE.COM", "paula@PARTNER.EXAMPLE", ALICE]},
}
EMERGENCY = {"name": "emergency", "principals": [ALICE], "roles": ["developer"], "require": {"break_glass": True}}
STATED = {
    "name": "stated",
    "principals": [ALICE],
    "roles": ["readonly"],
    "require": {"reason": "(INC|CHG)-[0-9]+"},
}
WAIT_SECONDS = 15.0


class Scene:
    """Two instances that share a Redis, and the people."""

    def __init__(self, folder: Path, realm: Realm, partner: Realm, server: RedisServer, sts: StrictSts) -> None:
        self.redis = server
        keytab = realm.keytab(folder / "http.keytab", "HTTP/localhost")
        self.here, self.there = (self._instance(folder, name, keytab, realm, sts) for name in ("one", "two"))
        self.alice, self.mallory, self.root = (
            Operator(realm, name, folder / f"cc-{place}")
            for place, name in enumerate(("alice", "mallory", "root/admin"))
        )
        self.paula, self.namesake = (Operator(partner, name, folder / f"cc-{name}") for name in ("paula", "alice"))
        self.paula.realm = self.namesake.realm = realm

    def _instance(self, folder: Path, name: str, keytab: Path, realm: Realm, sts: StrictSts) -> BrokerProcess:
        inner = folder / name
        (inner / "state").mkdir(parents=True, mode=0o700)
        settings = configuration(
            folder,
            keytab=keytab,
            sts_endpoint=sts.url,
            audit={"directory": str(inner / "audit")},
            state={"directory": str(inner / "state")},
            redis={"url": self.redis.url, "password": self.redis.password},
            rules=[PROD, EMERGENCY, STATED],
            admin={"principals": ["root/admin@EXAMPLE.COM"]},
        )
        settings["kerberos"]["realms"] = {"EXAMPLE.COM": {}, "PARTNER.EXAMPLE": {}}
        return BrokerProcess(inner, settings, env=realm.env)

    def credentials(self, broker: BrokerProcess, **members: str) -> Answer:
        body = json.dumps({"role": "developer", **members}).encode()
        return self.alice.ask(broker.url, "POST", wire.CREDENTIALS_PATH, body)

    def asked(self, reason: str = "INC-1: disk full") -> str:
        body = json.dumps({"role": "developer", "reason": reason}).encode()
        answer = self.alice.ask(self.here.url, "POST", wire.REQUESTS_PATH, body)
        assert (answer.status, answer.json["state"]) == (201, "pending"), answer.body
        return str(answer.json["id"])

    def says(self, who: Operator, identifier: str, what: str, broker: BrokerProcess | None = None) -> Answer:
        broker = broker or self.here
        return who.ask(broker.url, "POST", f"{wire.REQUESTS_PATH}/{identifier}/{what}")

    def state(self, identifier: str, broker: BrokerProcess | None = None) -> str:
        broker = broker or self.here
        answer = self.alice.ask(broker.url, "GET", f"{wire.REQUESTS_PATH}/{identifier}")
        return str(answer.json["state"])

    def withdraw(self, identifier: str) -> None:
        """So that the next test finds nothing open."""
        assert self.says(self.alice, identifier, "deny").status == 200

    def helper(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        where = {"ZEROTRUST_BROKER_URL": _url(self.here), "PATH": "/usr/bin:/bin", "HOME": NO_HOME}
        command = [str(PROGRAMS / "zerotrust"), *words]
        return subprocess.run(
            command, env={**where, **self.alice.env, **env}, capture_output=True, text=True, check=False, timeout=30
        )


def _url(broker: BrokerProcess) -> str:
    return broker.url.replace("127.0.0.1", "localhost")


@pytest.fixture(scope="module")
def scene(realm: Realm, partner_realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("e")
    with RedisServer.start(folder / "redis") as server, StrictSts(demo_world()) as sts:
        scene = Scene(folder, realm, partner_realm, server, sts)
        with scene.here, scene.there:
            yield scene


def records(broker: BrokerProcess, event: str) -> list[dict[str, Any]]:
    return [record for record in broker.records() if record["event"] == event]


def test_two_others_open_the_role_at_every_instance_for_the_time_of_the_box(scene: Scene) -> None:
    refused = scene.credentials(scene.here)
    assert (refused.status, refused.code) == (403, "approval_required")
    assert "the approval of 2 by mallory@EXAMPLE.COM" in refused.json["hint"]
    asked = subprocess.run(
        ["curl", "-s", "--negotiate", "-u", ":", "-H", "X-Zerotrust-Request: 1", "-w", "%{http_code}", "-d",
         '{"role":"developer","reason":"INC-7: disk full"}', f"{_url(scene.here)}/v1/requests"],
        env={"PATH": "/usr/bin:/bin", **scene.alice.env}, capture_output=True, text=True, check=True, timeout=30,
    ).stdout  # fmt: skip
    assert asked.endswith("201"), asked
    identifier = json.loads(asked[:-3])["id"]
    listed = scene.mallory.admin("requests", "--url", _url(scene.there))
    assert f"{identifier}  pending   {ALICE}  developer" in listed.stdout, listed.stderr
    approved = scene.mallory.admin("approve", identifier, "--url", _url(scene.there))
    assert "1 of 2 approvals: INC-7: disk full" in approved.stdout, approved.stderr
    assert scene.credentials(scene.there).code == "approval_required"
    assert scene.says(scene.paula, identifier, "approve").json["state"] == "open"
    given = scene.credentials(scene.there)
    assert given.status == 200, given.body
    ends = scene.alice.ask(scene.there.url, "GET", f"{wire.REQUESTS_PATH}/{identifier}").json["ends"]
    assert given.json["Expiration"] <= ends
    issued = records(scene.there, "issued")[-1]
    assert (issued["elevation"], issued["stated_reason"]) == (identifier, "INC-7: disk full")
    approvals = records(scene.there, "elevation_approved") + records(scene.here, "elevation_approved")
    assert {record["user"] for record in approvals} == {"mallory@EXAMPLE.COM", "paula@PARTNER.EXAMPLE"}
    scene.withdraw(identifier)
    assert [scene.credentials(one).code for one in (scene.here, scene.there)] == ["approval_required"] * 2


def test_nobody_approves_what_they_asked_for_twice_or_unnamed(scene: Scene) -> None:
    identifier = scene.asked()
    own, stranger = scene.says(scene.alice, identifier, "approve"), scene.says(scene.namesake, identifier, "approve")
    assert (own.status, own.code) == (403, "access_denied")
    assert (stranger.status, stranger.code) == (404, "not_found")
    nothing = scene.says(scene.namesake, "0" * 32, "approve")
    assert stranger.less_its_id == nothing.less_its_id
    assert scene.says(scene.mallory, identifier, "approve").status == 200
    assert scene.says(scene.mallory, identifier, "approve", scene.there).code == "bad_request"
    assert scene.state(identifier) == "pending"
    scene.withdraw(identifier)


def test_an_approver_approves_by_the_session_of_a_browser(scene: Scene) -> None:
    identifier = scene.asked()
    host = ("Host", _url(scene.here).partition("//")[2])
    session = send(scene.here.url, "POST", wire.SESSIONS_PATH, [host, MARK, scene.mallory.ticket()])
    cookie = ("Cookie", session.headers["Set-Cookie"].partition(";")[0])
    path = f"{wire.REQUESTS_PATH}/{identifier}/approve"
    assert send(scene.here.url, "POST", path, [host, cookie]).code == "cross_site_blocked"
    assert send(scene.here.url, "POST", path, [host, MARK, cookie, ("Content-Length", "0")]).json["approvals"] == [
        "mallory@EXAMPLE.COM"
    ]
    scene.withdraw(identifier)


def test_another_page_neither_asks_nor_approves(scene: Scene) -> None:
    identifier = scene.asked()
    host = ("Host", scene.here.url.partition("//")[2].replace("127.0.0.1", "localhost"))
    for path in (wire.REQUESTS_PATH, *(f"{wire.REQUESTS_PATH}/{identifier}/{what}" for what in ("approve", "deny"))):
        answer = send(scene.here.url, "POST", path, [host, scene.mallory.ticket()])
        assert (answer.status, answer.code, answer.headers["WWW-Authenticate"]) == (403, "cross_site_blocked", None)
        foreign = send(
            scene.here.url, "POST", path, [host, MARK, ("Origin", "https://evil.example"), scene.mallory.ticket()]
        )
        assert (foreign.status, foreign.code) == (403, "cross_site_blocked")
    assert scene.state(identifier) == "pending"
    scene.withdraw(identifier)


def test_whoever_writes_to_redis_makes_and_moves_no_approval(scene: Scene) -> None:
    opened, waiting = scene.asked("INC-1"), scene.asked("INC-2")
    for who in (scene.mallory, scene.paula):
        assert scene.says(who, opened, "approve").status == 200
    rows = {
        name: f"zerotrust:{{shared}}:elevation:{identifier}"
        for name, identifier in (("opened", opened), ("waiting", waiting))
    }
    script = """
        local rows = redis.call('HGETALL', KEYS[1])
        for place = 1, #rows, 2 do
            if rows[place] ~= 'request' then redis.call('HSET', KEYS[2], rows[place], rows[place + 1]) end
        end
        redis.call('HSET', KEYS[2], 'by-0123', rows[2], 'by-4567', 'forged')
        return #rows"""
    assert scene.redis.cli("EVAL", script, "2", rows["opened"], rows["waiting"]).strip().endswith("6")
    assert scene.state(waiting) == "pending"
    # The whole of one under the name of the other is no request at all.
    scene.redis.cli("COPY", rows["opened"], rows["waiting"], "REPLACE")
    assert scene.alice.ask(scene.here.url, "GET", f"{wire.REQUESTS_PATH}/{waiting}").status == 404
    scene.withdraw(opened)


def test_an_old_dump_of_redis_revives_nothing_that_was_denied(scene: Scene) -> None:
    identifier = scene.asked()
    for who in (scene.mallory, scene.paula):
        assert scene.says(who, identifier, "approve").status == 200
    assert scene.credentials(scene.there).status == 200
    row = f"zerotrust:{{shared}}:elevation:{identifier}"
    scene.redis.cli("COPY", row, "kept")
    denied = scene.mallory.admin("deny", identifier, "--reason", "enough", "--url", _url(scene.here))
    assert f"{identifier}  denied" in denied.stdout, denied.stderr
    scene.redis.cli("COPY", "kept", row, "REPLACE")
    assert [scene.state(identifier, one) for one in (scene.here, scene.there)] == ["denied"] * 2
    assert [scene.credentials(one).code for one in (scene.here, scene.there)] == ["approval_required"] * 2
    scene.redis.cli("DEL", "kept")


def test_approvers_decide_by_the_users_own_command(scene: Scene) -> None:
    identifier, mallory = scene.asked(), scene.mallory.env
    assert scene.helper("explain", "developer").returncode == 7
    rows = {
        row[0]: row for row in (line.split("\t") for line in scene.helper("requests", **mallory).stdout.splitlines())
    }
    assert rows[identifier][1:4] == ["pending", ALICE, "developer"]
    assert rows[identifier][5:] == ["0 of 2", "decide", "INC-1: disk full"]
    own = scene.helper("approve", identifier)
    assert (own.returncode, own.stdout) == (4, "")
    assert f"{identifier} pending: 1 of 2 approvals, until " in scene.helper("approve", identifier, **mallory).stdout
    assert scene.says(scene.paula, identifier, "approve").status == 200
    explained = scene.helper("explain", "developer")
    assert (explained.returncode, "verdict\tallowed" in explained.stdout) == (0, True)
    ended = scene.helper("deny", identifier, "--reason", "enough", **mallory)
    assert ended.stdout.startswith(f"{identifier} denied: "), ended.stderr
    assert scene.helper("explain", "developer").returncode == 7


def test_a_reason_is_asked_for_each_time_and_the_helper_says_so(scene: Scene) -> None:
    without = scene.helper("credential-process", "--role", "readonly")
    assert (without.returncode, without.stdout) == (7, "")
    assert "a reason that begins like (INC?CHG)" in without.stderr.replace("|", "?")
    assert "[approval_required] — run: zerotrust request" in without.stderr
    unfit = scene.helper("credential-process", "--role", "readonly", "--reason", "because")
    assert unfit.returncode == 7
    given = scene.helper("credential-process", "--role", "readonly", "--reason", 'CHG-4: "quoted" ünd')
    assert given.returncode == 0, given.stderr
    assert records(scene.here, "issued")[-1]["stated_reason"] == 'CHG-4: "quoted" ünd'
    by_environment = scene.helper("credential-process", "--role", "readonly", ZEROTRUST_REASON="INC-5")
    assert by_environment.returncode == 0
    assert records(scene.here, "issued")[-1]["stated_reason"] == "INC-5"
    needs = {line.split("\t")[0]: line.split("\t")[5] for line in scene.helper("roles").stdout.splitlines()}
    assert needs == {"developer": "approval,reason", "readonly": "reason"}
    asked = scene.helper("request", "--role", "developer", "--reason", "INC-6", "--duration", "20m")
    assert " pending: 0 of 2 approvals, until " in asked.stdout, asked.stderr
    assert f"run: zerotrust approve {asked.stdout.split()[0]}" in asked.stderr
    scene.withdraw(asked.stdout.split()[0])


def test_broken_glass_works_alone_without_redis_and_is_reviewed_by_somebody_else(scene: Scene) -> None:
    host = ("Host", _url(scene.here).partition("//")[2])
    session = send(scene.here.url, "POST", wire.SESSIONS_PATH, [host, MARK, scene.alice.ticket()])
    cookie = ("Cookie", session.headers["Set-Cookie"].partition(";")[0])

    def by_session(path: str, **members: object) -> Answer:
        body = json.dumps({"role": "developer", **members}).encode()
        headers = [host, MARK, cookie, ("Content-Type", wire.JSON), ("Content-Length", str(len(body)))]
        return send(scene.here.url, "POST", path, headers, body)

    scene.redis.freeze()
    try:
        refused = by_session(wire.CREDENTIALS_PATH)
        assert (refused.status, refused.code) == (503, "approvals_unavailable")
        broken = by_session(wire.REQUESTS_PATH, reason="the site is down", break_glass=True)
        assert (broken.status, broken.json["state"]) == (201, "open"), broken.body
        assert by_session(wire.CREDENTIALS_PATH).status == 200
    finally:
        scene.redis.thaw()
    identifier = broken.json["id"]
    (alarm,) = records(scene.here, "alert")
    assert (alarm["reason"], alarm["severity"], alarm["elevation"]) == ("break_glass", "high", identifier)
    told = subprocess.run(
        [str(PROGRAMS / "zerotrust-admin"), "audit", "trace", identifier, "--config", str(scene.here.config)],
        env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=True, timeout=30,
    ).stdout  # fmt: skip
    assert [line.split()[2] for line in told.splitlines()[:4]] == ["alert", "break_glass", "intent", "issued"]
    assert " raise_alert developer break_glass  " in told
    _eventually_withdrawn(scene, identifier)
    assert f"{identifier}  waiting   {ALICE}  developer" in _waiting(scene)
    close = ("reviews", "close", identifier, "--note", "justified", "--url", _url(scene.here))
    assert scene.alice.admin(*close).returncode == 4
    closed = scene.root.admin(*close)
    assert closed.returncode == 0, closed.stderr
    packet = json.loads(Path(closed.stdout.split()[-1]).read_bytes())["packet"]
    told = [json.loads(line)["event"] for line in packet["records"]]
    assert told[:4] == ["alert", "break_glass", "intent", "issued"]
    assert records(scene.here, "review_closed")[-1]["note"] == "justified"


def _eventually_withdrawn(scene: Scene, identifier: str) -> None:
    """Once Redis is believed again."""
    deadline = time.monotonic() + WAIT_SECONDS
    while (answer := scene.says(scene.alice, identifier, "deny")).status != 200:
        assert time.monotonic() < deadline, answer.body
        time.sleep(0.2)


def test_glass_that_is_broken_at_one_instance_is_broken_at_the_others(scene: Scene) -> None:
    broken = scene.alice.admin("break-glass", "developer", "--reason", "down again", "--url", _url(scene.here))
    assert broken.returncode == 0, broken.stderr
    assert scene.credentials(scene.there).status == 200
    _eventually_withdrawn(scene, broken.stdout.split()[0])
    assert scene.credentials(scene.there).code == "approval_required"


def _waiting(scene: Scene) -> str:
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        listed = scene.root.admin("reviews", "--url", _url(scene.here))
        if "waiting" in listed.stdout:
            return listed.stdout
        time.sleep(0.2)
    pytest.fail(f"no review waits: {listed.stdout} {listed.stderr}")
