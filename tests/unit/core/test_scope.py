"""Session policies: what is sent is one that AWS takes, and says what was written."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.core.scope import MalformedPolicy, PolicyArn, Scope, ScopeName, compact_policy, read_policy

GOOD = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
# "The JSON policy characters can be any ASCII character from the space character to the end of the valid character list".
_TAKEN = re.compile(r"[\u0009\u000A\u000D\u0020-\u00FF]+")

texts = st.text(max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
statements = st.dictionaries(
    st.sampled_from(["Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition", "Principal"]),
    st.sampled_from(["Allow", "Deny", "s3:*", "*", "arn:aws:s3:::\u00fc", {"Bool": {"a": "\u20ac"}}, ["*"], []])
    | values,
)
documents = st.fixed_dictionaries(
    {"Version": st.sampled_from(["2012-10-17", "2008-10-17", "2012"]), "Statement": statements | st.lists(statements)}
)


@given(documents | values)
def test_a_document_is_refused_or_sent_as_it_was_written_in_characters_that_aws_takes(document: Any) -> None:
    try:
        sent = compact_policy(document)
    except MalformedPolicy:
        return
    assert json.loads(sent) == document
    assert _TAKEN.fullmatch(sent)
    assert read_policy(sent) == sent


@given(st.text(max_size=40) | values.map(json.dumps))
def test_any_text_is_a_policy_or_refused(text: str) -> None:
    with pytest.raises(MalformedPolicy):
        read_policy(text)


def test_white_space_costs_nothing() -> None:
    assert read_policy(json.dumps(GOOD, indent=4)) == json.dumps(GOOD, separators=(",", ":"))


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(GOOD).replace('"*"}', '"*", "Condition": {"NumericLessThan": {"s3:max-keys": 1e999}}}'),
        json.dumps(GOOD).replace('"*"}', '"*", "Sid": 7}'),
        json.dumps(GOOD).replace('"*"}', '"*", "Sid": ["a"]}'),
        json.dumps(GOOD | {"Id": 7}),
        "[" * 100_000,
        json.dumps(GOOD).replace('"*"', "NaN"),
        json.dumps(GOOD).replace('"Version"', '"Version": "x", "Version"'),
    ],
)
def test_json_with_traps_is_refused(text: str) -> None:
    with pytest.raises(MalformedPolicy):
        read_policy(text)


@pytest.mark.parametrize(
    ("text", "partition", "account"),
    [
        ("arn:aws:iam::aws:policy/ReadOnlyAccess", "aws", "aws"),
        ("arn:aws-cn:iam::aws:policy/job-function/ViewOnlyAccess", "aws-cn", "aws"),
        ("arn:aws-us-gov:iam::111122223333:policy/a/b/C", "aws-us-gov", "111122223333"),
    ],
)
def test_the_arn_of_a_managed_policy_says_where_it_lies(text: str, partition: str, account: str) -> None:
    arn = PolicyArn.parse(text)
    assert (arn.text, arn.partition, arn.account) == (text, partition, account)


@pytest.mark.parametrize(
    "text",
    [
        "arn:aws:iam::111122223333:role/A",
        "arn:aws:iam::1111:policy/A",
        "arn:aws:iam::aws:policy/",
        "arn:aws:iam::aws:policy/a b",
        "arn:aws:iam::aws:policy/A\n",
        "arn:aws-iso:iam::aws:policy/A",
        "arn:aws:iam::aws:policy/" + "a/" * 1024 + "A",
    ],
)
def test_anything_else_is_no_managed_policy(text: str) -> None:
    with pytest.raises(MalformedPolicy):
        PolicyArn.parse(text)


def test_policy_and_arns_count_together() -> None:
    arn = PolicyArn.parse("arn:aws:iam::aws:policy/A")
    assert Scope(name=ScopeName("x"), policy="p" * 7, policy_arns=(arn, arn)).size == 7 + 2 * len(arn.text)
    assert Scope(name=ScopeName("x"), policy=None, policy_arns=()).size == 0
