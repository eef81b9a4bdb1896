"""IAM evaluation by itself: who is a principal, which conditions hold, and that nothing unknown is read as an allow."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.fakes.sts import Role, World, WorldError, demo_world
from tests.fakes.sts.policy import Caller, Decision, Kind, UnsupportedPolicy, read_policy

SESSION = Caller(
    arn="arn:aws:sts::111122223333:assumed-role/Hub/alice",
    principal_arn="arn:aws:iam::111122223333:role/path/Hub",
    account="111122223333",
    partition="aws",
)
TARGET = "arn:aws:iam::444455556666:role/Target"


def trust(*, principal: Any = "*", condition: dict[str, Any] | None = None, effect: str = "Allow") -> dict[str, Any]:
    statement = {"Effect": effect, "Principal": principal, "Action": "sts:AssumeRole", "Condition": condition or {}}
    return {"Version": "2012-10-17", "Statement": statement}


def decide(document: dict[str, Any], context: dict[str, tuple[str, ...]] | None = None) -> Decision:
    policy = read_policy(document, Kind.TRUST)
    return policy.decide(action="sts:AssumeRole", resource=TARGET, caller=SESSION, context=context or {})


@pytest.mark.parametrize(
    "principal",
    [
        "*",
        {"AWS": "*"},
        {"AWS": "111122223333"},
        {"AWS": "arn:aws:iam::111122223333:root"},
        {"AWS": "arn:aws:iam::111122223333:role/path/Hub"},
        {"AWS": "arn:aws:sts::111122223333:assumed-role/Hub/alice"},
        {"AWS": ["arn:aws:iam::999999999999:root", "111122223333"]},
    ],
)
def test_every_form_of_a_principal_that_means_the_caller_is_trusted(principal: Any) -> None:
    assert decide(trust(principal=principal)) is Decision.ALLOW


@pytest.mark.parametrize(
    "principal",
    [
        {"AWS": "111122223334"},
        {"AWS": "arn:aws-cn:iam::111122223333:root"},
        {"AWS": "arn:aws:iam::111122223333:role/Hub"},
        {"AWS": "arn:aws:iam::111122223333:user/alice"},
        {"AWS": "arn:aws:sts::111122223333:assumed-role/Hub/bob"},
    ],
)
def test_a_principal_that_means_somebody_else_is_not_trusted(principal: Any) -> None:
    assert decide(trust(principal=principal)) is Decision.NEITHER


@pytest.mark.parametrize(
    ("condition", "context", "holds"),
    [
        ({"StringEquals": {"sts:ExternalId": "x1"}}, {"sts:externalid": ("x1",)}, True),
        ({"StringEquals": {"sts:ExternalId": "x1"}}, {"sts:externalid": ("X1",)}, False),
        ({"StringEquals": {"sts:ExternalId": "x1"}}, {}, False),
        ({"StringEquals": {"STS:EXTERNALID": ["x0", "x1"]}}, {"sts:externalid": ("x1",)}, True),
        ({"StringEqualsIfExists": {"sts:ExternalId": "x1"}}, {}, True),
        ({"StringEqualsIgnoreCase": {"sts:ExternalId": "x1"}}, {"sts:externalid": ("X1",)}, True),
        ({"StringNotEquals": {"sts:ExternalId": ["x0", "x1"]}}, {"sts:externalid": ("x1",)}, False),
        ({"StringNotEquals": {"sts:ExternalId": "x1"}}, {}, True),
        ({"StringLike": {"sts:RoleSessionName": "al?ce@*"}}, {"sts:rolesessionname": ("alice@A",)}, True),
        ({"StringLike": {"sts:RoleSessionName": "al.ce@*"}}, {"sts:rolesessionname": ("alice@A",)}, False),
        ({"StringNotLike": {"sts:RoleSessionName": "a*"}}, {"sts:rolesessionname": ("alice",)}, False),
        ({"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/a*"}}, {"aws:principalarn": (TARGET,)}, False),
        ({"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/T*"}}, {"aws:principalarn": (TARGET,)}, True),
        ({"ArnLike": {"aws:PrincipalArn": "arn:*:role/T*"}}, {"aws:principalarn": (TARGET,)}, False),
        ({"Null": {"sts:SourceIdentity": "false"}}, {}, False),
        ({"Null": {"sts:SourceIdentity": "false"}}, {"sts:sourceidentity": ("alice",)}, True),
        ({"Null": {"sts:SourceIdentity": True}}, {}, True),
        ({"Bool": {"aws:PrincipalTag/Admin": True}}, {"aws:principaltag/admin": ("TRUE",)}, True),
        ({"Bool": {"aws:PrincipalTag/Admin": True}}, {}, False),
        ({"ForAllValues:StringEquals": {"aws:TagKeys": ["a", "b"]}}, {"aws:tagkeys": ("a", "b")}, True),
        ({"ForAllValues:StringEquals": {"aws:TagKeys": ["a", "b"]}}, {"aws:tagkeys": ("a", "c")}, False),
        ({"ForAllValues:StringEquals": {"aws:TagKeys": ["a", "b"]}}, {}, True),
        ({"ForAnyValue:StringEquals": {"aws:TagKeys": ["a"]}}, {"aws:tagkeys": ("c", "a")}, True),
        ({"ForAnyValue:StringEquals": {"aws:TagKeys": ["a"]}}, {"aws:tagkeys": ("c",)}, False),
        ({"ForAnyValue:StringEquals": {"aws:TagKeys": ["a"]}}, {}, False),
        ({"ForAnyValue:StringNotEquals": {"aws:TagKeys": "a"}}, {}, False),
        ({"ForAllValues:StringNotEquals": {"aws:TagKeys": "a"}}, {"aws:tagkeys": ("b", "a")}, False),
        (
            {"StringEquals": {"sts:ExternalId": "x1", "sts:RoleSessionName": "alice"}},
            {"sts:externalid": ("x1",), "sts:rolesessionname": ("bob",)},
            False,
        ),
    ],
)
def test_a_condition_holds_exactly_when_iam_says_so(
    condition: dict[str, Any], context: dict[str, tuple[str, ...]], *, holds: bool
) -> None:
    assert (decide(trust(condition=condition), context) is Decision.ALLOW) is holds


def test_an_explicit_deny_wins_over_any_allow() -> None:
    document = trust()
    document["Statement"] = [document["Statement"], trust(effect="Deny")["Statement"]]
    assert decide(document) is Decision.DENY


def test_a_deny_whose_condition_does_not_hold_says_nothing() -> None:
    deny = trust(effect="Deny", condition={"StringEquals": {"sts:ExternalId": "x1"}})
    assert decide({**deny, "Statement": [trust()["Statement"], deny["Statement"]]}) is Decision.ALLOW


@pytest.mark.parametrize(
    ("action", "allowed"),
    [("sts:AssumeRole", True), ("STS:assumerole", True), ("sts:Assume*", True), ("*", True), ("sts:TagSession", False)],
)
def test_actions_match_without_case_and_with_wildcards(action: str, *, allowed: bool) -> None:
    document = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": action, "Resource": "*"}}
    policy = read_policy(document, Kind.IDENTITY)
    said = policy.decide(action="sts:AssumeRole", resource=TARGET, caller=SESSION, context={})
    assert (said is Decision.ALLOW) is allowed


def test_a_resource_pattern_is_matched_with_case() -> None:
    document = {
        "Version": "2012-10-17",
        "Statement": {"Effect": "Allow", "Action": "*", "Resource": "arn:aws:iam::444455556666:role/t*"},
    }
    policy = read_policy(document, Kind.IDENTITY)
    said = policy.decide(action="sts:AssumeRole", resource=TARGET, caller=SESSION, context={})
    assert said is Decision.NEITHER


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"Condition": {"NumericLessThan": {"sts:ExternalId": "1"}}}, "NumericLessThan"),
        ({"Condition": {"stringequals": {"sts:ExternalId": "1"}}}, "stringequals"),
        ({"Condition": {"StringEquals": {"aws:SourceIp": "1"}}}, "aws:sourceip"),
        ({"Condition": {"StringEquals": {"aws:TagKeys": "a"}}}, "ForAnyValue"),
        ({"Condition": {"StringEquals": {"sts:ExternalId": "${aws:username}"}}}, "variables"),
        ({"Condition": {"StringEquals": {"sts:ExternalId": 7}}}, "text"),
        ({"Condition": {"Null": {"sts:ExternalId": "yes"}}}, "Null"),
        ({"Condition": []}, "Condition"),
        ({"NotAction": "sts:TagSession"}, "NotAction"),
        ({"Resource": "*"}, "Resource"),
        ({"Effect": "allow"}, "Effect"),
        ({"Action": "s3:GetObject"}, "s3:GetObject"),
        ({"Action": "AssumeRole"}, "AssumeRole"),
        ({"Principal": {"Service": "ec2.amazonaws.com"}}, "Principal"),
        ({"Principal": {"AWS": "arn:aws:iam::111122223333:role/*"}}, r"role/\*"),
    ],
)
def test_a_statement_that_is_not_understood_whole_is_refused_by_name(change: dict[str, Any], named: str) -> None:
    document = trust()
    document["Statement"] |= change
    with pytest.raises(UnsupportedPolicy, match=named):
        read_policy(document, Kind.TRUST)


@pytest.mark.parametrize(
    "document", [None, [], {}, {"Version": "2012-10-17", "Statement": []}, {"Version": "2020-01-01"}]
)
def test_what_is_no_policy_document_is_refused(document: Any) -> None:
    with pytest.raises(UnsupportedPolicy):
        read_policy(document, Kind.TRUST)


def test_a_world_survives_json() -> None:
    assert World.from_json(demo_world().to_json()) == demo_world()


@pytest.mark.parametrize(
    ("role", "named"),
    [
        (Role(arn="arn:aws:iam::1:role/A", trust_policy=trust()), "expected arn"),
        (Role(arn=TARGET, trust_policy=trust(), max_session_duration=60), "max_session_duration"),
        (Role(arn=TARGET, trust_policy=trust(), policy=trust()), "identity policy"),
        (Role(arn=TARGET, trust_policy=trust(principal={"AWS": "arn:aws:iam::1:role/A"})), "principal"),
        (
            Role(arn=TARGET, trust_policy=trust(principal={"AWS": "arn:aws:iam::999900001111:user/borker"})),
            "not in this world",
        ),
        (
            Role(arn=TARGET, trust_policy=trust(principal={"AWS": "arn:aws:sts::999900001111:assumed-role/No/x1"})),
            "not in this world",
        ),
        (demo_world().roles[0], "twice"),
    ],
)
def test_a_world_that_cannot_exist_is_refused_when_it_is_made(role: Role, named: str) -> None:
    world = demo_world()
    with pytest.raises(WorldError, match=named):
        replace(world, roles=(*world.roles, role))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"users": [], "roles": [], "accounts": []}', '{"users": [{}]}'])
def test_text_that_is_no_world_is_refused(text: str) -> None:
    with pytest.raises(WorldError, match="not a world"):
        World.from_json(text)
