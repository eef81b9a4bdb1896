"""The printed documents let the broker's chains through, and nothing in them can be left out."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest

from broker.core.roles import Hop, Role
from broker.trust.documents import AwsPrincipal, Contradiction, UnusablePrincipal, needed
from tests.fakes.sts import demo
from tests.fakes.sts.wire import StsRefusal
from tests.fakes.trust import (
    BROKER,
    DIRECT,
    EXTERNAL_IDS,
    MIDDLE,
    applied,
    calls,
    documents,
    hop,
    roles,
    walk,
    world_of,
)

FOUND = documents()
ROLES = roles()


@pytest.mark.parametrize("role", ROLES.values(), ids=list(ROLES))
def test_accounts_made_of_the_printed_documents_let_every_chain_through(role: Role) -> None:
    walk(world_of(applied(FOUND), FOUND), calls(role))


def without_one_thing() -> Iterator[tuple[str, dict[str, dict[str, Any]]]]:
    """Every way to leave out one statement or one action of one document."""
    whole = applied(FOUND)
    for arn, kinds in whole.items():
        for kind, document in kinds.items():
            for place, statement in enumerate((document or {}).get("Statement", [])):
                name = f"{arn.rpartition('/')[2]}-{kind}-{statement['Sid']}"
                if len(document["Statement"]) > 1:
                    bent = deepcopy(whole)
                    del bent[arn][kind]["Statement"][place]
                    yield name, bent
                for element in ("Action", "Resource"):
                    members = statement.get(element)
                    for number, member in enumerate(members if isinstance(members, list) else []):
                        if len(members) > 1:
                            bent = deepcopy(whole)
                            del bent[arn][kind]["Statement"][place][element][number]
                            yield f"{name}-{member}", bent


@pytest.mark.parametrize("bent", [pytest.param(bent, id=name) for name, bent in without_one_thing()])
def test_no_statement_action_or_role_of_the_documents_can_be_left_out(bent: dict[str, dict[str, Any]]) -> None:
    accounts = world_of(bent, FOUND)
    refused = []
    for role in ROLES.values():
        try:
            walk(accounts, calls(role))
        except StsRefusal:
            refused.append(role.name)
    assert refused


def test_enough_was_left_out() -> None:
    assert len(list(without_one_thing())) > 30


HOPS = [(role.name, place) for role in ROLES.values() for place in range(len(role.chain))]


@pytest.mark.parametrize(("name", "place"), HOPS)
@pytest.mark.parametrize("external_id", [None, "zerotrust-v3-wrong"], ids=["none", "wrong"])
def test_the_documents_refuse_a_hop_without_its_external_id(name, place, external_id) -> None:
    asked = calls(ROLES[name])
    asked[place] = replace(asked[place], external_id=external_id)
    with pytest.raises(StsRefusal) as caught:
        walk(world_of(applied(FOUND), FOUND), asked)
    assert caught.value.code == "AccessDenied"


@pytest.mark.parametrize(("name", "place"), HOPS)
def test_the_condition_on_the_external_id_is_what_refuses_it(name, place) -> None:
    bent = applied(FOUND)
    for statement in bent[ROLES[name].chain[place].arn.text]["trust"]["Statement"]:
        statement.get("Condition", {}).pop("StringEquals", None)
    asked = calls(ROLES[name])
    asked[place] = replace(asked[place], external_id=None)
    walk(world_of(bent, FOUND), asked)


def test_a_session_without_a_source_identity_is_refused_and_by_the_condition_alone() -> None:
    """The caller's own source identity would do; the broker's first hop has none but the one it sets."""
    [call] = calls(ROLES["direct"])
    anonymous = type("Anonymous", (), {"parameters": lambda _: _without(call.parameters(), "SourceIdentity")})()
    with pytest.raises(StsRefusal):
        walk(world_of(applied(FOUND), FOUND), [anonymous])
    bent = applied(FOUND)
    for statement in bent[DIRECT]["trust"]["Statement"]:
        statement.get("Condition", {}).pop("StringLike", None)
    walk(world_of(bent, FOUND), [anonymous])


def test_only_tags_of_the_configuration_are_let_through() -> None:
    [hub, last] = (call.parameters() for call in calls(ROLES["readonly"]))
    last["Tags"] = [*last["Tags"], {"Key": "Admin", "Value": "yes"}]
    asked = [type("Asked", (), {"parameters": lambda _, p=p: p})() for p in (hub, last)]
    with pytest.raises(StsRefusal):
        walk(world_of(applied(FOUND), FOUND), asked)


@pytest.mark.parametrize("versions", [1, 2])
def test_documents_printed_before_a_rotation_let_the_next_version_through_and_not_the_one_after(versions: int) -> None:
    key = replace(EXTERNAL_IDS, version=EXTERNAL_IDS.version + versions)
    accounts = world_of(applied(FOUND), FOUND)
    for role in roles(key).values():
        if versions == 1:
            walk(accounts, calls(role))
        else:
            with pytest.raises(StsRefusal):
                walk(accounts, calls(role))


def test_documents_printed_after_a_rotation_no_longer_accept_the_old_version() -> None:
    key = replace(EXTERNAL_IDS, version=EXTERNAL_IDS.version + 1)
    found = needed(roles(key), first=lambda _: BROKER)
    with pytest.raises(StsRefusal):
        walk(world_of(applied(found), found), calls(ROLES["direct"]))


def test_a_broker_of_another_partition_is_refused_and_no_policy_printed() -> None:
    stranger = AwsPrincipal.parse("arn:aws-cn:iam::999900001111:user/broker")
    with pytest.raises(UnusablePrincipal, match="is of the partition aws-cn, and"):
        needed(ROLES, first=lambda _: stranger)


def test_nobody_is_trusted_but_the_caller_by_name() -> None:
    for one in FOUND.values():
        for statement in one.trust_policy()["Statement"]:
            [principal] = statement["Principal"].values()
            assert AwsPrincipal.parse(principal).text in FOUND


def test_a_role_may_be_asked_for_as_long_as_its_longest_use() -> None:
    hours = {arn: one.max_session_duration.total_seconds() / 3600 for arn, one in FOUND.items()}
    assert (hours[DIRECT], hours[MIDDLE], hours[demo.HUB_ROLE]) == (4, 1, 1)


def test_one_hop_with_and_without_an_external_id_is_a_contradiction() -> None:
    bare = Hop(arn=hop(DIRECT).arn, external_id=None)
    other = Role(ROLES["direct"].name, (bare,), ROLES["direct"].duration)
    with pytest.raises(Contradiction, match=f"{DIRECT} is assumed by .* — fix: give every hop"):
        needed({**ROLES, "other": other}, first=lambda _: BROKER)


@pytest.mark.parametrize(
    "text",
    [
        "arn:aws:iam::111122223333:root",
        "arn:aws:iam::111122223333:role/*",
        "arn:aws:iam::111122223333:role/a?/b",
        "arn:aws:iam::*:role/a",
        "arn:aws:iam::111122223333:group/a",
        "111122223333",
        "*",
        "",
        "arn:aws:iam::111122223333:user/a\n",
    ],
)
def test_no_account_and_no_pattern_is_a_principal(text: str) -> None:
    with pytest.raises(UnusablePrincipal, match="fix: write arn:aws:iam::ACCOUNT"):
        AwsPrincipal.parse(text)


def test_a_session_s_arn_is_answered_with_the_role_s() -> None:
    with pytest.raises(UnusablePrincipal, match=r"fix: name the role itself, arn:aws:iam::111122223333:role/Broker "):
        AwsPrincipal.parse("arn:aws:sts::111122223333:assumed-role/Broker/i-0abc")


def _without(parameters: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in parameters.items() if key != name}
