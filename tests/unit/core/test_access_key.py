"""What an access key id says by itself."""

from __future__ import annotations

import pytest

from broker.core.access_key import account_of, is_of_a_session


@pytest.mark.parametrize(
    ("key", "account"),
    # Pairs that were published with the discovery of the encoding.
    [("ASIAY34FZKBOKMUTVV7A", "609629065308"), ("ASIAQNZGKIQY56JQ7WML", "029608264753")],
)
def test_a_key_names_its_account_with_its_zeros(key: str, account: str) -> None:
    assert account_of(key) == account
    assert account_of(key.replace("ASIA", "AKIA")) == account


@pytest.mark.parametrize(
    "key",
    [
        "AKIAIOSFODNN7EXAMPLE",  # AWS's example, of the time before
        "ASIAEXAMPLE000000001",  # no base32
        "ASIAY34FZKBOKMUTVV7",
        "ASIA7777777777777777",  # more than twelve digits
        "AROAY34FZKBOKMUTVV7A",
        "",
    ],
)
def test_what_names_no_account_is_not_guessed_at(key: str) -> None:
    assert account_of(key) is None


def test_only_a_session_s_key_can_have_been_handed_out() -> None:
    assert is_of_a_session("ASIAY34FZKBOKMUTVV7A")
    assert not is_of_a_session("AKIAY34FZKBOKMUTVV7A")
