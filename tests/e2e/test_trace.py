"""From a key in AWS to the request behind it and back, over two brokers that share their credentials."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

from broker import wire
from tests.e2e.conftest import ASK, House, Reply, settings_of
from tests.fakes import cloudtrail
from tests.fakes.broker import BrokerProcess
from tests.fakes.realm import Realm
from tests.fakes.redis import RedisServer
from tests.fakes.sts import StrictSts, demo_world
from tests.fakes.sts.demo import (
    BROKER_ACCESS_KEY_ID,
    BROKER_SECRET_ACCESS_KEY,
    DEVELOPER_EXTERNAL_ID,
    DEVELOPER_ROLE,
    HUB_EXTERNAL_ID,
    HUB_ROLE,
)

CHAIN = [
    {"arn": HUB_ROLE, "external_id": HUB_EXTERNAL_ID},
    {"arn": DEVELOPER_ROLE, "external_id": DEVELOPER_EXTERNAL_ID},
]
# More than the strict STS has room for, together with anything else.
LARGE = "v" * 250
ROLES = {
    "developer": {"chain": CHAIN, "tags": {"ZeroTrustEvent": "{event}"}, "transitive_tags": ["ZeroTrustEvent"]},
    "crowded": {
        "chain": CHAIN,
        "tags": {"ZeroTrustEvent": "{event}", "Note": LARGE, "Rest": LARGE},
        "optional_tags": ["ZeroTrustEvent", "Note", "Rest"],
    },
    "plain": {"chain": CHAIN},
    "led": {"chain": CHAIN},
}
RULES = [{"name": "engineers", "principals": ["alice@EXAMPLE.COM"], "roles": list(ROLES)}]


@dataclass(frozen=True)
class Pair:
    """Two brokers with one Redis and one audit directory."""

    one: House
    other: House

    @property
    def sts(self) -> StrictSts:
        return self.one.sts


def ask(house: House, who: dict[str, str], role: str) -> Reply:
    token = house.realm.client_token(who)
    return house.send("POST", wire.CREDENTIALS_PATH, headers=ASK, body=json.dumps({"role": role}), token=token)


def issued(pair: Pair, reply: Reply) -> dict[str, Any]:
    """The record of an answer."""
    name = reply.headers["X-Request-Id"]
    (found,) = [one for one in pair.one.broker.records() if one["request_id"] == name and one["event"] == "issued"]
    return found


@pytest.fixture(scope="module")
def pair(realm: Realm, _session_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("trace")
    password = folder / "redis_password"
    password.touch(mode=0o600)
    password.write_text(_session_redis.password)
    with StrictSts(demo_world()) as sts:
        shared = {"redis": {"url": _session_redis.url, "password_file": str(password)}}
        settings = settings_of(folder, realm, sts, roles=ROLES, rules=RULES, **shared)
        houses = []
        for name in ("one", "other"):
            (folder / name).mkdir()
            houses.append(House(BrokerProcess(folder / name, settings, env=realm.env), realm, sts))
        with houses[0].broker, houses[1].broker:
            yield Pair(*houses)


def test_the_session_in_aws_carries_the_request_that_made_it_and_every_record_of_its_key_names_that_request(
    pair: Pair, alice: dict[str, str]
) -> None:
    pair.sts.clear()
    first, again = ask(pair.one, alice, "developer"), ask(pair.one, alice, "developer")
    elsewhere = ask(pair.other, alice, "developer")
    assert len({reply.json["AccessKeyId"] for reply in (first, again, elsewhere)}) == 1
    hub, developer = pair.sts.calls()
    minted_by = first.headers["X-Request-Id"]
    assert (hub["tags"], hub["transitive_tags"]) == ({"ZeroTrustEvent": minted_by}, ["ZeroTrustEvent"])
    assert developer["tags"] == {}, "inherited, and never set again"
    records = [issued(pair, reply) for reply in (first, again, elsewhere)]
    assert {record["minted_by"] for record in records} == {minted_by}
    assert [record["origin"] for record in records] == ["sts", "cache", "cache"]
    assert len({record["instance"] for record in records}) == 2


def test_where_aws_has_no_room_an_optional_tag_of_the_event_is_left_out_and_the_record_still_knows(
    pair: Pair, alice: dict[str, str]
) -> None:
    pair.sts.clear()
    reply = ask(pair.one, alice, "crowded")
    outcomes = [(call["outcome"], call["tags"].get("ZeroTrustEvent")) for call in pair.sts.calls()]
    name = reply.headers["X-Request-Id"]
    assert outcomes == [("OK", None), ("PackedPolicyTooLarge", name), ("OK", None), ("OK", None)]
    record = issued(pair, reply)
    assert (record["tags_shed"], record["minted_by"]) == (["ZeroTrustEvent", "Note", "Rest"], name)


def test_a_role_without_tags_sends_none(pair: Pair, alice: dict[str, str]) -> None:
    pair.sts.clear()
    assert issued(pair, ask(pair.one, alice, "plain"))["minted_by"]
    assert [call["tags"] for call in pair.sts.calls()] == [{}, {}]


def test_an_operator_is_told_whose_key_it_is_by_either_broker_s_configuration(
    pair: Pair, alice: dict[str, str]
) -> None:
    first, second = ask(pair.one, alice, "developer"), ask(pair.other, alice, "developer")
    key = first.json["AccessKeyId"]
    done = pair.other.broker.admin("audit", "trace", key)
    assert (done.returncode, done.stderr) == (0, "")
    *records, who, how, until = done.stdout.splitlines()
    assert who == f"{key}: alice@EXAMPLE.COM as developer in account 111122223333"
    assert how.startswith("  by rule engineers, ticket; made for request ")
    assert until.startswith("  GOOD UNTIL ")
    assert until.endswith("nothing revoked since")
    assert all(line.endswith("[signature good]") for line in records)
    assert {line.split()[1].rpartition(":")[0] for line in records} == {
        issued(pair, reply)["instance"] for reply in (first, second)
    }
    unknown = pair.one.broker.admin("audit", "trace", "ASIAY34FZKBOKMUTVV7A")
    assert (unknown.returncode, "of account 609629065308, not handed out by this log" in unknown.stdout) == (1, True)
    assert pair.one.broker.admin("audit", "trace", first.headers["X-Request-Id"]).returncode == 0


def test_what_aws_saw_leads_back_to_the_requests_and_a_session_of_the_broker_s_keys_alone_is_found(
    pair: Pair, alice: dict[str, str], tmp_path: Path
) -> None:
    pair.sts.clear()
    request = ask(pair.one, alice, "led").headers["X-Request-Id"]
    recorded = tmp_path / "cloudtrail.json"
    recorded.write_text(json.dumps({"Records": cloudtrail.of_calls(pair.sts.calls())}))
    done = pair.one.broker.admin("audit", "trace", "--cloudtrail", str(recorded))
    assert (done.returncode, done.stderr) == (0, "2 events have their record, 0 have none, 0 are of others\n")
    hub, developer = done.stdout.splitlines()
    assert f": alice@EXAMPLE.COM as led, request {request}, " in hub
    assert hub.endswith("(by name and time)")
    assert f": alice@EXAMPLE.COM as led, request {request}, " in developer
    assert developer.endswith("(by the key it made)")
    # Somebody else has the broker's keys, and the external ID.
    thief = boto3.client(
        "sts",
        endpoint_url=pair.sts.url,
        region_name="eu-central-1",
        aws_access_key_id=BROKER_ACCESS_KEY_ID,
        aws_secret_access_key=BROKER_SECRET_ACCESS_KEY,
    )
    name = "bob@EXAMPLE.COM"
    thief.assume_role(RoleArn=HUB_ROLE, ExternalId=HUB_EXTERNAL_ID, RoleSessionName=name, SourceIdentity=name)
    recorded.write_text(json.dumps({"Records": cloudtrail.of_calls(pair.sts.calls())}))
    done = pair.one.broker.admin("audit", "trace", "--cloudtrail", str(recorded))
    assert done.returncode == 1
    (finding,) = [line for line in done.stdout.splitlines() if line.startswith("NO RECORD")]
    assert f"AssumeRole {HUB_ROLE} by arn:aws:iam::999900001111:user/" in finding
    assert finding.endswith(f"nobody's request for {name} at that time")


def test_other_people_s_roles_in_the_same_account_are_passed_over(pair: Pair, tmp_path: Path) -> None:
    other = cloudtrail.session_identity(
        "arn:aws:iam::111122223333:role/Lambda", "job", "ASIAJOBJOBJOBJOBJOB2", source_identity=None
    )
    recorded = tmp_path / "cloudtrail.json"
    recorded.write_text(json.dumps(cloudtrail.action("GetObject", other, time="2026-01-31T12:00:00Z")))
    done = pair.one.broker.admin("audit", "trace", "--cloudtrail", str(recorded))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "0 events have their record, 0 have none, 1 are of others\n"
