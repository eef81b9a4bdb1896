"""What a session carries and is limited to, from the client's command line to what STS is asked."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from broker import wire
from tests.e2e.conftest import ASK, House, Reply, settings_of
from tests.fakes.broker import BrokerProcess
from tests.fakes.dpop import Prover
from tests.fakes.realm import Realm
from tests.fakes.sts import Role, StrictSts, demo_world
from tests.fakes.sts.demo import (
    ASSUME_ACTIONS,
    BROKER_USER,
    DEVELOPER_EXTERNAL_ID,
    DEVELOPER_ROLE,
    HUB_EXTERNAL_ID,
    HUB_ROLE,
    allow,
    trust,
)

Tickets = dict[str, str]

READ_ONLY = "arn:aws:iam::aws:policy/ReadOnlyAccess"
LONG = "arn:aws:iam::111122223333:role/Long"
STATEMENT = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::mine/*"}
POLICY = {"Version": "2012-10-17", "Statement": [STATEMENT]}
# More than the strict STS has room for, together with anything else.
LARGE = "v" * 250
CHAIN = [
    {"arn": HUB_ROLE, "external_id": HUB_EXTERNAL_ID},
    {"arn": DEVELOPER_ROLE, "external_id": DEVELOPER_EXTERNAL_ID},
]
ROLES = {
    "developer": {"chain": CHAIN, "scopes": {"readonly": {"policy_arns": [READ_ONLY]}, "mine": {"policy": POLICY}}},
    "tagged": {
        "chain": CHAIN,
        "tags": {"Who": "{principal}", "By": "{rule}/{role}", "Team": "{group}", "Note": LARGE, "Rest": LARGE},
        "transitive_tags": ["Who"],
        "optional_tags": ["Team", "Note", "Rest"],
    },
    "long": {"chain": [{"arn": LONG, "max_session_duration": "4h"}], "duration": "4h"},
    "forbidden": {"chain": [{"arn": DEVELOPER_ROLE}], "scopes": {"readonly": {"policy_arns": [READ_ONLY]}}},
}
RULES = [{"name": "engineers", "principals": ["alice@EXAMPLE.COM"], "roles": ["developer", "tagged", "long"]}]


@pytest.fixture(scope="module")
def house(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    world = demo_world()
    user = replace(world.users[0], policy=allow(ASSUME_ACTIONS, HUB_ROLE, LONG))
    long = Role(LONG, trust(BROKER_USER, external_id=None), max_session_duration=4 * 3600)
    folder = tmp_path_factory.mktemp("scopes")
    with StrictSts(replace(world, users=(user,), roles=(*world.roles, long))) as sts:
        aws = {"region": "eu-central-1", "sts_endpoint": sts.url, "account_aliases": {"prod": "111122223333"}}
        aws["production_accounts"] = ["111122223333"]
        settings = settings_of(folder, realm, sts, aws=aws, roles=ROLES, rules=RULES)
        with BrokerProcess(folder, settings, env=realm.env) as broker:
            yield House(broker, realm, sts)


def ask(house: House, who: Tickets, **members: Any) -> Reply:
    token = house.realm.client_token(who)
    return house.send("POST", wire.CREDENTIALS_PATH, headers=ASK, body=json.dumps(members), token=token)


def get(house: House, who: Tickets, path: str) -> Any:
    reply = house.send("GET", path, token=house.realm.client_token(who))
    assert reply.status == 200
    return reply.json


def test_each_scope_has_credentials_of_its_own_and_the_record_says_which(house: House, alice: Tickets) -> None:
    house.sts.clear()
    keys = {
        scope: ask(house, alice, role="developer", scope=scope).json["AccessKeyId"] for scope in ("readonly", "mine")
    }
    keys[None] = ask(house, alice, role="developer").json["AccessKeyId"]
    assert len(set(keys.values())) == 3
    asked = [
        (call["policy"], call["policy_arns"])
        for call in house.sts.calls(role_arn=DEVELOPER_ROLE)
        if call["status"] == 200
    ]
    assert asked == [(None, [READ_ONLY]), (json.dumps(POLICY, separators=(",", ":")), []), (None, [])]
    assert all(call["policy"] is None and not call["policy_arns"] for call in house.sts.calls(role_arn=HUB_ROLE))
    # From the cache, each under its own name.
    asked_before = len(house.sts.calls())
    assert ask(house, alice, role="developer", scope="readonly").json["AccessKeyId"] == keys["readonly"]
    assert len(house.sts.calls()) == asked_before
    issued = {
        record["access_key_id"]: record.get("scope") for record in house.broker.records() if record["event"] == "issued"
    }
    assert {issued[key]: key for key in keys.values()} == keys


def test_tags_say_who_and_by_which_rule_and_what_had_no_room_is_on_record(house: House, alice: Tickets) -> None:
    house.sts.clear()
    ask(house, alice, role="tagged")
    *_, hub, developer = house.sts.calls()
    assert (hub["tags"], hub["transitive_tags"]) == ({"Who": "alice@EXAMPLE.COM"}, ["Who"])
    assert (developer["tags"], developer["transitive_tags"]) == ({"By": "engineers/tagged"}, [])
    assert [call["outcome"] for call in house.sts.calls()] == ["OK", "PackedPolicyTooLarge", "OK", "OK"]
    record = [record for record in house.broker.records() if record["event"] == "issued"][-1]
    assert record["tags_shed"] == ["Note", "Rest"]
    metrics = house.send("GET", "/metrics").body.decode()
    assert 'broker_sts_packed_policy_ratio_bucket{le="0.25"}' in metrics
    assert float(metrics.split("broker_sts_packed_policy_ratio_count ")[1].split()[0]) >= 1


def test_an_unknown_scope_a_forbidden_role_and_an_unknown_one_answer_alike(house: House, alice: Tickets) -> None:
    house.sts.clear()
    replies = [
        ask(house, alice, role="developer", scope="no-such-scope"),
        ask(house, alice, role="developer", scope="../x y"),
        ask(house, alice, role="forbidden", scope="readonly"),
        ask(house, alice, role="no-such-role", scope="readonly"),
        ask(house, alice, role="no-such-role"),
    ]
    assert {reply.status for reply in replies} == {403}
    bodies = [reply.json | {"request_id": ""} for reply in replies]
    assert all(body == bodies[0] and body["code"] == "access_denied" for body in bodies)
    reasons = [record["reason"] for record in house.broker.records()[-5:]]
    assert reasons == ["no_scope", "scope_malformed", "no_rule", "no_rule", "no_rule"]
    assert house.sts.calls() == []


@pytest.mark.parametrize(
    "more", [{"policy": "{}"}, {"tags": {"a": "b"}}, {"duration": 900}, {"scope": ["readonly"]}, {"scope": ""}]
)
def test_a_client_names_a_scope_and_nothing_else_that_reaches_aws(
    house: House, alice: Tickets, more: dict[str, Any]
) -> None:
    reply = ask(house, alice, role="developer", **more)
    assert (reply.status, reply.code) == (400, "bad_request")


def test_the_helper_asks_for_a_scope(house: House, alice: Tickets) -> None:
    words = ["credential-process", "--broker", house.broker.url, "--role", "developer", "--scope", "readonly"]
    done = house.helper(alice, *words)
    assert (done.returncode, done.stderr) == (0, "")
    record = house.broker.last_record()
    assert (record["access_key_id"], record["scope"]) == (json.loads(done.stdout)["AccessKeyId"], "readonly")
    assert house.helper(alice, *words[:-1], "other").returncode == 4


def test_an_sdk_asks_for_a_scope_in_its_address(house: House, alice: Tickets) -> None:
    prover, mark = Prover.es256(), {wire.REQUEST_HEADER: wire.REQUEST_HEADER_VALUE}
    proof = prover.proof("POST", f"{house.broker.url}{wire.SESSIONS_PATH}")
    token = house.realm.client_token(alice)
    opened = house.send("POST", wire.SESSIONS_PATH, headers={**mark, "DPoP": proof}, token=token)

    def container(query: str) -> Reply:
        path = f"{wire.CONTAINER_PATH}/developer"
        shown = opened.json["access_token"]
        # RFC 9449 section 4.2: the proof's htu has no query.
        proof = prover.proof("GET", f"{house.broker.url}{path}", token=shown)
        return house.send("GET", path + query, headers={"Authorization": f"DPoP {shown}", "DPoP": proof})

    limited = container("?scope=readonly")
    assert limited.json["AccessKeyId"] == ask(house, alice, role="developer", scope="readonly").json["AccessKeyId"]
    assert container("").json["AccessKeyId"] != limited.json["AccessKeyId"]
    assert container("?scope=other").status == 403
    for query in ("?scope=readonly&scope=mine", "?duration=900", "?scope=readonly&policy=x"):
        assert (container(query).status, container(query).code) == (400, "bad_request")


def test_roles_and_whoami_name_scopes_and_what_accounts_are_called(house: House, alice: Tickets) -> None:
    developer, long, _ = get(house, alice, wire.ROLES_PATH)["roles"]
    assert developer == {
        "name": "developer",
        "account": "111122223333",
        "account_alias": "prod",
        "production": True,
        "role_arn": DEVELOPER_ROLE,
        "scopes": ["readonly", "mine"],
        "needs": [],
    }
    assert long["scopes"] == []
    assert get(house, alice, wire.WHOAMI_PATH)["accounts"] == [
        {"account": "111122223333", "account_alias": "prod", "production": True}
    ]
    page = house.send("GET", "/", headers={"Accept": "text/html"}, token=house.realm.client_token(alice)).body.decode()
    assert re.search(r">prod <span[^>]*>111122223333</span>", page)
    assert "readonly" in page


def test_a_direct_hop_gives_the_hours_that_the_operator_asked_for_and_the_helper_takes_them(
    house: House, alice: Tickets
) -> None:
    house.sts.clear()
    done = house.helper(alice, "credential-process", "--broker", house.broker.url, "--role", "long")
    ends = datetime.fromisoformat(json.loads(done.stdout)["Expiration"])
    assert timedelta(hours=3, minutes=58) < ends - datetime.now(UTC) <= timedelta(hours=4)
    assert ask(house, alice, role="long").json["Expiration"] == json.loads(done.stdout)["Expiration"]
    assert [call["duration"] for call in house.sts.calls()] == [4 * 3600]
