"""Values of the configuration that stand in AWS Secrets Manager are asked for with the broker's own keys, and no others."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from broker.assembly.probe import _sts
from broker.assembly.resolver import VaultResolver
from broker.config.load import load
from broker.config.model import Settings
from broker.core.clock import SystemClock
from broker.core.errors import ConfigurationError
from broker.keys.hierarchy import KeyHierarchy
from tests.fakes.aws import KEY, KEY_ID, REGION, AwsCloud
from tests.fakes.broker import configuration

BY_ENVIRONMENT = {"AWS_ACCESS_KEY_ID": KEY_ID, "ZEROTRUST_AWS_SECRET_KEY": KEY}


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AwsCloud]:
    with AwsCloud(tmp_path_factory.mktemp("aws")) as running:
        running.behind("secretsmanager").create_secret(Name="redis", SecretString='{"password": "canary-redis"}')
        yield running


@pytest.fixture(autouse=True)
def nothing_by_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What AWS's SDK would find in this process is nobody's."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "shared"))


def loaded(cloud: AwsCloud, folder: Path, environ: dict[str, str], *, redis: bool = True, **aws: Any) -> Settings:
    keytab = folder / "http.keytab"
    keytab.touch(mode=0o600)
    settings = configuration(folder, keytab=keytab, sts_endpoint="http://127.0.0.1:1")
    settings["aws"] = {"region": "eu-central-1"} | aws
    settings["secrets"] = {"provider": "aws", "config": {"region": REGION, "endpoint": cloud.url}}
    settings |= {"redis": {"url": "redis://localhost", "password_secret": "redis#password"}} if redis else {}
    path = folder / "config.yaml"
    path.touch(mode=0o600)
    path.write_text(json.dumps(settings, indent=1))
    return load(path, environ=environ, resolver=VaultResolver(patience=20.0))


def password(settings: Settings) -> str:
    assert settings.redis is not None
    assert settings.redis.password is not None
    return settings.redis.password.reveal()


def refused(cloud: AwsCloud, folder: Path, environ: dict[str, str], **aws: Any) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        loaded(cloud, folder, environ, **aws)
    assert "canary" not in str(caught.value)
    return caught.value.problems


def in_file(path: Path, section: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(f"[{section}]\naws_access_key_id = {KEY_ID}\naws_secret_access_key = {KEY}\n")
    return path


def test_with_the_key_of_the_environment_whose_name_is_ours(aws: AwsCloud, tmp_path: Path) -> None:
    assert password(loaded(aws, tmp_path, BY_ENVIRONMENT)) == "canary-redis"


def test_with_the_keys_of_a_private_file_or_of_a_profile(
    aws: AwsCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_file = {"credentials_provider": "file", "credentials_file": str(in_file(tmp_path / "keys", "default"))}
    assert password(loaded(aws, tmp_path, {}, **by_file)) == "canary-redis"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(in_file(tmp_path / "shared", "broker")))
    assert password(loaded(aws, tmp_path, {}, credentials_provider="profile", profile="broker")) == "canary-redis"


def test_keys_that_are_not_ours_are_not_taken_for_want_of_better_ones(
    aws: AwsCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEY)
    (problem,) = refused(aws, tmp_path, {**BY_ENVIRONMENT, "AWS_ACCESS_KEY_ID": "AKIASOMEBODYELSE0001"})
    assert "redis.password: stands in the vault (aws), which refuses us" in problem


def test_keys_that_stand_there_themselves_or_are_none_are_named(aws: AwsCloud, tmp_path: Path) -> None:
    (ring,) = refused(aws, tmp_path, {}, credentials_provider="secret", credentials_secret="zerotrust/aws")
    assert "aws.credentials_provider: is secret, which gives no keys to ask AWS Secrets Manager with" in ring
    issuer = {"web_identity_issuer": "https://broker.example.com"}
    keyless = refused(aws, tmp_path, {}, credentials_provider="web_identity", **issuer)
    assert any("aws.credentials_provider: is web_identity" in problem for problem in keyless)
    key_id = {"AWS_ACCESS_KEY_ID": KEY_ID}
    (loop,) = refused(aws, tmp_path, key_id, secret_key_secret="redis#password")
    assert "aws.secret_key: leads to the vault, and cannot stand in it — fix: " in loop


def test_a_file_that_cannot_be_used_is_named(aws: AwsCloud, tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.touch(mode=0o600)
    (problem,) = refused(aws, tmp_path, {}, credentials_provider="file", credentials_file=str(path))
    assert "redis.password: stands in a vault that is asked with keys of ours, and" in problem
    assert str(path) in problem


def test_the_rest_of_the_section_may_stand_there(aws: AwsCloud, tmp_path: Path) -> None:
    aws.behind("secretsmanager").create_secret(
        Name="ids", SecretString='{"key": "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s="}'
    )
    settings = loaded(aws, tmp_path, BY_ENVIRONMENT, external_ids={"key_secret": "ids#key"})
    assert settings.aws.external_ids is not None


def test_the_probe_turns_away_keys_that_stand_where_they_are_needed(aws: AwsCloud, tmp_path: Path) -> None:
    hierarchy = KeyHierarchy(master=b"k" * 32)

    async def probed(settings: Settings) -> None:
        async with _sts(settings, hierarchy, SystemClock()):
            pass

    ring = loaded(aws, tmp_path, {}, redis=False, credentials_provider="secret", credentials_secret="redis")
    with pytest.raises(ConfigurationError, match="reached with these very keys"):
        asyncio.run(probed(ring))
