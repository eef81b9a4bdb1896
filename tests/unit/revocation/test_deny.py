"""The deny that AWS gets: whose it is, from when, and how one is told from somebody else's policy."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.core.principal import NameType, Principal, session_names
from broker.revocation.deny import POLICY_PREFIX, boundary, document, policy_name, stamp_of

ALICE = "alice@EXAMPLE.COM"
MOMENT = datetime(2026, 1, 31, 12, 0, 1, tzinfo=UTC)
STAMP = 1_769_860_800_123
principals = st.builds(
    lambda parts, realm: str(Principal(tuple(parts), realm)),
    st.lists(st.text(min_size=1, max_size=40), min_size=1, max_size=3),
    st.text(min_size=1, max_size=40),
)


def test_the_document_is_this_one() -> None:
    assert document(ALICE, stamp=STAMP, before=MOMENT) == {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "ZeroTrustRevocation1769860800123",
                "Effect": "Deny",
                "Action": "*",
                "Resource": "*",
                "Condition": {
                    "StringEquals": {"aws:SourceIdentity": [ALICE, f"=t2-{ALICE}", f"=t11-{ALICE}"]},
                    "DateLessThan": {"aws:TokenIssueTime": "2026-01-31T12:00:01Z"},
                },
            }
        ],
    }


@given(principals, st.sampled_from(NameType))
def test_every_source_identity_that_somebody_may_have_had_is_meant(user: str, name_type: NameType) -> None:
    meant = document(user, stamp=1, before=MOMENT)["Statement"][0]["Condition"]["StringEquals"]["aws:SourceIdentity"]
    assert Principal.parse(user, name_type=name_type).session_name() in meant


@given(principals, principals)
def test_two_people_share_neither_a_policy_nor_a_source_identity(one: str, other: str) -> None:
    if one != other:
        assert policy_name(one) != policy_name(other)
        assert not set(session_names(one)) & set(session_names(other))


@given(principals)
def test_the_name_is_one_that_iam_takes(user: str) -> None:
    name = policy_name(user)
    assert name.startswith(POLICY_PREFIX)
    assert len(name) <= 128
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+=,.@-_")


@given(principals)
def test_at_least_fifteen_people_fit_into_one_role(user: str) -> None:
    """IAM counts 10,240 characters of all inline policies of a role together, without white space."""
    assert len(json.dumps(document(user, stamp=STAMP, before=MOMENT), separators=(",", ":"))) <= 10_240 / 15


@given(st.datetimes(min_value=datetime(2020, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_what_was_issued_up_to_now_was_issued_before_the_moment_as_aws_tells_it(now: datetime) -> None:
    issued = now.replace(microsecond=0)  # in whole seconds, rounded down
    assert issued < boundary(now) <= issued + timedelta(seconds=1)


def test_a_moment_in_another_zone_is_the_same_moment() -> None:
    elsewhere = MOMENT.astimezone(timezone(timedelta(hours=5)))
    assert document(ALICE, stamp=1, before=elsewhere) == document(ALICE, stamp=1, before=MOMENT)


@given(principals, st.integers(0, 10**15), st.integers(0, 4 * 10**9))
def test_our_own_is_known_with_its_revocation(user: str, stamp: int, seconds: int) -> None:
    found = json.loads(json.dumps(document(user, stamp=stamp, before=datetime.fromtimestamp(seconds, UTC))))
    assert stamp_of(found, user) == stamp


def changed(**statement: Any) -> dict[str, Any]:
    found = document(ALICE, stamp=STAMP, before=MOMENT)
    found["Statement"][0] |= statement
    return found


@pytest.mark.parametrize(
    "found",
    [
        {},
        {"Statement": "Deny"},
        {"Statement": []},
        {"Statement": [[]]},
        {"Version": "2012-10-17", "Statement": []},
        changed(Sid="ZeroTrustRevocation"),
        changed(Sid="ZeroTrustRevocation1x"),
        changed(Effect="Allow"),
        changed(Action="s3:*"),
        changed(Resource=["*"]),
        changed(NotAction="*"),
        changed(Condition={}),
        changed(Condition={"DateLessThan": {"aws:TokenIssueTime": "2026-01-31T12:00:01Z"}}),
        changed(Condition={"DateLessThan": {"aws:TokenIssueTime": "soon"}}),
        changed(Condition={"DateLessThan": {"aws:TokenIssueTime": "2026-01-31T12:00:01"}}),
        changed(Condition={"DateLessThan": "soon"}),
        document(ALICE, stamp=STAMP, before=MOMENT) | {"Id": "mine"},
        {"Version": "2012-10-17", "Statement": document(ALICE, stamp=1, before=MOMENT)["Statement"] * 2},
        document("bob@EXAMPLE.COM", stamp=STAMP, before=MOMENT),
    ],
    ids=str,
)
def test_what_differs_in_anything_is_somebody_elses(found: dict[str, Any]) -> None:
    assert stamp_of(found, ALICE) is None
