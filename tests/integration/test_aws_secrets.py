"""AWS Secrets Manager as a vault behind the broker, against moto with a judge before it."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from botocore.credentials import ReadOnlyCredentials

from broker.assembly.clouds import secrets_manager
from broker.config.load import load
from broker.core.secret import Secret
from broker.remote.aws import AwsClient
from broker.remote.failure import Conflict, Malformed, Missing, Refused, RemoteFailure, Unreachable
from broker.secrets.provider import Provider, Version
from broker.secrets.providers.aws import TEXT_MAX, SecretsManager
from broker.sts.base import GivenCredentials
from tests.fakes.aws import KEY, KEY_ID, REGION, AwsCloud
from tests.fakes.aws_keys import Keys
from tests.fakes.docs import aws_policy
from tests.unit.config.conftest import MINIMAL, Host
from tests.unit.config.conftest import host as host  # noqa: PLC0414  # a fixture, by its name
from tests.unit.config.test_secrets_clouds import AWS as GUIDE

CANARY = "canary-5c1f"
# The snippet of the enterprise notes, its typographic quotes aside.
SNIPPET = """\
import boto3
from botocore.exceptions import ClientError

def store_secret(secret_name, secret_value):
    # Create a Secrets Manager client
    client = boto3.client('secretsmanager')

    try:
        # Store the secret
        response = client.create_secret(
            Name=secret_name,
            SecretString=secret_value
        )
        return response
    except ClientError as e:
        print(f"Error storing secret: {e}")
        return None

def retrieve_secret(secret_name):
    # Create a Secrets Manager client
    client = boto3.client('secretsmanager')

    try:
        # Retrieve the secret
        response = client.get_secret_value(
            SecretId=secret_name
        )
        # Return the secret value
        return response['SecretString']
    except ClientError as e:
        print(f"Error retrieving secret: {e}")
        return None

