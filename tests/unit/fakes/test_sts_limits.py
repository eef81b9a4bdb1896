"""What the strict STS knows of session policies and partitions, as AWS's guides say it."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.fakes.sts import demo_world
from tests.fakes.sts.demo import BROKER_ACCESS_KEY_ID, BROKER_SECRET_ACCESS_KEY, DEVELOPER_ROLE
from tests.fakes.sts.parameters import read_assume_role
from tests.fakes.sts.service import Sts
from tests.fakes.sts.sigv4 import SignedRequest
from tests.fakes.sts.wire import StsRefusal

ASK = {"RoleArn": DEVELOPER_ROLE, "RoleSessionName": "alice"}
STATEMENT = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}


def policy(statement: dict[str, str]) -> dict[str, str]:
    document = {"Version": "2012-10-17", "Statement": [statement]}
    return {"Policy": json.dumps(document, ensure_ascii=False)}


def arns(*given: str) -> dict[str, str]:
    return {f"PolicyArns.member.{place}.arn": arn for place, arn in enumerate(given, start=1)}


@pytest.mark.parametrize(
    "limits",
    [
        policy(STATEMENT),
        policy({**STATEMENT, "Resource": "arn:aws:s3:::gr\u00fc\u00dfe/*"}),
        arns("arn:aws:iam::aws:policy/ReadOnlyAccess", "arn:aws:iam::111122223333:policy/team/Less"),
    ],
)
def test_a_session_policy_within_the_rules_is_taken(limits: dict[str, str]) -> None:
    asked = read_assume_role(ASK | limits)
    assert asked.policy_text == limits.get("Policy")
    assert len(asked.policy_arns) == sum(name.startswith("PolicyArns") for name in limits)


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        (policy({**STATEMENT, "Resource": "arn:aws:s3:::\u20ac"}), "ValidationError"),
        (policy({**STATEMENT, "Resource": "arn:aws:s3:::\x7f" + "x" * 2048}), "ValidationError"),
        (policy({**STATEMENT, "Principal": "*"}), "MalformedPolicyDocument"),
        ({"Policy": "{"}, "MalformedPolicyDocument"),
        (arns("arn:aws:iam::999900001111:policy/OfAnotherAccount"), "ValidationError"),
        (arns("arn:aws-cn:iam::aws:policy/ReadOnlyAccess"), "ValidationError"),
        (arns("arn:aws:iam::111122223333:role/Developer"), "ValidationError"),
        (arns(*[f"arn:aws:iam::aws:policy/P{n}" for n in range(11)]), "ValidationError"),
        (arns(*[f"arn:aws:iam::aws:policy/{n}{'x' * 220}" for n in range(9)]), "ValidationError"),
    ],
)
def test_another_session_policy_is_refused(limits: dict[str, str], code: str) -> None:
    with pytest.raises(StsRefusal) as caught:
        read_assume_role(ASK | limits)
    assert caught.value.code == code


@pytest.mark.parametrize(("region", "known"), [("eu-central-1", True), ("cn-north-1", False), ("us-gov-west-1", False)])
def test_keys_of_one_partition_are_unknown_in_the_regions_of_another(region: str, *, known: bool) -> None:
    sts = Sts(demo_world(), now=lambda: datetime.now(UTC), random_bytes=os.urandom)
    request = AWSRequest("POST", "http://sts.test/", data=b"x=1", headers={"Host": "sts.test"})
    SigV4Auth(Credentials(BROKER_ACCESS_KEY_ID, BROKER_SECRET_ACCESS_KEY), "sts", region).add_auth(request)
    headers = {name.lower(): value for name, value in request.headers.items()}
    signed = SignedRequest(method="POST", path="/", query="", headers=headers, body=b"x=1")
    if known:
        assert sts.authenticate(signed).caller.partition == "aws"
    else:
        with pytest.raises(StsRefusal) as caught:
            sts.authenticate(signed)
        assert caught.value.code == "InvalidClientTokenId"
