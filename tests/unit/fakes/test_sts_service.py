"""The strict STS without HTTP, under a clock that the test moves."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.fakes.sts import demo_world
from tests.fakes.sts.demo import (
    BROKER_ACCESS_KEY_ID,
    BROKER_SECRET_ACCESS_KEY,
    HUB_EXTERNAL_ID,
    HUB_ROLE,
)
from tests.fakes.sts.parameters import read_assume_role
from tests.fakes.sts.service import Sts
from tests.fakes.sts.sigv4 import SignedRequest
from tests.fakes.sts.wire import StsRefusal

ASK = read_assume_role(
    {"RoleArn": HUB_ROLE, "RoleSessionName": "alice", "ExternalId": HUB_EXTERNAL_ID, "DurationSeconds": "900"}
)


def signed(who: Credentials) -> SignedRequest:
    request = AWSRequest("POST", "http://sts.test/", data=b"x=1", headers={"Host": "sts.test"})
    SigV4Auth(who, "sts", "eu-central-1").add_auth(request)
    headers = {name.lower(): value for name, value in request.headers.items()}
    return SignedRequest(method="POST", path="/", query="", headers=headers, body=b"x=1")


@pytest.mark.parametrize(("seconds_after_expiration", "ended"), [(-1, False), (0, True), (1, True)])
def test_a_session_ends_at_its_expiration(seconds_after_expiration: int, *, ended: bool) -> None:
    # Signatures carry the real time, so the session is made in the past: it began ten minutes ago.
    real = datetime.now(UTC).replace(microsecond=0)
    clock = real - timedelta(minutes=10)
    sts = Sts(demo_world(), now=lambda: clock, random_bytes=os.urandom)
    base = sts.authenticate(signed(Credentials(BROKER_ACCESS_KEY_ID, BROKER_SECRET_ACCESS_KEY)))
    given = sts.assume_role(base, ASK).fields["Credentials"]
    request = signed(Credentials(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"]))
    clock = real + timedelta(minutes=5, seconds=seconds_after_expiration)
    if ended:
        with pytest.raises(StsRefusal, match="is expired") as caught:
            sts.authenticate(request)
        assert (caught.value.code, caught.value.status) == ("ExpiredToken", 403)
    else:
        arn = "arn:aws:sts::999900001111:assumed-role/BrokerHub/alice"
        assert sts.caller_identity(sts.authenticate(request))["Arn"] == arn
