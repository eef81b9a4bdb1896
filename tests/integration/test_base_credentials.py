"""The broker's own credentials: from an instance's service, a profile, or a file, renewed without anybody's waiting."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from broker.core.errors import ConfigurationError, StsUnavailable
from broker.sts.base import FileCredentials, SdkCredentials
from tests.fakes.imds import Imds
from tests.fakes.sts import StrictSts, demo_world
from tests.fakes.sts.demo import BROKER_ACCESS_KEY_ID, BROKER_SECRET_ACCESS_KEY, DEVELOPER_ROLE
from tests.integration.test_sts_client import client_of, failure, grant

LONG = timedelta(hours=6)
# botocore renews with less than 15 minutes left, and believes an instance's keys good for 12 to 20 minutes at least.
SOON = timedelta(minutes=14)


@pytest.fixture
def imds(monkeypatch: pytest.MonkeyPatch) -> Iterator[Imds]:
    with Imds() as running:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_EC2_METADATA_DISABLED"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", running.url)
        yield running


@pytest.fixture(scope="module")
def sts() -> Iterator[StrictSts]:
    with StrictSts(demo_world()) as running:
        yield running


def ends_soon(base: SdkCredentials, within: timedelta) -> None:
    """As if so much time had passed that this little is left of what was found."""
    left = base._source._seconds_remaining() - within.total_seconds()
    base._source._expiry_time -= timedelta(seconds=left)


# ---- an instance ----


async def test_an_instances_service_is_asked_by_its_second_version_alone(imds: Imds) -> None:
    imds.serve("ASIAFIRSTFIRSTFIRST1", "s", "t", left=LONG)
    found = await SdkCredentials(profile=None).current()
    assert found.access_key == "ASIAFIRSTFIRSTFIRST1"
    assert imds.refused == []
    assert imds.answer("GET", "/latest/meta-data/iam/security-credentials/", {})[0] == 401, "the fake is as strict"


async def test_a_chain_is_signed_with_what_the_instance_has(imds: Imds, sts: StrictSts) -> None:
    # No session token, so that the demo's user can stand for the instance's role.
    imds.serve(BROKER_ACCESS_KEY_ID, BROKER_SECRET_ACCESS_KEY, "", left=LONG)
    client = client_of(sts.url, base=SdkCredentials(profile=None))
    try:
        assert (await client.assume(grant())).role_arn == DEVELOPER_ROLE
    finally:
        client.close()


async def test_many_who_wait_for_the_first_credentials_ask_once(imds: Imds) -> None:
    imds.serve("ASIAFIRSTFIRSTFIRST1", "s", "t", left=LONG)
    base = SdkCredentials(profile=None)
    found = await asyncio.gather(*(base.current() for _ in range(50)))
    assert {one.access_key for one in found} == {"ASIAFIRSTFIRSTFIRST1"}
    assert imds.asked == 1


async def test_new_credentials_are_fetched_ahead_once_while_everybody_goes_on_with_the_old_ones(imds: Imds) -> None:
    imds.serve("ASIAFIRSTFIRSTFIRST1", "s", "t", left=LONG)
    base = SdkCredentials(profile=None)
    await base.current()
    ends_soon(base, SOON)
    imds.serve("ASIASECONDSECONDSEC2", "s", "t", left=LONG)
    imds.answering.clear()
    started = time.monotonic()
    old = await asyncio.gather(*(base.current() for _ in range(50)))
    assert time.monotonic() - started < 0.9, "nobody waits for what hangs"
    assert {one.access_key for one in old} == {"ASIAFIRSTFIRSTFIRST1"}
    imds.answering.set()
    while (await base.current()).access_key != "ASIASECONDSECONDSEC2":
        await asyncio.sleep(0.01)
        assert time.monotonic() - started < 5
    assert imds.asked == 2, "one look for all"


async def test_with_nothing_left_of_the_old_ones_the_new_ones_are_waited_for(imds: Imds) -> None:
    imds.serve("ASIAFIRSTFIRSTFIRST1", "s", "t", left=LONG)
    base = SdkCredentials(profile=None)
    await base.current()
    ends_soon(base, timedelta(seconds=5))
    imds.serve("ASIASECONDSECONDSEC2", "s", "t", left=LONG)
    assert (await base.current()).access_key == "ASIASECONDSECONDSEC2"


async def test_credentials_that_aws_calls_ended_are_looked_for_anew_though_the_sdk_believes_in_them(
    imds: Imds, sts: StrictSts
) -> None:
    imds.serve(BROKER_ACCESS_KEY_ID, "wrong" * 8, "", left=LONG)
    base = SdkCredentials(profile=None)
    await base.current()
    imds.serve(BROKER_ACCESS_KEY_ID, BROKER_SECRET_ACCESS_KEY, "", left=LONG)
    sts.clear()
    sts.fault("expired_base", count=1)
    client = client_of(sts.url, base=base)
    try:
        assert (await client.assume(grant())).role_arn == DEVELOPER_ROLE
    finally:
        client.close()


async def test_a_machine_without_credentials_is_unavailable_in_time_and_says_so(imds: Imds, sts: StrictSts) -> None:
    client = client_of(sts.url, base=SdkCredentials(profile=None))
    try:
        error = await failure(client, grant())
        assert (type(error), error.reason) == (StsUnavailable, "no_base_credentials")
        assert await client.ping() == "no_base_credentials"
        imds.answering.clear()
        assert (await failure(client, grant())).reason == "no_base_credentials"
    finally:
        client.close()


async def test_a_provider_that_hangs_is_given_up_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.sts.base._PATIENCE", timedelta(seconds=0.3))
    config = written(tmp_path / "config", "[profile slow]\ncredential_process = sleep 2\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    started = time.monotonic()
    with pytest.raises(StsUnavailable) as caught:
        await SdkCredentials(profile="slow").current()
    assert time.monotonic() - started < 1.5
    assert caught.value.reason == "no_base_credentials"


# A program that is not there, or answers with no credentials, or fails; and a role that AWS refuses to the SDK.
IN_VAIN = {
    "credential_process = /nonexistent/program": "FileNotFoundError",
    "credential_process = echo canary": "JSONDecodeError",
    "credential_process = echo []": "AttributeError",
    "credential_process = sh -c 'echo canary >&2; exit 1'": "CredentialRetrievalError",
    f"role_arn = {DEVELOPER_ROLE}\nsource_profile = user\nregion = eu-central-1": "AccessDenied",
}


@pytest.mark.parametrize("settings", IN_VAIN, ids=IN_VAIN.values())
async def test_whatever_keeps_a_profile_from_having_credentials_is_told_once_without_its_words(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    sts: StrictSts,
    caplog: pytest.LogCaptureFixture,
    settings: str,
) -> None:
    user = (
        f"[profile user]\naws_access_key_id={BROKER_ACCESS_KEY_ID}\naws_secret_access_key={BROKER_SECRET_ACCESS_KEY}\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(written(tmp_path / "config", f"{user}[profile hub]\n{settings}\n")))
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
    base = SdkCredentials(profile="hub")
    for _ in range(2):
        with pytest.raises(StsUnavailable) as caught:
            await base.current()
        assert caught.value.reason == "no_base_credentials"
    assert caplog.messages == [f"the broker's own credentials were not found or renewed: {IN_VAIN[settings]}"]


async def test_what_a_program_says_when_it_cannot_renew_is_in_no_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    ends = (datetime.now(UTC) + SOON).strftime("%Y-%m-%dT%H:%M:%SZ")
    answer = {"Version": 1, "AccessKeyId": "A" * 20, "SecretAccessKey": "s", "SessionToken": "t", "Expiration": ends}
    first = written(tmp_path / "answer", json.dumps(answer))
    program = written(tmp_path / "program", f"cat {first} && rm {first} || {{ echo canary >&2; exit 1; }}\n")
    config = written(tmp_path / "config", f"[profile hub]\ncredential_process = sh {program}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    base = SdkCredentials(profile="hub")
    assert (await base.current()).access_key == "A" * 20
    await base.current()
    await base._look()
    assert not first.exists()
    assert "canary" not in caplog.text


# ---- files ----


def written(path: Path, text: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(text)
    return path


GOOD = "[default]\naws_access_key_id = AKIAFIRSTFIRSTFIRST1\naws_secret_access_key = canary/secret+=\n"


async def test_a_profile_of_the_shared_files_is_found_and_a_missing_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(written(tmp_path / "shared", GOOD.replace("default", "hub"))))
    assert (await SdkCredentials(profile="hub").current()).access_key == "AKIAFIRSTFIRSTFIRST1"
    with pytest.raises(StsUnavailable) as caught:
        await SdkCredentials(profile="other").current()
    assert caught.value.reason == "no_base_credentials"


async def test_a_file_is_taken_over_when_it_changes(tmp_path: Path) -> None:
    path = written(tmp_path / "credentials", GOOD)
    base = FileCredentials(path, profile="default")
    first = await base.current()
    assert (first.access_key, first.secret_key, first.token) == ("AKIAFIRSTFIRSTFIRST1", "canary/secret+=", None)
    assert base.reload() is False
    path.write_text(GOOD.replace("FIRST1", "OTHER1") + "aws_session_token = T\n")
    assert base.reload() is True
    assert (await base.current()).access_key.endswith("OTHER1")
    assert (await base.current()).token == "T"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("canary/secret", "is not in the form"),
        (GOOD + GOOD, "is not in the form"),
        (GOOD.replace("default", "hub"), "has no section [default]"),
        (GOOD.replace("aws_secret", "secret"), "lacks a key id or its secret"),
        (GOOD.replace("AKIAFIRSTFIRSTFIRST1", "canary"), "lacks a key id or its secret"),
        ("", "has no section"),
        (GOOD + "aws_session_token = first\n canary\n", "has a key that is not one word"),
    ],
)
async def test_a_file_that_cannot_be_used_leaves_the_old_keys_and_shows_none(
    tmp_path: Path, text: str, what: str
) -> None:
    path = written(tmp_path / "credentials", GOOD)
    base = FileCredentials(path, profile="default")
    path.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        base.reload()
    assert what in str(caught.value)
    assert "canary" not in str(caught.value) + repr(caught.value.__cause__)
    await base.renew()
    assert (await base.current()).access_key == "AKIAFIRSTFIRSTFIRST1"


async def test_a_file_that_is_open_to_others_is_not_used(tmp_path: Path) -> None:
    path = written(tmp_path / "credentials", GOOD)
    path.chmod(0o644)
    with pytest.raises(ConfigurationError, match="open to others"):
        FileCredentials(path, profile="default")


# ---- logs ----


async def test_no_level_of_logging_brings_a_secret_out_of_the_sdk(
    imds: Imds, sts: StrictSts, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    imds.serve(BROKER_ACCESS_KEY_ID, BROKER_SECRET_ACCESS_KEY, "", left=LONG)
    client = client_of(sts.url, base=SdkCredentials(profile=None))
    try:
        credentials = await client.assume(grant())
    finally:
        client.close()
    written = "".join(f"{record.name} {record.getMessage()}" for record in caplog.records)
    for secret in (
        BROKER_SECRET_ACCESS_KEY,
        credentials.secret_access_key.reveal(),
        credentials.session_token.reveal()[:40],
        "hub-7f3a",
    ):
        assert secret not in written
    assert "botocore" not in written
    assert os.environ["AWS_EC2_METADATA_SERVICE_ENDPOINT"] == imds.url
