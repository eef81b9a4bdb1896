"""What people see and end of their own, against brokers as processes: two that share a Redis, and one alone without any."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from broker import wire, wire_standing
from tests.e2e.test_sessions import MARK, Answer, Program, ask, cookie_of, last
from tests.fakes.broker import BrokerProcess, configuration
from tests.fakes.realm import Realm
from tests.fakes.redis import RedisServer
from tests.fakes.sts.demo import demo_world
from tests.fakes.sts.process import StrictSts
from tests.fakes.until import eventually

# A revocation reaches every instance within a second; a loaded machine gets five times that.
HEARD_SECONDS = 5.0
ALICE, MALLORY = "alice@EXAMPLE.COM", "mallory@EXAMPLE.COM"
RULES = [
    {"name": "engineers", "principals": [ALICE, MALLORY], "roles": ["developer"], "job_passes": "7d"},
    {
        "name": "strong",
        "principals": [ALICE],
        "roles": ["readonly"],
        "require": {"indicators": ["pkinit", "otp"], "max_ticket_age": "8h"},
    },
    {"name": "audited", "principals": [ALICE], "roles": ["audited"], "require": {"reason": "CHG-[0-9]+"}},
    {"name": "others", "principals": [MALLORY], "roles": ["secret-project"]},
]

Ticket = Callable[..., dict[str, str]]


@pytest.fixture(scope="module")
def sts() -> Iterator[StrictSts]:
    with StrictSts(demo_world()) as running:
        yield running


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("standing")


@pytest.fixture(scope="module")
def start(folder: Path, realm: Realm, sts: StrictSts) -> Iterator[Callable[..., BrokerProcess]]:
    """Brokers of one fleet: the same keytab and master key, each with its own folder."""
    keytab = realm.keytab(folder / "broker.keytab", "HTTP/localhost")
    made: list[BrokerProcess] = []

    def one(name: str, **sections: Any) -> BrokerProcess:
        own = folder / name
        own.mkdir()
        settings = configuration(folder, keytab=keytab, sts_endpoint=sts.url, rules=RULES, **sections)
        settings["audit"] = {"directory": str(own / "audit")}
        settings["aws"]["production_accounts"] = ["111122223333"]
        settings["roles"] |= dict.fromkeys(("audited", "secret-project"), settings["roles"]["developer"])
        if "redis" not in sections:
            settings["rules"] = [{key: rule[key] for key in rule if key != "job_passes"} for rule in RULES]
        made.append(BrokerProcess(own, settings, env=realm.env).start())
        return made[-1]

    yield one
    for process in made:
        process.kill()


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[RedisServer]:
    made = RedisServer.start(folder / "redis")
    yield made
    made.close()


@pytest.fixture(scope="module")
def fleet(start: Callable[..., BrokerProcess], server: RedisServer) -> tuple[BrokerProcess, BrokerProcess]:
    """Two instances that share a Redis."""
    shared = {"url": server.url, "password": server.password}
    return start("here", redis=shared), start("there", redis=shared)


@pytest.fixture(scope="module")
def alone(start: Callable[..., BrokerProcess]) -> BrokerProcess:
    return start("alone")


@pytest.fixture(scope="module")
def ticket(realm: Realm, folder: Path) -> Ticket:
    """A fresh ``Authorization`` header at each call."""
    clients = {name: realm.kinit(name, folder / f"ccache-{name}") for name in ("alice", "mallory")}

    def header(name: str = "alice") -> dict[str, str]:
        return {"Authorization": f"Negotiate {base64.b64encode(realm.client_token(clients[name])).decode()}"}

    return header


def seen(broker: BrokerProcess, path: str, headers: dict[str, str]) -> Any:
    answer = ask(broker, "GET", path, {**headers, **MARK})
    assert answer.status == 200, answer.body
    return answer.json


def browser(broker: BrokerProcess, ticket: Ticket, name: str = "alice") -> dict[str, str]:
    """A new session's cookie."""
    return cookie_of(ask(broker, "POST", wire.SESSIONS_PATH, {**ticket(name), **MARK}))


def ends_everything(broker: BrokerProcess, ticket: Ticket, *others: BrokerProcess) -> None:
    """Leave nothing of alice's to the next test; what she is given from here on is heard to be newer everywhere."""
    cookie = browser(broker, ticket)
    assert ask(broker, "POST", wire_standing.END_ALL_PATH, {**ticket(), **MARK}).status == 204
    for each in (broker, *others):
        refused_soon(each, cookie)


