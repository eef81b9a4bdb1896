"""`secrets` with AWS and Azure: the guide's YAML as it is printed, and what cannot be meant."""

from __future__ import annotations

import pytest

from broker.core.file_secret import current
from broker.core.secret import Secret
from tests.unit.config.conftest import MINIMAL, Host

AWS = """\
secrets:
  provider: aws
  config:
    region: us-west-2
    kms_key_id: alias/zerotrust-secrets
"""
AZURE = """\
secrets:
  provider: azure
  config:
    vault_url: https://zerotrust.vault.azure.net/
    tenant_id: ${AZURE_TENANT_ID}
    client_id: ${AZURE_CLIENT_ID}
    client_secret: ${AZURE_CLIENT_SECRET}
"""
ENVIRONMENT = {"AZURE_TENANT_ID": "72f988bf", "AZURE_CLIENT_ID": "fad7d5b3", "AZURE_CLIENT_SECRET": "canary"}


def test_the_guides_yaml_for_aws_works_as_it_is_printed(host: Host) -> None:
    found = host.load(MINIMAL + AWS).secrets
    assert (found.provider, found.config.region, found.config.kms_key_id) == (
        "aws",
        "us-west-2",
        "alias/zerotrust-secrets",
    )


def test_the_guides_yaml_for_azure_works_as_it_is_printed(host: Host) -> None:
    found = host.load(MINIMAL + AZURE, **ENVIRONMENT).secrets
    assert (found.provider, found.config.vault_url) == ("azure", "https://zerotrust.vault.azure.net")
    assert (found.config.tenant_id, found.config.client_id) == ("72f988bf", "fad7d5b3")
    assert found.config.client_secret == Secret("canary")
    assert "canary" not in repr(found)


def test_a_client_secret_in_a_file_is_known_by_its_file(host: Host) -> None:
    file = host.file("azure-secret", "first\n")
    text = AZURE.replace("client_secret: ${AZURE_CLIENT_SECRET}", f"client_secret_file: {file}")
    found = host.load(MINIMAL + text, **ENVIRONMENT).secrets.config.client_secret
    assert found == Secret("first")
    host.file("azure-secret", "second\n")
    assert current(found) == Secret("second")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (AWS.replace("us-west-2", "oregon"), "is not an AWS region — fix: write eu-central-1"),
        (AWS.replace("alias/zerotrust-secrets", "'alias/zero trust'"), "is not a key of AWS KMS"),
        (AWS + "    tenant_id: t\n", "has tenant_id, which aws does not know"),
        (AZURE.replace("https://zerotrust.vault.azure.net/", "http://127.0.0.1:1"), "is not the https:// URL"),
        (AZURE.replace(".net/", ".net/secrets/x"), "is not the https:// URL of a server alone"),
        (AZURE.replace("${AZURE_TENANT_ID}", "a/b"), "is not a tenant of Entra ID"),
        (AZURE.replace("    client_id: ${AZURE_CLIENT_ID}\n", ""), "lacks client_id, which azure needs"),
    ],
)
def test_what_cannot_be_meant_is_named_with_its_fix(host: Host, text: str, said: str) -> None:
    (line,) = host.outcome(MINIMAL + text, **ENVIRONMENT)
    assert said in line
    assert "canary" not in line


@pytest.mark.parametrize(
    "key",
    [
        "1234abcd-12ab-34cd-56ef-1234567890ab",
        "mrk-1234abcd12ab34cd56ef1234567890ab",
        "arn:aws:kms:us-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
        "arn:aws-us-gov:kms:us-gov-west-1:111122223333:alias/zerotrust-secrets",
    ],
)
def test_a_kms_key_may_be_named_in_each_of_aws_s_ways(host: Host, key: str) -> None:
    assert host.load(MINIMAL + AWS.replace("alias/zerotrust-secrets", key)).secrets.config.kms_key_id == key
