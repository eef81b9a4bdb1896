"""Our reading of policy documents and the strict STS's agree wherever ours is sure, and ours is unsure only where it must be."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.trust.evaluate import PRESENT, Answer, decide
from tests.fakes.sts.policy import Caller, Decision, Kind, UnsupportedPolicy, read_policy

ME = "arn:aws:iam::999900001111:role/way/Hub"
CALLER = Caller(
    arn="arn:aws:sts::999900001111:assumed-role/Hub/alice", principal_arn=ME, account="999900001111", partition="aws"
)
ROLE = "arn:aws:iam::111122223333:role/Developer"

OPERATORS = ["StringEquals", "StringNotEquals", "StringLike", "StringNotLike", "StringEqualsIgnoreCase", "ArnLike"]
words = st.sampled_from(["ab", "AB", "abc", "a*", "a?", "*", ""])
values = st.one_of(words, st.lists(words, min_size=1, max_size=3))
operators = st.builds(str.__add__, st.sampled_from(OPERATORS), st.sampled_from(["", "IfExists"]))
single = st.tuples(operators, st.just("sts:ExternalId"), values)
null = st.tuples(
    st.just("Null"), st.sampled_from(["sts:ExternalId", "aws:TagKeys"]), st.sampled_from(["true", "false"])
)
many = st.tuples(
    st.builds(str.__add__, st.sampled_from(["ForAnyValue:", "ForAllValues:"]), operators),
    st.just("aws:TagKeys"),
    values,
)
conditions = st.lists(st.one_of(single, null, many), max_size=3).map(
    lambda found: {operator: {key: wanted} for operator, key, wanted in found}
)
actions = st.sampled_from(["sts:AssumeRole", "sts:*", "STS:assumerole", "sts:TagSession", "sts:Assume?ole", "*"])
effects = st.sampled_from(["Allow", "Allow", "Deny"])
principals = st.sampled_from(
    [ME, "*", "999900001111", "arn:aws:iam::999900001111:root", "arn:aws:iam::111122223333:root", ROLE]
).map(lambda one: {"AWS": one})
resources = st.sampled_from([ROLE, "*", "arn:aws:iam::111122223333:role/*", "arn:aws:iam::111122223333:role/X"])


def documents(element: str, named: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    statement = st.fixed_dictionaries({"Effect": effects, "Action": actions, element: named, "Condition": conditions})
    return st.lists(statement, min_size=1, max_size=3).map(lambda found: {"Version": "2012-10-17", "Statement": found})


def theirs(document: dict[str, Any], kind: Kind, context: dict[str, tuple[str, ...]]) -> Answer:
    # In theirs a key that is absent is not there; "*" alone must not stand in a trust policy's action.
    there = {key: value for key, value in context.items() if value}
    said = read_policy(document, kind).decide(action="sts:AssumeRole", resource=ROLE, caller=CALLER, context=there)
    return Answer.YES if said is Decision.ALLOW else Answer.NO


external_ids = st.sampled_from([(), ("ab",), ("abc",), ("AB",), ("x",)])
tag_keys = st.sampled_from([(), ("ab",), ("ab", "x"), ("abc", "AB")])


@given(documents("Principal", principals), external_ids, tag_keys)
def test_a_trust_policy_is_read_as_the_strict_sts_reads_it(document, external_id, tags) -> None:
    context = {"sts:externalid": external_id, "aws:tagkeys": tags}
    try:
        expected = theirs(document, Kind.TRUST, context)
    except UnsupportedPolicy:
        return
    assert decide([document], action="sts:AssumeRole", principal=ME, context=context) is expected


@given(documents("Resource", resources), external_ids, tag_keys)
def test_permissions_are_read_as_the_strict_sts_reads_them(document, external_id, tags) -> None:
    context = {"sts:externalid": external_id, "aws:tagkeys": tags}
    expected = theirs(document, Kind.IDENTITY, context)
    assert decide([document], action="sts:AssumeRole", resource=ROLE, context=context) is expected


def trust(**elements: object) -> dict[str, Any]:
    return {"Statement": [{"Effect": "Allow", "Principal": {"AWS": ME}, "Action": "sts:AssumeRole", **elements}]}


def asked(*documents: Any, **context: Any) -> Answer:
    return decide(documents, action="sts:AssumeRole", principal=ME, context=context)


@pytest.mark.parametrize(
    "elements",
    [
        {"Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}},
        {"Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-1"}}},
        {"Condition": {"StringEqualsIfExists": {"aws:PrincipalOrgID": "o-1"}}},
        {"Condition": {"StringLike": {"known": "${aws:username}"}}},
        {"Condition": {"NoSuchOperator": {"known": "ab"}}},
        {"Condition": {"StringEquals": {"present": "ab"}}},
        {"Condition": {"StringLike": {"present": "a*"}}},
        {"Condition": "none of the forms"},
        {"Principal": {"AWS": "arn:aws:sts::999900001111:assumed-role/Hub/alice"}},
        {"NotPrincipal": {"AWS": ROLE}},
    ],
    ids=str,
)
def test_what_only_aws_knows_is_neither_a_yes_nor_a_no(elements: dict[str, object]) -> None:
    context = {"known": ("ab",), "present": PRESENT}
    assert asked(trust(**elements), **context) is Answer.PERHAPS
    assert asked(trust(), trust(**elements, Effect="Deny"), **context) is Answer.PERHAPS
    assert asked(trust(), trust(**elements), **context) is Answer.YES


def test_a_value_that_is_there_meets_a_star_and_refuses_its_opposite() -> None:
    assert asked(trust(Condition={"StringLike": {"k": "*"}}), k=PRESENT) is Answer.YES
    assert asked(trust(Condition={"StringNotLike": {"k": "*"}}), k=PRESENT) is Answer.NO
    assert asked(trust(Condition={"StringLike": {"k": "*"}}), k=()) is Answer.NO
    assert asked(trust(Condition={"Null": {"k": "true"}}), k=PRESENT) is Answer.NO


def test_documents_together_allow_what_one_allows_and_none_denies() -> None:
    other = trust(Action="sts:TagSession")
    assert asked(other) is Answer.NO
    assert asked(other, trust()) is Answer.YES
    assert asked(trust(), trust(Effect="Deny")) is Answer.NO


@pytest.mark.parametrize("document", [None, [], "x", {}, {"Statement": None}, {"Statement": ["x"]}])
def test_what_is_no_document_allows_nothing(document: Any) -> None:
    assert asked(document) is Answer.NO


@pytest.mark.parametrize("named", [{"Service": "ec2.amazonaws.com"}, {"Federated": "cognito"}, {}])
def test_a_service_is_nobody_of_ours(named: dict[str, str]) -> None:
    assert asked(trust(Principal=named)) is Answer.NO