def used_by_now(broker: BrokerProcess, ticket: Ticket) -> None:
    """Nobody waits for a note: where Redis was late for it, it is the next use that is noted."""
    deadline = time.monotonic() + HEARD_SECONDS
    while not seen(broker, wire_standing.RECENTS_PATH, ticket())["recents"]:
        assert time.monotonic() < deadline
        ask(broker, "POST", wire.CREDENTIALS_PATH, {**ticket(), **MARK}, b'{"role":"developer"}')
        time.sleep(0.05)


def refused_soon(broker: BrokerProcess, cookie: dict[str, str]) -> None:
    deadline = time.monotonic() + HEARD_SECONDS
    while ask(broker, "GET", wire.WHOAMI_PATH, {**cookie, **MARK}).status != 401:
        assert time.monotonic() < deadline
        time.sleep(0.05)


# ---- sessions ----


def test_a_session_made_at_one_instance_is_listed_and_ended_at_another(
    fleet: tuple[BrokerProcess, BrokerProcess], ticket: Ticket
) -> None:
    here, there = fleet
    ends_everything(here, ticket, there)
    mine = browser(here, ticket)
    program = Program(here)
    assert program.log_in(ticket).status == 200
    browser(here, ticket, "mallory")

    found = seen(there, wire.SESSIONS_PATH, mine)
    assert found["complete"] is True
    assert sorted((one["kind"], one["current"]) for one in found["sessions"]) == [("browser", True), ("program", False)]
    assert {one["address"] for one in found["sessions"]} == {"127.0.0.1"}
    other = next(one for one in found["sessions"] if one["kind"] == "program")
    assert other["made"] < other["ends"]

    path = f"{wire.SESSIONS_PATH}/{other['id']}"
    assert ask(there, "DELETE", path, mine).json["code"] == "cross_site_blocked"
    assert ask(there, "DELETE", path, {**mine, **MARK}).status == 204
    record = last(there)
    assert (record["event"], record["action"], record["session_id"]) == ("session_ended", "end_session", other["id"])
    deadline = time.monotonic() + HEARD_SECONDS
    while program.credentials().status != 401:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert last(here)["reason"] == "session_ended"
    assert [one["current"] for one in seen(here, wire.SESSIONS_PATH, mine)["sessions"]] == [True]


def test_all_of_mine_end_everywhere_at_one_word_and_nobody_else_s(
    fleet: tuple[BrokerProcess, BrokerProcess], ticket: Ticket
) -> None:
    here, there = fleet
    mine, others = [browser(here, ticket), browser(there, ticket)], browser(here, ticket, "mallory")
    job = ask(here, "POST", wire.PASSES_PATH, {**ticket(), **MARK}, b'{"role":"developer"}').json["pass"]
    ended = ask(there, "POST", wire_standing.END_ALL_PATH, {**mine[0], **MARK})
    assert (ended.status, "Max-Age=0" in ended.headers["Set-Cookie"]) == (204, True)
    assert (last(there)["event"], last(there)["action"]) == ("session_ended", "end_all_sessions")
    for cookie in mine:
        for broker in fleet:
            refused_soon(broker, cookie)
    assert ask(here, "GET", f"{wire.CONTAINER_PATH}/developer", {"Authorization": job}).status == 401
    assert seen(here, wire.SESSIONS_PATH, ticket())["sessions"] == []
    assert seen(here, wire.PASSES_PATH, ticket())["passes"] == []
    assert len(seen(there, wire.SESSIONS_PATH, others)["sessions"]) >= 1


def test_without_redis_one_process_knows_what_it_made(alone: BrokerProcess, ticket: Ticket) -> None:
    ends_everything(alone, ticket)
    first, second = browser(alone, ticket), browser(alone, ticket)
    assert ask(alone, "POST", wire.CREDENTIALS_PATH, {**first, **MARK}, b'{"role":"developer"}').status == 200
    rows = seen(alone, wire.SESSIONS_PATH, first)["sessions"]
    assert sorted(one["current"] for one in rows) == [False, True]
    other = next(one["id"] for one in rows if not one["current"])
    assert ask(alone, "DELETE", f"{wire.SESSIONS_PATH}/{other}", {**first, **MARK}).status == 204
    assert ask(alone, "GET", wire.WHOAMI_PATH, {**second, **MARK}).status == 401
    assert "developer" in {one["role"] for one in seen(alone, wire_standing.RECENTS_PATH, first)["recents"]}
    # No pass can be made without Redis, and none is there.
    assert seen(alone, wire.PASSES_PATH, first) == {"passes": [], "complete": True}
    # A restart forgets what was noted; the sessions go on, and whoever shows one sees it.
    assert alone.stop() == 0
    alone.start()
    assert [one["current"] for one in seen(alone, wire.SESSIONS_PATH, first)["sessions"]] == [True]


