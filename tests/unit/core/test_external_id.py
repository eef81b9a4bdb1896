"""External IDs that are computed: stable, apart for each account, and legal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.core.external_id import ExternalIdKey
from broker.core.roles import EXTERNAL_ID, RoleArn

KEY = bytes(range(32))
ROLE = RoleArn.parse("arn:aws:iam::111122223333:role/Developer")

accounts = st.text("0123456789", min_size=12, max_size=12)
versions = st.integers(1, 999_999)
partitions = st.sampled_from(["aws", "aws-cn", "aws-us-gov"])


def arn(partition: str, account: str, name: str = "R") -> RoleArn:
    return RoleArn.parse(f"arn:{partition}:iam::{account}:role/{name}")


def test_an_external_id_never_changes_for_the_trust_policies_hold_it() -> None:
    found = ExternalIdKey(key=KEY, version=1).current(ROLE)
    assert found == "zerotrust-v1-qyumcrag76b4ntbxhydnya4cz76be2wb"


def test_the_next_id_is_the_one_that_the_next_version_sends() -> None:
    assert ExternalIdKey(key=KEY, version=1).next(ROLE) == ExternalIdKey(key=KEY, version=2).current(ROLE)


def test_all_roles_of_an_account_share_its_id() -> None:
    key = ExternalIdKey(key=KEY, version=1)
    assert key.current(ROLE) == key.current(arn("aws", ROLE.account, "path/Other"))


@given(st.tuples(partitions, accounts, versions), st.tuples(partitions, accounts, versions))
def test_another_account_partition_or_version_has_another_id(one, other) -> None:
    first, second = (ExternalIdKey(key=KEY, version=v).current(arn(p, a)) for p, a, v in (one, other))
    assert (first == second) is (one == other)
    # Nothing but the readable beginning is shared.
    assert (first.rpartition("-")[2] == second.rpartition("-")[2]) is (one == other)


@given(st.binary(min_size=32, max_size=32), partitions, accounts, versions)
def test_every_id_is_one_that_sts_takes(key: bytes, partition: str, account: str, version: int) -> None:
    assert EXTERNAL_ID.fullmatch(ExternalIdKey(key=key, version=version).current(arn(partition, account)))


@pytest.mark.parametrize("shown", [repr, str])
def test_nothing_shows_the_key(shown) -> None:
    assert "\\x01" not in shown(ExternalIdKey(key=KEY, version=1))
    assert "key" not in shown(ExternalIdKey(key=KEY, version=1)).replace("ExternalIdKey", "")
