"""A key of AWS KMS, by botocore, against moto's KMS with a judge before it."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Iterator

import pytest
from botocore.credentials import ReadOnlyCredentials

from broker.core.errors import StsUnavailable
from broker.remote.aws import KMS_PLAIN_MAX, AwsClient, AwsKms
from broker.remote.failure import Malformed, Missing, Refused, RemoteFailure, Unreachable
from tests.fakes.aws import KEY_ID, REGION, AwsCloud
from tests.fakes.aws_keys import Keys
from tests.fakes.docs import kms_policy

HERE = {"zerotrust": "keyring/1"}
KEK = b"K" * 32


@pytest.fixture(scope="module")
def _aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AwsCloud]:
    with AwsCloud(tmp_path_factory.mktemp("aws")) as running:
        yield running


@pytest.fixture
def aws(_aws: AwsCloud) -> AwsCloud:
    _aws.renew()
    _aws.key("alias/master")
    return _aws


@pytest.fixture
def keys() -> Keys:
    return Keys()


@pytest.fixture
async def kms(aws: AwsCloud, keys: Keys) -> AsyncIterator[AwsKms]:
    made = AwsKms("alias/master", client=AwsClient("kms", region=REGION, endpoint=aws.url, keys=keys))
    yield made
    await made.close()


async def failure(kms: AwsKms) -> RemoteFailure:
    with pytest.raises(RemoteFailure) as failed:
        await kms.encrypt(KEK, context=HERE)
    return failed.value


async def test_what_was_encrypted_opens_in_its_context_and_in_no_other(aws: AwsCloud, kms: AwsKms) -> None:
    made = await kms.encrypt(KEK, context=HERE)
    assert await kms.decrypt(made.blob, context=HERE) == KEK
    assert made.key == aws.behind("kms").describe_key(KeyId="alias/master")["KeyMetadata"]["Arn"]
    with pytest.raises(Refused) as refused:
        await kms.decrypt(made.blob, context={"zerotrust": "keyring/2"})
    assert refused.value.reason == "kms_does_not_open"


async def test_a_blob_of_another_key_is_refused_by_name_although_kms_could_open_it(aws: AwsCloud, kms: AwsKms) -> None:
    theirs = aws.key("alias/theirs")
    made = aws.behind("kms").encrypt(KeyId=theirs, Plaintext=b"mine", EncryptionContext=HERE)
    with pytest.raises(Refused) as refused:
        await kms.decrypt(made["CiphertextBlob"], context=HERE)
    assert refused.value.reason == "kms_wrong_key"


async def test_more_than_kms_takes_is_not_sent(aws: AwsCloud, kms: AwsKms) -> None:
    with pytest.raises(ValueError, match="4097"):
        await kms.encrypt(b"x" * (KMS_PLAIN_MAX + 1), context=HERE)
    assert aws.calls == []


async def test_a_disabled_key_asks_for_an_operator(aws: AwsCloud, kms: AwsKms) -> None:
    made = await kms.encrypt(KEK, context=HERE)
    aws.behind("kms").disable_key(KeyId=made.key.rpartition("/")[2])
    for question in (kms.encrypt(KEK, context=HERE), kms.decrypt(made.blob, context=HERE)):
        with pytest.raises(Refused) as refused:
            await question
        assert refused.value.reason in {"kms_key_disabled", "kms_key_state"}


async def test_a_key_that_is_not_there_is_missing(aws: AwsCloud, keys: Keys) -> None:
    nobody = AwsKms("alias/nobody", client=AwsClient("kms", region=REGION, endpoint=aws.url, keys=keys))
    with pytest.raises(Missing):
        await nobody.encrypt(KEK, context=HERE)
    await nobody.close()


async def test_what_a_policy_does_not_allow_is_refused_once(aws: AwsCloud, kms: AwsKms) -> None:
    aws.allowed = {"kms:Decrypt"}
    refused = await failure(kms)
    assert (type(refused), refused.reason) == (Refused, "access_denied")
    assert len(aws.calls) == 1


async def test_the_documented_policy_is_enough_and_no_line_of_it_too_much(aws: AwsCloud, kms: AwsKms) -> None:
    asked = set(json.loads(kms_policy())["Statement"][0]["Action"])
    aws.allowed = asked
    made = await kms.encrypt(KEK, context=HERE)
    for action in sorted(asked):
        aws.allowed = asked - {action}
        refused = 0
        for question in (kms.encrypt(KEK, context=HERE), kms.decrypt(made.blob, context=HERE)):
            try:
                await question
            except Refused:
                refused += 1
        assert refused == 1


async def test_another_region_s_signature_is_refused(aws: AwsCloud, keys: Keys) -> None:
    abroad = AwsKms("alias/master", client=AwsClient("kms", region="eu-central-1", endpoint=aws.url, keys=keys))
    assert (await failure(abroad)).reason == "base_credentials_refused"
    await abroad.close()


async def test_keys_that_were_rotated_under_us_are_looked_for_once(aws: AwsCloud, kms: AwsKms, keys: Keys) -> None:
    aws.keys = {"AKIABROKERBROKER0002": "another"}
    keys.next = ReadOnlyCredentials("AKIABROKERBROKER0002", "another", None)
    await kms.encrypt(KEK, context=HERE)
    assert keys.renewed == 1


async def test_keys_that_have_ended_and_have_no_successor_are_told_as_that(aws: AwsCloud, kms: AwsKms) -> None:
    aws.expired = {KEY_ID}
    assert (await failure(kms)).reason == "base_credentials_expired"
    assert len(aws.calls) == 2


async def test_a_wrong_secret_is_seen_which_moto_alone_would_let_in(aws: AwsCloud, kms: AwsKms, keys: Keys) -> None:
    keys.now = ReadOnlyCredentials(KEY_ID, "wrong", None)
    assert (await failure(kms)).reason == "base_credentials_refused"
    assert aws.behind("kms").list_keys()["Keys"]


async def test_without_credentials_nothing_is_asked(aws: AwsCloud, kms: AwsKms, keys: Keys) -> None:
    keys.now = StsUnavailable("none found", reason="no_base_credentials")
    assert type(await failure(kms)) is Unreachable
    keys.now = object()  # a maker of tokens
    assert type(await failure(kms)) is Refused
    assert aws.calls == []


@pytest.mark.parametrize(
    ("fault", "kind", "tries"),
    [
        ("throttle", Unreachable, 3),
        ("error500", Unreachable, 3),
        ("skew", Unreachable, 3),
        ("html", Malformed, 1),
        ("empty", Malformed, 1),
    ],
)
async def test_what_may_pass_is_tried_again_and_what_is_no_answer_is_not(
    aws: AwsCloud, kms: AwsKms, fault: str, kind: type[Exception], tries: int
) -> None:
    aws.fail(fault)
    assert type(await failure(kms)) is kind
    assert len(aws.calls) == tries


async def test_one_throttled_answer_costs_a_pause(aws: AwsCloud, kms: AwsKms) -> None:
    aws.fail("throttle", times=1)
    assert (await kms.encrypt(KEK, context=HERE)).blob


async def test_a_kms_that_says_nothing_is_given_up(aws: AwsCloud, kms: AwsKms) -> None:
    aws.fail("hang")
    before = time.monotonic()
    assert (await failure(kms)).reason == "timeout"
    assert time.monotonic() - before < 15
    assert 2 <= len(aws.calls) <= 3


async def test_nothing_that_botocore_says_stands_in_an_error(aws: AwsCloud, kms: AwsKms) -> None:
    aws.allowed = set()
    refused = await failure(kms)
    assert str(refused) == "kms encrypt: AccessDeniedException"
    assert refused.__suppress_context__
