"""The doors of the vault at a real broker: who reads and writes which secrets, by which ways, and what is on record."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from broker import wire, wire_secrets
from tests.fakes.asker import get as fetch
from tests.fakes.broker import BrokerProcess, configuration
from tests.fakes.dpop import Prover
from tests.fakes.operator import MARK, Answer, Operator, last, send
from tests.fakes.realm import Realm
from tests.fakes.request_signer import RequestSigner
from tests.fakes.until import until

NO_STS = "http://127.0.0.1:1"
ALICE, MALLORY, ROOT = "alice@EXAMPLE.COM", "mallory@EXAMPLE.COM", "root/admin@EXAMPLE.COM"
EVERYTHING = ["list", "read", "write", "delete", "destroy"]
VALUE = "s3cret-\u00e4-\U0001f511"
RULES: list[dict[str, Any]] = [
    {"name": "team-a", "paths": ["team-a/**"], "principals": [ALICE], "actions": EVERYTHING},
    {"name": "readers", "paths": ["team-a/db"], "principals": [MALLORY], "actions": ["read"]},
    {
        "name": "strong",
        "paths": ["strong/*"],
        "principals": [ALICE],
        "actions": ["read"],
        "require": {"indicators": ["otp"]},
    },
    {
        "name": "reasoned",
        "paths": ["reasoned/*"],
        "principals": [ALICE],
        "actions": ["write"],
        "require": {"reason": "INC-"},
    },
    {"name": "far", "paths": ["far/*"], "principals": [ALICE], "actions": ["read"], "networks": ["10.0.0.0/8"]},
]


@pytest.fixture(scope="module")
def broker(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerProcess]:
    folder = tmp_path_factory.mktemp("vault")
    (folder / "state").mkdir(mode=0o700)
    settings = configuration(
        folder,
        keytab=realm.keytab(folder / "http.keytab", "HTTP/localhost"),
        sts_endpoint=NO_STS,
        secrets={"rules": RULES, "signing_keys": [{"principal": ALICE, "public_key": KEY.public_pem}]},
        state={"directory": str(folder / "state")},
        admin={"principals": [ROOT]},
    )
    with BrokerProcess(folder, settings, env=realm.env) as started:
        yield started


KEY = RequestSigner.ed25519()


@pytest.fixture(scope="module")
def alice(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Operator:
    return Operator(realm, "alice", tmp_path_factory.mktemp("alice") / "ccache")


@pytest.fixture(scope="module")
def mallory(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Operator:
    return Operator(realm, "mallory", tmp_path_factory.mktemp("mallory") / "ccache")


@pytest.fixture(scope="module")
def root(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Operator:
    return Operator(realm, "root/admin", tmp_path_factory.mktemp("root") / "ccache")


def put(who: Operator, broker: BrokerProcess, path: str, query: str = "", **members: Any) -> Answer:
    body = json.dumps({"fields": {"value": VALUE}} | members).encode()
    return who.ask(broker.url, "PUT", f"{wire_secrets.PREFIX}{path}{query}", body)


def get(who: Operator, broker: BrokerProcess, path: str, query: str = "") -> Answer:
    return who.ask(broker.url, "GET", f"{wire_secrets.PREFIX}{path}{query}")


def post(who: Operator, broker: BrokerProcess, target: str, body: bytes = b"") -> Answer:
    return who.ask(broker.url, "POST", f"{wire_secrets.PREFIX}{target}", body)


# ---- the way ----


def test_what_was_written_is_read_and_both_are_on_record_as_the_guide_shows_it(
    broker: BrokerProcess, alice: Operator
) -> None:
    answer = put(alice, broker, "team-a/way")
    assert (answer.status, answer.json) == (200, {"path": "team-a/way", "version": "1"})
    wrote = [record for record in broker.records() if record["request_id"] == last(broker)["request_id"]]
    assert [(record["event"], record["success"]) for record in wrote] == [("intent", True), ("secret_access", True)]
    answer = get(alice, broker, "team-a/way")
    assert (answer.status, answer.json["fields"], answer.json["version"]) == (200, {"value": VALUE}, "1")
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["WWW-Authenticate"].startswith("Negotiate "), "the broker proves itself"
    record = last(broker)
    shown = {name: record[name] for name in ("level", "event", "user", "action", "resource", "source_ip", "success")}
    assert shown == {
        "level": "INFO",
        "event": "secret_access",
        "user": ALICE,
        "action": "read",
        "resource": "team-a/way",
        "source_ip": "127.0.0.1",
        "success": True,
    }
    assert (record["rule"], record["version"], record["via"]) == ("team-a", "1", "ticket")


def test_a_version_is_deleted_brought_back_destroyed_and_each_step_has_its_own_answer(
    broker: BrokerProcess, alice: Operator
) -> None:
    for number in ("1", "2"):
        assert put(alice, broker, "team-a/life").json["version"] == number
    assert alice.ask(broker.url, "DELETE", f"{wire_secrets.PREFIX}team-a/life").status == 200
    gone = get(alice, broker, "team-a/life")
    assert (gone.status, gone.code, last(broker)["reason"]) == (404, "secret_not_found", "secret_deleted")
    assert get(alice, broker, "team-a/life", "?version=1").json["fields"] == {"value": VALUE}
    assert post(alice, broker, "team-a/life:undelete").status == 200
    assert get(alice, broker, "team-a/life").json["version"] == "2"
    unsaid = post(alice, broker, "team-a/life:destroy")
    assert (unsaid.status, last(broker)["reason"]) == (400, "secret_unfit_version")
    assert post(alice, broker, "team-a/life:destroy", wire_secrets.versions([2])).status == 200
    assert (get(alice, broker, "team-a/life").status, last(broker)["reason"]) == (404, "secret_destroyed")
    assert (post(alice, broker, "team-a/life:undelete").status, last(broker)["reason"]) == (404, "secret_destroyed")
    found = get(alice, broker, "team-a/life/versions").json
    assert [(one["version"], bool(one["destroyed"])) for one in found["versions"]] == [(1, False), (2, True)]
    assert found["versions"][1]["destroyed"]["by"] == ALICE
    assert VALUE not in json.dumps(found, ensure_ascii=False)
    assert post(alice, broker, "team-a/life:purge").status == 200
    assert get(alice, broker, "team-a/life/versions").status == 404


def test_check_and_set_lets_one_of_two_through(broker: BrokerProcess, alice: Operator) -> None:
    assert put(alice, broker, "team-a/cas", cas=0).status == 200
    lost = put(alice, broker, "team-a/cas", cas=0)
    assert (lost.status, lost.code, last(broker)["reason"]) == (409, "version_conflict", "secret_cas_mismatch")
    assert put(alice, broker, "team-a/cas", cas=1).json["version"] == "2"


def test_what_has_expired_is_read_by_nobody_and_the_try_is_on_record(broker: BrokerProcess, alice: Operator) -> None:
    described = {"expires": "2020-01-01T00:00:00Z", "contact": "db@example.com", "rotate_every": "90d"}
    assert put(alice, broker, "team-a/old", metadata=described).status == 200
    answer = get(alice, broker, "team-a/old")
    assert (answer.status, answer.code) == (404, "secret_not_found")
    assert "expired" in answer.json["hint"]
    record = last(broker)
    assert (record["event"], record["reason"], record["user"]) == ("secret_access", "secret_expired", ALICE)
    assert post(alice, broker, "team-a/old:describe", b'{"expires":null}').status == 200
    assert get(alice, broker, "team-a/old").status == 200
    known = get(alice, broker, "team-a/old/versions").json
    assert (known["contact"], known["rotate_every"]) == ("db@example.com", 90 * 86_400)
    assert (known["created"]["by"], known["used"]["by"], known["used"]["with"]) == (ALICE, ALICE, "/v1/secrets")


def test_a_date_that_is_none_in_utc_is_refused_and_the_secret_can_be_looked_at(
    broker: BrokerProcess, alice: Operator
) -> None:
    answer = put(alice, broker, "team-a/late", metadata={"expires": "9999-12-31T23:59:59-01:00"})
    assert (answer.status, answer.code) == (400, "bad_request")
    assert put(alice, broker, "team-a/late").json["version"] == "1", "nothing was written"
    answer = post(alice, broker, "team-a/late:describe", b'{"expires":"0001-01-01T00:00:00+01:00"}')
    assert (answer.status, answer.code) == (400, "bad_request")
    assert get(alice, broker, "team-a/late/versions").status == 200


def test_a_list_holds_what_may_be_listed_below_a_prefix_and_nothing_beside_it(
    broker: BrokerProcess, alice: Operator, mallory: Operator
) -> None:
    for path in ("team-a/list/one", "team-a/list/two", "team-a/listed"):
        assert put(alice, broker, path).status == 200
    answer = alice.ask(broker.url, "GET", f"{wire_secrets.SECRETS_PATH}?prefix=team-a/list")
    assert answer.json == {"secrets": ["team-a/list/one", "team-a/list/two"]}
    assert last(broker)["action"] == "list"
    assert "team-a/listed" in alice.ask(broker.url, "GET", wire_secrets.SECRETS_PATH).json["secrets"]
    assert alice.ask(broker.url, "GET", f"{wire_secrets.SECRETS_PATH}?prefix=team-b").status == 403
    assert mallory.ask(broker.url, "GET", wire_secrets.SECRETS_PATH).status == 403
    assert alice.ask(broker.url, "GET", f"{wire_secrets.SECRETS_PATH}?due=true").json == {"due": []}


def test_what_the_broker_makes_is_told_to_readers_and_not_to_who_asked_for_it(
    broker: BrokerProcess, alice: Operator
) -> None:
    recipe = {"kind": "text", "length": 24, "classes": ["lower", "digits"]}
    written = put(alice, broker, "team-a/made", fields={"user": "app"}, generate={"password": recipe})
    assert (written.status, written.json) == (200, {"path": "team-a/made", "version": "1"})
    assert (last(broker)["fields"], last(broker)["generated"]) == (2, 1)
    password = get(alice, broker, "team-a/made").json["fields"]["password"]
    assert len(password) == 24
    assert set(password) <= set("abcdefghijklmnopqrstuvwxyz0123456789")
    weak = put(alice, broker, "team-a/made", fields={}, generate={"password": {"length": 4}})
    assert (weak.status, last(broker)["reason"]) == (400, "secret_unfit_policy")
    assert "bits" in weak.json["hint"]
    assert get(alice, broker, "team-a/made").json["version"] == "1"


# ---- who may not ----


def test_unknown_and_forbidden_are_one_answer_and_each_is_on_record(
    broker: BrokerProcess, alice: Operator, mallory: Operator, root: Operator
) -> None:
    assert put(alice, broker, "team-a/there").status == 200
    answers = []
    for who, path in (
        (mallory, "team-a/there"),
        (mallory, "team-a/not-there"),
        (root, "team-a/there"),
        (alice, "nowhere"),
    ):
        answers.append(get(who, broker, path))
        record = last(broker)
        assert (record["event"], record["success"], record["reason"]) == ("secret_access", False, "no_secret_rule")
        assert (record["action"], record["resource"], record["level"]) == ("read", path, "WARNING")
    assert {(answer.status, answer.code) for answer in answers} == {(403, "access_denied")}
    assert len({json.dumps(answer.less_its_id) for answer in answers}) == 1
    kinds = {tuple(name for name in answer.headers if name not in {"Date", "X-Request-Id"}) for answer in answers}
    assert len(kinds) == 1
    lengths = {answer.headers["Content-Length"] for answer in answers}
    assert len(lengths) == 1
    missing = get(alice, broker, "team-a/not-there")
    assert (missing.status, missing.code) == (404, "secret_not_found")


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_who_may_read_may_not_write(broker: BrokerProcess, alice: Operator, mallory: Operator, method: str) -> None:
    assert put(alice, broker, "team-a/db").status == 200
    assert get(mallory, broker, "team-a/db").json["fields"] == {"value": VALUE}
    body = b'{"fields":{"value":"x"}}' if method == "PUT" else b""
    refused = mallory.ask(broker.url, method, f"{wire_secrets.PREFIX}team-a/db", body)
    assert (refused.status, refused.code) == (403, "access_denied")
    nonsense = mallory.ask(broker.url, method, f"{wire_secrets.PREFIX}team-a/db", b"{nonsense")
    assert nonsense.less_its_id == refused.less_its_id
    assert post(mallory, broker, "team-a/db:destroy", wire_secrets.versions([1])).status == 403
    assert get(mallory, broker, "team-a/db/versions").status == 403


def test_a_step_up_a_reason_and_a_network_are_asked_for(broker: BrokerProcess, alice: Operator) -> None:
    weak = get(alice, broker, "strong/x")
    assert (weak.status, weak.code) == (403, "step_up_required")
    assert "otp" in weak.json["hint"]
    mute = put(alice, broker, "reasoned/x")
    assert (mute.status, mute.code) == (403, "approval_required")
    assert put(alice, broker, "reasoned/x", "?reason=because").status == 403
    assert put(alice, broker, "reasoned/x", "?reason=INC-7%20db%20down").status == 200
    assert last(broker)["stated_reason"] == "INC-7 db down"
    assert get(alice, broker, "far/x").code == "access_denied"


def test_without_the_header_no_secret_is_even_read(broker: BrokerProcess, alice: Operator) -> None:
    before = len(broker.records())
    for path in ("/v1/secrets", "/v1/secrets/team-a/db", "/v1/%73ecrets/team-a/db", "/v1/secrets/team-a/db/versions"):
        headers = [("Host", urlsplit(broker.url).netloc), alice.ticket()]
        answer = send(broker.url, "GET", path, headers)
        assert (answer.status, answer.code, answer.headers["WWW-Authenticate"]) == (403, "cross_site_blocked", None)
    assert len(broker.records()) == before


def test_nobody_is_challenged_and_nothing_is_written_down(broker: BrokerProcess) -> None:
    before = len(broker.records())
    for method in ("GET", "PUT", "DELETE", "POST"):
        answer = send(broker.url, method, "/v1/secrets/team-a/db", [("Host", urlsplit(broker.url).netloc), MARK])
        assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Negotiate")
    assert len(broker.records()) == before


def test_a_signature_counts_where_there_is_one(broker: BrokerProcess, alice: Operator, mallory: Operator) -> None:
    path = f"{wire_secrets.PREFIX}team-a/db"
    body = b'{"fields":{"value":"signed"}}'
    assert alice.ask(broker.url, "PUT", path, body, signer=KEY).status == 200
    assert last(broker)["signed_by"]
    stolen = mallory.ask(broker.url, "GET", path, signer=KEY)
    assert (stolen.status, stolen.code, last(broker)["reason"]) == (
        401,
        "signature_refused",
        "signature_key_of_another",
    )


def test_a_program_s_session_reads_with_a_proof_for_this_very_target(broker: BrokerProcess, alice: Operator) -> None:
    put(alice, broker, "team-a/db")
    prover, host = Prover.es256(), ("Host", urlsplit(broker.url).netloc)
    opening = [host, MARK, alice.ticket(), (wire.DPOP, prover.proof("POST", f"{broker.url}{wire.SESSIONS_PATH}"))]
    token = send(broker.url, "POST", wire.SESSIONS_PATH, opening).json["access_token"]
    target = f"{wire_secrets.PREFIX}team-a/db"

    def read(proven: str) -> Answer:
        proof = (wire.DPOP, prover.proof("GET", f"{broker.url}{proven}", token=token))
        return send(broker.url, "GET", target, [host, MARK, ("Authorization", f"DPoP {token}"), proof])

    assert read(target).json["path"] == "team-a/db"
    assert last(broker)["via"] == "dpop"
    assert read(f"{wire_secrets.PREFIX}team-a/other").status == 401


# ---- hostile paths ----

HOSTILE = [
    "team-a/..", "team-a/../team-a/db", "team-a/./db", "team-a//db", "/team-a/db", "team-a/db/", "team-a/%2e%2e/team-a/db",
    "team-a%2Fdb", "team-a%2fdb", "team-a/d%62", "%74eam-a/db", "team-a/db%00", "team-a/db%20", "team-a/db%0a", "team-a/db;x",
    "team-a/db%3Fversion=1", "team-a\\db", "team-a/db%c3%a4", "team-a/%ef%bd%84b", "a" * 257, "team-a/*", "team-a/**", "**",
    "team-a/db:", "team-a/db:read", "~/team-a/db", "team-a/db%252f", "",
]  # fmt: skip


@pytest.mark.parametrize("path", HOSTILE, ids=ascii)
def test_a_hostile_path_reaches_no_secret(broker: BrokerProcess, alice: Operator, path: str) -> None:
    put(alice, broker, "team-a/db")
    answer = alice.ask(broker.url, "GET", f"{wire_secrets.PREFIX}{path}")
    assert answer.status in {400, 403, 404, 405}, answer.body
    assert VALUE.encode() not in answer.body
    assert b"fields" not in answer.body
    if answer.status == 400:
        assert (last(broker)["reason"], last(broker)["success"]) == ("path_malformed", False)


@pytest.mark.parametrize("path", ["Team-a/db", "team-a/DB", "team-A/db"])
def test_case_is_not_folded(broker: BrokerProcess, alice: Operator, path: str) -> None:
    put(alice, broker, "team-a/db")
    assert get(alice, broker, path).status in {403, 404}


def test_bodies_that_are_too_large_or_none_are_refused_and_nothing_is_written(
    broker: BrokerProcess, alice: Operator
) -> None:
    huge = put(alice, broker, "team-a/large", fields={"value": "x" * wire_secrets.BODY_MAX})
    assert (huge.status, huge.code) == (413, "too_large")
    large = put(alice, broker, "team-a/large", fields={"value": "x" * (64 * 1024 + 1)})
    assert (large.status, large.code) == (400, "bad_request")
    odd = put(alice, broker, "team-a/large", where="team-a/other")
    assert (odd.status, last(broker)["reason"]) == (400, "body_malformed")
    assert put(alice, broker, "team-a/large/versions").status == 400
    assert get(alice, broker, "team-a/large").status == 404
    most = put(alice, broker, "team-a/large", fields={"value": "x" * 65_000})
    assert most.status == 200, most.body
    assert len(get(alice, broker, "team-a/large").json["fields"]["value"]) == 65_000


@pytest.mark.parametrize(
    "query", ["?version=1&version=2", "?versions=1", "?reason=", "?reason=a%0ab", "?version=-1", "?version=%D9%A1"]
)
def test_a_query_that_is_none_is_refused(broker: BrokerProcess, alice: Operator, query: str) -> None:
    put(alice, broker, "team-a/db")
    assert get(alice, broker, "team-a/db", query).status == 400


def test_no_value_and_no_name_of_a_field_is_in_any_record_metric_or_log(broker: BrokerProcess, alice: Operator) -> None:
    canary, name = "canary-8f3b1c77d2", "field-4c1d9e"
    assert put(alice, broker, "team-a/canary", fields={name: canary}).status == 200
    assert get(alice, broker, "team-a/canary").json["fields"] == {name: canary}
    put(alice, broker, "team-a/canary", fields={name: canary}, cas=7)
    written = "".join(path.read_text() for path in broker.audit_directory.glob("audit-*")) + broker.output.read_text()
    metrics = send(broker.url, "GET", "/metrics", [("Host", urlsplit(broker.url).netloc)]).body.decode()
    state = b"".join(path.read_bytes() for path in (broker.folder / "state").iterdir() if path.is_file())
    for value in (canary, name, base64.b64encode(canary.encode())[:-4].decode()):
        assert value not in written + metrics
        assert value.encode() not in state
    assert 'broker_secret_requests_total{action="read",outcome="done"}' in metrics
    assert "team-a" not in metrics


# ---- what operators see of all of them ----


def test_a_row_that_somebody_altered_is_one_alarm_and_the_gauges_say_how_many_secrets_there_are(
    broker: BrokerProcess, alice: Operator
) -> None:
    assert put(alice, broker, "team-a/altered").status == 200
    state = Path(broker.settings["state"]["directory"])
    with contextlib.closing(sqlite3.connect(state / "vault.sqlite")) as db:
        (newest,) = db.execute("SELECT max(rowid) FROM secrets").fetchone()
        (head,) = db.execute("SELECT head FROM secrets WHERE rowid = ?", (newest,)).fetchone()
        db.execute("UPDATE secrets SET head = ? WHERE rowid = ?", (head[:-1] + bytes([head[-1] ^ 1]), newest))
        db.commit()
        for _ in range(3):
            assert get(alice, broker, "team-a/altered").code == "secrets_rejected"
        asyncio.run(until(lambda: any(record["event"] == "vault_tamper" for record in broker.records()), seconds=60))
        (record,) = [record for record in broker.records() if record["event"] == "vault_tamper"]
        assert (record["resource"], record["reason"], record["success"]) == ("team-a/altered", "row_altered", False)
        db.execute("UPDATE secrets SET head = ? WHERE rowid = ?", (head, newest))
        db.commit()
    text = fetch(broker.url, "/metrics").text
    assert "broker_vault_tampered_total 1.0" in text
    assert 'broker_secrets{state="damaged"} 0.0' in text
    assert "broker_secrets_rotation_overdue 0.0" in text
