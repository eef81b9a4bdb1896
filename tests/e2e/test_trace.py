"""From a key in AWS to the request behind it and back, over two brokers that share their credentials."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from broker import wire
from tests.e2e.conftest import ASK, House, Reply, settings_of
from tests.fakes.broker import BrokerProcess
from tests.fakes.realm import Realm
from tests.fakes.redis import RedisServer
from tests.fakes.sts import StrictSts, demo_world
from tests.fakes.sts.demo import DEVELOPER_EXTERNAL_ID, DEVELOPER_ROLE, HUB_EXTERNAL_ID, HUB_ROLE

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