def test_while_redis_is_away_the_lists_say_so_and_a_session_is_ended_all_the_same(
    fleet: tuple[BrokerProcess, BrokerProcess], ticket: Ticket, server: RedisServer
) -> None:
    here, there = fleet
    mine, other = browser(here, ticket), browser(here, ticket)
    (theirs,) = (one["id"] for one in seen(here, wire.SESSIONS_PATH, other)["sessions"] if one["current"])
    server.stop()
    try:
        found = seen(here, wire.SESSIONS_PATH, mine)
        assert (found["complete"], [one["current"] for one in found["sessions"]]) == (False, [True])
        for path, name in ((wire.PASSES_PATH, "passes"), (wire_standing.RECENTS_PATH, "recents")):
            assert seen(here, path, mine) == {name: [], "complete": False}
        assert ask(here, "DELETE", f"{wire.SESSIONS_PATH}/{theirs}", {**mine, **MARK}).status == 204
        assert ask(here, "GET", wire.WHOAMI_PATH, {**other, **MARK}).status == 401
    finally:
        server.restart()
        deadline = time.monotonic() + HEARD_SECONDS
        for path in (wire.SESSIONS_PATH, wire.PASSES_PATH):
            while not seen(here, path, mine)["complete"]:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        # The other one left Redis alone for a second, too; whoever asks it next has one ticket and asks once.
        eventually(lambda: ask(there, "GET", wire.WHOAMI_PATH, {**ticket(), **MARK}).status == 200)


# ---- job passes, and what was used ----


def test_job_passes_and_uses_of_one_instance_are_seen_at_another(
    fleet: tuple[BrokerProcess, BrokerProcess], ticket: Ticket
) -> None:
    here, there = fleet
    ends_everything(here, ticket, there)
    body = b'{"role":"developer","networks":["127.0.0.0/8"],"lifetime":"2h"}'
    made = ask(here, "POST", wire.PASSES_PATH, {**ticket(), **MARK}, body).json
    (row,) = seen(there, wire.PASSES_PATH, ticket())["passes"]
    assert row == {
        "id": made["id"],
        "role": "developer",
        "networks": ["127.0.0.0/8"],
        "made": row["made"],
        "expires": made["expires"],
        "renewable_until": made["renewable_until"],
        "address": "127.0.0.1",
    }
    assert seen(there, wire.PASSES_PATH, ticket("mallory"))["passes"] == []
    bearer = {"Authorization": made["pass"], **MARK}
    time.sleep(1.1)  # times are whole seconds
    renewed = ask(there, "POST", f"{wire.PASSES_PATH}/current/renew", bearer).json
    assert [one["expires"] for one in seen(here, wire.PASSES_PATH, ticket())["passes"]] == [renewed["expires"]]
    narrowed = ask(there, "POST", f"{wire.PASSES_PATH}/current/attenuate", bearer, b'{"lifetime":"30m"}').json
    assert {one["id"] for one in seen(here, wire.PASSES_PATH, ticket())["passes"]} == {made["id"], narrowed["id"]}

    # Nobody waits for a note: where Redis was late for it, it is the next use that is noted.
    deadline = time.monotonic() + HEARD_SECONDS
    while not (uses := seen(there, wire_standing.RECENTS_PATH, ticket())["recents"]):
        assert time.monotonic() < deadline
        assert ask(here, "GET", f"{wire.CONTAINER_PATH}/developer", bearer).status == 200
        time.sleep(0.05)
    assert [(use["role"], use["how"], use["via"], use["address"]) for use in uses] == [
        ("developer", "credentials", "job_pass", "127.0.0.1")
    ]
    # What a pass was made from ends it too.
    assert ask(there, "DELETE", f"{wire.PASSES_PATH}/{made['id']}", {**ticket(), **MARK}).status == 204
    assert seen(here, wire.PASSES_PATH, ticket())["passes"] == []


# ---- why not, and with what ----


