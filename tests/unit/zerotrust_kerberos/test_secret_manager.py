"""What an application is given as a role's credentials is that role's."""

from __future__ import annotations

import json

import pytest

from broker import wire
from zerotrust_kerberos.failures import Failure
from zerotrust_kerberos.sdk import secret_manager

ARN = "arn:aws:iam::111122223333:role/Developer"
ANSWER = {
    "Version": 1,
    "AccessKeyId": "ASIAEXAMPLE",
    "SecretAccessKey": "canary",
    "SessionToken": "canary",
    "Expiration": "2026-11-22T13:00:00Z",
    "RoleArn": ARN,
}


def test_credentials_of_another_role_than_was_asked_for_are_refused_and_shown_nowhere() -> None:
    body = json.dumps(ANSWER).encode()
    assert ANSWER.keys() >= set(wire.SDK_MEMBERS)
    assert secret_manager._credentials(body, ARN).role_arn == ARN
    assert secret_manager._credentials(body, None).role_arn == ARN
    with pytest.raises(Failure) as caught:
        secret_manager._credentials(body, f"{ARN}2")
    assert caught.value.code == "unexpected_answer"
    assert "another role's" in str(caught.value.detail)
    assert "canary" not in str(caught.value) + str(caught.value.detail)
