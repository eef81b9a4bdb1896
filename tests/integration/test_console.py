"""Signing in to the console, against the strict sign-in endpoint beside the strict STS."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import AsyncIterator, Iterator
from urllib.parse import parse_qs, urlsplit

import aiohttp
import boto3
import pytest

from broker.core.credentials import Credentials
from broker.core.errors import BadRequest, StsError, StsRejected
from broker.core.secret import Secret
from broker.sts.console import Console, _sign_in_token
from tests.fakes.sts import demo
from tests.fakes.sts.demo import demo_world
from tests.fakes.sts.process import StrictSts


@pytest.fixture(scope="module")
def sts() -> Iterator[StrictSts]:
    with StrictSts(demo_world()) as running:
        yield running


@pytest.fixture(autouse=True)
def _no_faults(sts: StrictSts) -> None:
    sts.clear()


@pytest.fixture
async def console(sts: StrictSts) -> AsyncIterator[Console]:
    made = Console(endpoint=f"{sts.url}/federation")
    yield made
    await made.close()


@pytest.fixture(scope="module")
def credentials(sts: StrictSts) -> Credentials:
    """A session that the sign-in endpoint knows."""
    client = boto3.client(
        "sts",
        region_name="eu-central-1",
        endpoint_url=sts.url,
        aws_access_key_id=demo.BROKER_ACCESS_KEY_ID,
        aws_secret_access_key=demo.BROKER_SECRET_ACCESS_KEY,
    )
    given = client.assume_role(
        RoleArn=demo.HUB_ROLE, RoleSessionName="alice", SourceIdentity="alice", ExternalId=demo.HUB_EXTERNAL_ID
    )["Credentials"]
    return Credentials(
        access_key_id=given["AccessKeyId"],
        secret_access_key=Secret(given["SecretAccessKey"]),
        session_token=Secret(given["SessionToken"]),
        expiration=given["Expiration"],
        account="999900001111",
        role_arn=demo.HUB_ROLE,
    )


async def opened(url: Secret) -> tuple[int, str | None]:
    """What a browser gets: the status, and where it is sent to."""
    async with aiohttp.ClientSession() as browser, browser.get(url.reveal(), allow_redirects=False) as answer:
        return answer.status, answer.headers.get("Location")


async def test_the_url_opens_the_home_of_the_console_once(console: Console, credentials: Credentials) -> None:
    url = await console.url(credentials, destination=None, issuer="https://broker.example.com/")
    assert await opened(url) == (302, "https://console.aws.amazon.com/")
    assert await opened(url) == (400, None)


@pytest.mark.parametrize(
    "page",
    [
        "https://eu-central-1.console.aws.amazon.com/s3/buckets/x?region=eu-central-1&tab=objects#a/b",
        "https://console.aws.amazon.com/cloudwatch/home?region=eu-central-1#logsV2:log-groups/log-group/$252Faws",
    ],
)
async def test_a_deep_link_arrives_as_it_was_sent(console: Console, credentials: Credentials, page: str) -> None:
    assert await opened(await console.url(credentials, destination=page, issuer=None)) == (302, page)


@pytest.mark.parametrize(
    "page",
    [
        "http://console.aws.amazon.com/",
        "https://console.aws.amazon.com.example.com/",
        "https://example.com/console.aws.amazon.com",
        "https://xconsole.aws.amazon.com/",
        "https://alice@console.aws.amazon.com/",
        "https://console.aws.amazon.com:8443/",
        "https://example.com\\@console.aws.amazon.com/",
        "https://console.amazonaws.cn/",
        "//console.aws.amazon.com/",
        "javascript:alert(1)",
        "https://console.aws.amazon.com/ x",
        "https://console.aws.amazon.com/\u2028",
        "https://[",
        "https://example.com%2f.console.aws.amazon.com/",
        "https://example.com;.console.aws.amazon.com/",
        "https://.console.aws.amazon.com/",
        "https://console.aws.amazon.com/" + "a" * 2048,
        "",
    ],
)
async def test_a_destination_outside_the_console_is_refused_before_aws_is_asked(
    console: Console, credentials: Credentials, sts: StrictSts, page: str
) -> None:
    with pytest.raises(BadRequest):
        await console.url(credentials, destination=page, issuer=None)
    assert sts.calls(action="getSigninToken") == []


@pytest.mark.parametrize(
    ("role", "federation", "home"),
    [
        ("arn:aws:iam::999900001111:role/R", "signin.aws.amazon.com", "console.aws.amazon.com"),
        ("arn:aws-cn:iam::999900001111:role/R", "signin.amazonaws.cn", "console.amazonaws.cn"),
        ("arn:aws-us-gov:iam::999900001111:role/R", "signin.amazonaws-us-gov.com", "console.amazonaws-us-gov.com"),
    ],
)
async def test_each_partition_has_a_sign_in_and_a_console_of_its_own(
    credentials: Credentials, monkeypatch: pytest.MonkeyPatch, role: str, federation: str, home: str
) -> None:
    asked: list[str] = []

    async def answer(_self: Console, url: str) -> tuple[int, bytes]:
        asked.append(url)
        return 200, b'{"SigninToken": "t+/="}'

    monkeypatch.setattr(Console, "_get", answer)
    of_partition = dataclasses.replace(credentials, role_arn=role)
    url = urlsplit((await Console().url(of_partition, destination=None, issuer=None)).reveal())
    assert [urlsplit(question).hostname for question in asked] == [federation]
    assert (url.scheme, url.hostname, url.path) == ("https", federation, "/federation")
    assert parse_qs(url.query) == {"Action": ["login"], "Destination": [f"https://{home}/"], "SigninToken": ["t+/="]}
    elsewhere = "console.aws.amazon.com" if home != "console.aws.amazon.com" else "console.amazonaws.cn"
    with pytest.raises(BadRequest):
        await Console().url(of_partition, destination=f"https://{elsewhere}/", issuer=None)


async def test_credentials_that_aws_does_not_know_get_no_url(console: Console, credentials: Credentials) -> None:
    altered = dataclasses.replace(credentials, session_token=Secret("x" * 400))
    with pytest.raises(StsError) as caught:
        await console.url(altered, destination=None, issuer=None)
    assert (caught.value.code, caught.value.reason) == ("sts_rejected", "signin_refused")


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        ("html", ("sts_rejected", "signin_malformed")),
        ("empty", ("sts_rejected", "signin_malformed")),
        ("throttle", ("sts_rejected", "signin_refused")),
        ("error500", ("sts_unavailable", "signin_broken")),
        ("hang", ("sts_timeout", "signin_timeout")),
    ],
)
async def test_what_goes_wrong_at_the_sign_in_has_its_code(
    console: Console, credentials: Credentials, sts: StrictSts, fault: str, outcome: tuple[str, str]
) -> None:
    sts.fault(fault, action="getSigninToken")
    with pytest.raises(StsError) as caught:
        await console.url(credentials, destination=None, issuer=None)
    assert (caught.value.code, caught.value.reason) == outcome


async def test_nothing_of_the_keys_is_in_an_error_or_a_log(
    credentials: Credentials, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    console = Console(endpoint="http://127.0.0.1:1/federation")
    with pytest.raises(StsError) as caught:
        await console.url(credentials, destination=None, issuer=None)
    await console.close()
    assert caught.value.reason == "signin_unreachable"
    seen = caplog.text + repr(caught.value) + str(caught.value) + repr(caught.value.__cause__)
    for secret in (credentials.secret_access_key, credentials.session_token):
        assert secret.reveal() not in seen


def test_an_answer_nested_too_deeply_is_none() -> None:
    with pytest.raises(StsRejected) as caught:
        _sign_in_token(b"[" * 60_000)
    assert caught.value.reason == "signin_malformed"