def test_each_of_my_roles_says_what_stands_before_it_and_no_other_role_is_told_of(
    alone: BrokerProcess, ticket: Ticket
) -> None:
    found = {one["role"]: one for one in seen(alone, wire.EXPLAIN_PATH, ticket())["roles"]}
    assert {name: one["verdict"] for name, one in found.items()} == {
        "developer": "allowed",
        "audited": "approval",
        "readonly": "step_up",
    }
    assert found["developer"]["account"] == "111122223333"
    assert found["audited"]["needs"] == ["reason"]
    assert found["readonly"]["step_up"] == {
        "indicators": ["otp", "pkinit"],
        # Of the eight hours sixteen minutes have to be left: credentials live fifteen at least.
        "max_ticket_age": 8 * 3600 - 16 * 60,
        "channel_binding": False,
    }
    for name, one in found.items():
        alike = seen(alone, f"{wire.EXPLAIN_PATH}/{name}", ticket())
        assert {"role": name, **alike} == one
    unknown = seen(alone, f"{wire.EXPLAIN_PATH}/no-such", ticket())
    assert seen(alone, f"{wire.EXPLAIN_PATH}/secret-project", ticket()) == unknown
    assert unknown["verdict"] == "denied"


def test_production_is_marked_where_roles_and_accounts_are_listed(alone: BrokerProcess, ticket: Ticket) -> None:
    assert {one["production"] for one in seen(alone, wire.ROLES_PATH, ticket())["roles"]} == {True}
    assert {one["production"] for one in seen(alone, wire.WHOAMI_PATH, ticket())["accounts"]} == {True}


def test_the_container_route_takes_a_reason_in_its_address(alone: BrokerProcess, ticket: Ticket) -> None:
    program = Program(alone)
    assert program.log_in(ticket).status == 200
    path = f"{wire.CONTAINER_PATH}/audited"

    def container(query: str) -> Answer:
        return ask(alone, "GET", path + query, program.headers("GET", path))

    assert container("").json["code"] == "approval_required"
    assert container("?reason=because").json["code"] == "approval_required"
    assert container("?reason=CHG-7%20new%20disk").status == 200
    assert last(alone)["stated_reason"] == "CHG-7 new disk"
    for query in ("?reason=a&reason=b", "?reason=", "?reason=%00", "?reason=" + "x" * 201, "?why=CHG-7"):
        assert (container(query).status, container(query).json["code"]) == (400, "bad_request")


# ---- as described ----


def closed(schema: Any) -> Any:
    """The same, taking nothing beside what it names: what is not described is found."""
    if isinstance(schema, list):
        return list(map(closed, schema))
    if not isinstance(schema, dict):
        return schema
    made = {name: closed(inner) for name, inner in schema.items()}
    if isinstance(made.get("properties"), dict) and made.get("type") == "object":
        made.setdefault("additionalProperties", False)
    return made


def test_answers_are_what_the_broker_s_own_description_says(
    fleet: tuple[BrokerProcess, BrokerProcess], ticket: Ticket
) -> None:
    here, _ = fleet
    served = ask(here, "GET", "/openapi.json")
    assert (served.status, served.headers["Content-Type"]) == (200, "application/json")
    described = closed(served.json)

    def conforms(method: str, template: str, answer: Answer) -> Any:
        responses = described["paths"][template][method]["responses"]
        named = responses.get(str(answer.status), responses["default"])
        (content,) = named["content"].values()
        schema = {**content["schema"], "components": described["components"]}
        found = [error.message for error in Draft202012Validator(schema).iter_errors(answer.json)]
        assert not found, (template, found)
        return answer.json

    made = ask(here, "POST", wire.PASSES_PATH, {**ticket(), **MARK}, b'{"role":"developer"}')
    conforms("post", wire.PASSES_PATH, made)
    credentials = ask(here, "POST", wire.CREDENTIALS_PATH, {**ticket(), **MARK}, b'{"role":"developer"}')
    conforms("post", wire.CREDENTIALS_PATH, credentials)
    used_by_now(here, ticket)
    conforms("post", wire.SESSIONS_PATH, Program(here).log_in(ticket))
    cookie = browser(here, ticket)
    for path in (
        wire.ROLES_PATH,
        wire.WHOAMI_PATH,
        wire.EXPLAIN_PATH,
        wire.SESSIONS_PATH,
        wire.PASSES_PATH,
        wire.REQUESTS_PATH,
        wire_standing.RECENTS_PATH,
    ):
        body = conforms("get", path, ask(here, "GET", path, {**cookie, **MARK}))
        (rows,) = [value for value in body.values() if isinstance(value, list)]
        assert rows or path == wire.REQUESTS_PATH, path
    explained = ask(here, "GET", f"{wire.EXPLAIN_PATH}/readonly", {**cookie, **MARK})
    conforms("get", f"{wire.EXPLAIN_PATH}/{{role}}", explained)
    for path in ("/healthz", "/readyz", "/.well-known/jwks.json"):
        conforms("get", path, ask(here, "GET", path))
    refused = ask(here, "GET", wire.SESSIONS_PATH)
    assert refused.status == 401
    conforms("get", wire.SESSIONS_PATH, refused)