# Example usage
store_secret("MySecretAPIKey", '{"api_key": "your-api-key-here"}')
secret = retrieve_secret("MySecretAPIKey")
print(secret)
"""


@pytest.fixture(scope="module")
def _aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AwsCloud]:
    with AwsCloud(tmp_path_factory.mktemp("aws")) as running:
        yield running


@pytest.fixture
def aws(_aws: AwsCloud) -> AwsCloud:
    _aws.renew()
    _aws.key("alias/zerotrust-secrets")
    return _aws


@pytest.fixture
def keys() -> Keys:
    return Keys()


@pytest.fixture
async def vault(aws: AwsCloud, keys: Keys) -> AsyncIterator[SecretsManager]:
    numbers = iter(range(1, 1000))
    made = SecretsManager(
        client=AwsClient("secretsmanager", region=REGION, endpoint=aws.url, keys=keys),
        kms_key_id="alias/zerotrust-secrets",
        token=lambda: f"version-{next(numbers):032}",
    )
    yield made
    await made.close()


def fields(**values: str) -> dict[str, Secret]:
    return {name: Secret(value) for name, value in values.items()}


def shown(version: Version) -> dict[str, str]:
    return {name: secret.reveal() for name, secret in version.fields.items()}


async def test_what_was_written_is_read_by_its_newest_version_by_id_and_by_label(vault: SecretsManager) -> None:
    first = await vault.write("db/prod", fields(user="app", password="one"))
    second = await vault.write("db/prod", fields(user="app", password="two"))
    newest = await vault.read("db/prod")
    assert (newest.number, shown(newest)) == (second, {"user": "app", "password": "two"})
    assert newest.made is not None
    assert abs(newest.made - datetime.now(UTC)) < timedelta(minutes=5)
    for version in (first, "AWSPREVIOUS"):
        assert shown(await vault.read("db/prod", version=version))["password"] == "one"
    for nobody in ("AWSPENDING", "f" * 32):
        with pytest.raises(Missing):
            await vault.read("db/prod", version=nobody)


async def test_what_aws_s_own_tools_wrote_is_read_and_they_read_what_we_write(
    aws: AwsCloud, vault: SecretsManager
) -> None:
    operator = aws.behind("secretsmanager")
    operator.create_secret(Name="console", SecretString='{"username":"app","password":"p"}')
    operator.create_secret(Name="plain", SecretString="just text")
    operator.create_secret(Name="bytes", SecretBinary=b"\x00\xff")
    assert shown(await vault.read("console")) == {"username": "app", "password": "p"}
    assert shown(await vault.read("plain")) == {"value": "just text"}
    with pytest.raises(Malformed) as malformed:
        await vault.read("bytes")
    assert malformed.value.reason == "not_text"
    await vault.write("plain", fields(value="other text"))
    assert operator.get_secret_value(SecretId="plain")["SecretString"] == "other text"


async def test_new_secrets_are_encrypted_with_the_configured_key(aws: AwsCloud, vault: SecretsManager) -> None:
    await vault.write("new", fields(value="x"))
    created = [asked for call, asked in aws.calls if call == "secretsmanager:CreateSecret"]
    assert [asked["KmsKeyId"] for asked in created] == ["alias/zerotrust-secrets"]
    assert aws.behind("secretsmanager").describe_secret(SecretId="new")["KmsKeyId"] == "alias/zerotrust-secrets"


async def test_a_disabled_kms_key_shows_nothing_and_takes_nothing(aws: AwsCloud, vault: SecretsManager) -> None:
    await vault.write("a", fields(value="x"))
    kms = aws.behind("kms")
    kms.disable_key(KeyId=kms.describe_key(KeyId="alias/zerotrust-secrets")["KeyMetadata"]["KeyId"])
    for question in (vault.read("a"), vault.write("a", fields(value="y")), vault.write("b", fields(value="y"))):
        with pytest.raises(Refused) as refused:
            await question
        assert refused.value.reason == "kms_refused"


async def test_only_one_of_many_makes_what_must_be_new(aws: AwsCloud, vault: SecretsManager) -> None:
    asked = [vault.write("race", fields(value=str(number)), cas=0) for number in range(8)]
    results = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(result) for result in results if not isinstance(result, str)] == [Conflict] * 7
    with pytest.raises(Refused) as refused:
        await vault.write("race", fields(value="x"), cas=1)
    assert refused.value.reason == "cas_unsupported"


async def test_those_who_write_a_new_secret_at_once_all_write(vault: SecretsManager) -> None:
    written = await asyncio.gather(*(vault.write("race", fields(value=str(number))) for number in range(8)))
    assert len(set(written)) == 8
    assert (await vault.read("race")).number in written


async def test_a_deleted_secret_is_gone_can_be_restored_and_comes_back_with_a_write(
    aws: AwsCloud, vault: SecretsManager
) -> None:
    await vault.write("a/b", fields(value="one"))
    await vault.delete("a/b")
    assert aws.calls[-1][1]["RecoveryWindowInDays"] == 30
    for question in (vault.read("a/b"), vault.delete("a/b")):
        with pytest.raises(Missing) as missing:
            await question
        assert missing.value.reason == "deleted"
    assert await vault.list("a") == []
    with pytest.raises(Conflict):
        await vault.write("a/b", fields(value="two"), cas=0)
    await vault.write("a/b", fields(value="two"))
    assert shown(await vault.read("a/b")) == {"value": "two"}


async def test_paths_below_a_prefix_are_listed_page_by_page(aws: AwsCloud, vault: SecretsManager) -> None:
    operator = aws.behind("secretsmanager")
    for number in range(120):
        operator.create_secret(Name=f"many/{number:03}", SecretString="x")
    for name in ("many", "manyfold", "many+odd", "other/many/1"):
        operator.create_secret(Name=name, SecretString="x")
    assert await vault.list("many") == [f"many/{number:03}" for number in range(120)]
    assert len([call for call, _ in aws.calls if call == "secretsmanager:ListSecrets"]) == 2
    assert "many+odd" not in await vault.list("")


async def test_too_much_is_not_sent(aws: AwsCloud, vault: SecretsManager) -> None:
    with pytest.raises(Refused) as refused:
        await vault.write("big", fields(value="x" * (TEXT_MAX + 1)))
    assert refused.value.reason == "too_large"
    assert aws.calls == []


async def test_a_write_whose_answer_was_lost_is_asked_again_and_written_once(
    aws: AwsCloud, vault: SecretsManager
) -> None:
    await vault.write("a", fields(value="one"))
    aws.fail("lost", times=1)
    number = await vault.write("a", fields(value="two"))
    versions = aws.behind("secretsmanager").list_secret_version_ids(SecretId="a", IncludeDeprecated=True)["Versions"]
    assert len(versions) == 2
    assert (await vault.read("a")).number == number


async def test_keys_that_were_rotated_under_us_are_picked_up(aws: AwsCloud, vault: SecretsManager, keys: Keys) -> None:
    await vault.write("a", fields(value="x"))
    aws.keys = {"AKIABROKERBROKER0002": "another"}
    keys.next = ReadOnlyCredentials("AKIABROKERBROKER0002", "another", None)
    assert shown(await vault.read("a")) == {"value": "x"}


@pytest.mark.parametrize(("fault", "kind"), [("throttle", Unreachable), ("html", Malformed), ("empty", Malformed)])
async def test_what_is_no_answer_is_told_as_what_it_is_by_the_ping_too(
    aws: AwsCloud, vault: SecretsManager, fault: str, kind: type[RemoteFailure]
) -> None:
    aws.fail(fault)
    said = await vault.ping()
    assert said is not None
    with pytest.raises(kind) as failed:
        await vault.read("a")
    assert type(failed.value) is kind
    if kind is Malformed:
        for question in (vault.delete("a"), vault.list("a")):
            with pytest.raises(Malformed):
                await question
    aws.recover()
    assert await vault.ping() is None


async def test_a_ping_ends_within_two_seconds(aws: AwsCloud, vault: SecretsManager) -> None:
    aws.fail("hang")
    assert await vault.ping() == "no answer in time"


async def test_no_value_and_no_key_is_in_any_log_at_any_level(
    aws: AwsCloud, vault: SecretsManager, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await vault.write("a", fields(value=CANARY))
    assert shown(await vault.read("a")) == {"value": CANARY}
    aws.fail("html", times=1)
    with pytest.raises(Malformed) as malformed:
        await vault.write("a", fields(value=CANARY))
    assert CANARY not in caplog.text + str(malformed.value) + repr(malformed.value.__cause__)
    assert KEY not in caplog.text
    assert "Signature=" not in caplog.text


async def test_the_guides_yaml_is_a_working_vault(aws: AwsCloud, host: Host) -> None:
    text = MINIMAL + GUIDE + f"    endpoint: {aws.url}\n"
    settings = load(host.file("config.yaml", text), environ=host.environ)
    base = GivenCredentials(access_key_id=KEY_ID, secret_key=KEY, session_token=None)
    made: Provider = secrets_manager(settings.secrets.config, base=base)
    await made.write("guide", fields(value="x"))
    assert shown(await made.read("guide")) == {"value": "x"}
    assert {asked.get("KmsKeyId") for call, asked in aws.calls if call.endswith("CreateSecret")} == {
        "alias/zerotrust-secrets"
    }
    await made.close()


async def test_nothing_of_the_sdk_s_own_variables_has_a_say(
    aws: AwsCloud, vault: SecretsManager, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE"):
        monkeypatch.setenv(name, "nobody")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIASOMEBODYELSE0001")
    assert await vault.ping() is None


async def everything(vault: SecretsManager, path: str) -> None:
    """All that the broker asks."""
    await vault.write(path, fields(value="one"))
    await vault.write(path, fields(value="two"))
    await vault.read(path)
    assert await vault.list("") == [path]
    assert await vault.ping() is None
    await vault.delete(path)
    await vault.write(path, fields(value="three"))


async def test_the_documented_policy_is_enough_and_no_line_of_it_too_much(aws: AwsCloud, vault: SecretsManager) -> None:
    policy = json.loads(aws_policy())
    assert policy["Version"] == "2012-10-17"
    assert {statement["Effect"] for statement in policy["Statement"]} == {"Allow"}
    asked = [action for statement in policy["Statement"][:2] for action in listed(statement["Action"])]
    aws.allowed = set(asked)
    await everything(vault, "policy/x")
    for action in asked:
        aws.renew()
        aws.key("alias/zerotrust-secrets")
        aws.allowed = set(asked) - {action}
        with pytest.raises((Refused, AssertionError)):
            await everything(vault, "policy/x")
    key = policy["Statement"][2]
    assert key["Condition"]["StringEquals"] == {"kms:ViaService": "secretsmanager.us-west-2.amazonaws.com"}


def listed(action: str | list[str]) -> list[str]:
    return [action] if isinstance(action, str) else action


def test_the_snippet_of_the_enterprise_notes_works_as_printed(aws: AwsCloud, tmp_path: Path) -> None:
    (tmp_path / "snippet.py").write_text(SNIPPET)
    environment = {
        "PATH": os.environ["PATH"],
        "AWS_ACCESS_KEY_ID": KEY_ID,
        "AWS_SECRET_ACCESS_KEY": KEY,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL": aws.url,
    }
    ran = [
        subprocess.run(
            [sys.executable, "snippet.py"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        for _ in range(2)
    ]
    assert (ran[0].returncode, ran[0].stdout, ran[0].stderr) == (0, '{"api_key": "your-api-key-here"}\n', "")
    assert ran[1].stdout.startswith("Error storing secret: An error occurred (ResourceExistsException)")
    assert ran[1].stdout.endswith('{"api_key": "your-api-key-here"}\n')


async def test_the_broker_reads_what_the_snippet_stored(aws: AwsCloud, vault: SecretsManager) -> None:
    aws.behind("secretsmanager").create_secret(Name="MySecretAPIKey", SecretString='{"api_key": "your-api-key-here"}')
    assert shown(await vault.read("MySecretAPIKey")) == {"api_key": "your-api-key-here"}
