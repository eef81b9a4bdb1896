"""`secrets` with Kubernetes and with CyberArk Conjur: which keys each takes."""

from __future__ import annotations

import pytest

from tests.unit.config.conftest import MINIMAL, Host

KUBERNETES = "provider: kubernetes, config: {url: 'https://k.example:6443', namespace: vaults"
CONJUR = "provider: cyberark, config: {url: 'https://c.example', account: myorg"


def configured(keys: str) -> str:
    return MINIMAL + f"secrets: {{{keys}}}}}\n"


@pytest.mark.parametrize(
    "keys",
    [
        KUBERNETES,
        f"{KUBERNETES}, token: eyJ",
        f"{KUBERNETES}, service_account_file: /run/token",
        f"{CONJUR}, login: host/broker, api_key: k3y",
    ],
)
def test_what_a_vault_takes_is_taken(host: Host, keys: str) -> None:
    assert host.load(configured(keys)).secrets.config.url is not None


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (f"{KUBERNETES}, token: eyJ, service_account_file: /run/token", "has token and service_account_file"),
        (f"{KUBERNETES}, role: r", "has role, which kubernetes does not know"),
        (f"{CONJUR}, login: host/broker", "lacks api_key, which cyberark needs"),
        ("provider: kubernetes, config: {url: 'http://k.example', namespace: n", "is not https"),
    ],
)
def test_what_is_missing_or_too_much_is_named(host: Host, keys: str, said: str) -> None:
    (problem,) = host.problems(configured(keys))
    assert said in problem
    assert "eyJ" not in problem
