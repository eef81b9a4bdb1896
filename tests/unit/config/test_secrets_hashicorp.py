"""`secrets` with Vault or OpenBao: the guide's YAML as it is printed, and what each way to log in needs."""

from __future__ import annotations

import pytest

from tests.unit.config.conftest import MINIMAL, Host

GUIDE = """\
secrets:
  provider: hashicorp
  config:
    url: https://vault.example.com:8200
    auth_method: approle
    role_id: ${VAULT_ROLE_ID}
    secret_id: ${VAULT_SECRET_ID}
    mount_path: zerotrust
"""
ENVIRONMENT = {"VAULT_ROLE_ID": "4f1b", "VAULT_SECRET_ID": "canary"}


def configured(keys: str) -> str:
    return MINIMAL + f"secrets: {{provider: hashicorp, config: {{url: 'https://v.example:8200', {keys}}}}}\n"


def test_the_guides_yaml_works_as_it_is_printed(host: Host) -> None:
    found = host.load(MINIMAL + GUIDE, **ENVIRONMENT).secrets
    assert (found.provider, found.config.url) == ("hashicorp", "https://vault.example.com:8200")
    assert (found.config.auth_method, found.config.role_id, found.config.mount_path) == ("approle", "4f1b", "zerotrust")
    assert found.config.secret_id is not None
    assert found.config.secret_id.reveal() == "canary"
    assert "canary" not in repr(found)


@pytest.mark.parametrize(
    "keys",
    [
        "auth_method: token, token: hvs.x",
        "auth_method: kerberos, auth_path: corp/kerberos, namespace: team/a",
        "auth_method: kubernetes, role: broker",
        "auth_method: kubernetes, role: broker, service_account_file: /run/jwt, leased_mounts: [database, aws/prod]",
        "auth_method: approle, role_id: a, secret_id: b",
    ],
)
def test_each_way_to_log_in_takes_its_own_keys(host: Host, keys: str) -> None:
    assert host.load(configured(keys)).secrets.provider == "hashicorp"


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("auth_method: approle, role_id: a", "lacks secret_id, which approle needs"),
        ("auth_method: token", "lacks token, which token needs"),
        ("auth_method: kubernetes", "lacks role, which kubernetes needs"),
        ("auth_method: token, token: t, role_id: a, role: b", "has role, role_id, which token does not take"),
        (
            "auth_method: kerberos, service_account_file: /run/jwt",
            "has service_account_file, which kerberos does not take",
        ),
        ("role_id: a, secret_id: b", "lacks auth_method, which hashicorp needs"),
        ("auth_method: token, token: t, region: eu-central-1", "has region, which hashicorp does not know"),
        ("auth_method: token, token: t, mount_path: /kv/", "is not where an engine is mounted"),
        ("auth_method: token, token: t, leased_mounts: [../sys]", "is not where an engine is mounted"),
        ("auth_method: ldap", "auth_method"),
    ],
)
def test_what_a_way_lacks_or_does_not_take_is_named(host: Host, keys: str, said: str) -> None:
    (problem,) = host.problems(configured(keys))
    assert said in problem
