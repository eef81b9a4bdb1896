"""What the documentation gives to copy: policies tried on a real vault, manifests held to what they promise."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from broker.admin.all_secrets import secrets
from tests.fakes.bao import BaoError, BaoServer
from tests.fakes.documents import KEY, MANIFESTS, manifests

CIPHERTEXT = "vault:v1:" + "A" * 40
# Everything that can be done with a key and is worth something to a thief.
ASKED: dict[str, tuple[str, str, dict[str, Any]]] = {
    "encrypt": ("POST", f"transit/encrypt/{KEY}", {"plaintext": "eA=="}),
    "decrypt": ("POST", f"transit/decrypt/{KEY}", {"ciphertext": CIPHERTEXT}),
    "rewrap": ("POST", f"transit/rewrap/{KEY}", {"ciphertext": CIPHERTEXT}),
    "rotate": ("POST", f"transit/keys/{KEY}/rotate", {}),
    "read key": ("GET", f"transit/keys/{KEY}", {}),
    "retire": ("POST", f"transit/keys/{KEY}/config", {"min_decryption_version": 1}),
    "make exportable": ("POST", f"transit/keys/{KEY}/config", {"exportable": True}),
    "allow deletion": ("POST", f"transit/keys/{KEY}/config", {"deletion_allowed": True}),
    "export": ("GET", f"transit/export/encryption-key/{KEY}", {}),
    "data key": ("POST", f"transit/datakey/plaintext/{KEY}", {}),
    "backup": ("GET", f"transit/backup/{KEY}", {}),
    "trim": ("POST", f"transit/keys/{KEY}/trim", {"min_available_version": 1}),
    "delete": ("DELETE", f"transit/keys/{KEY}", {}),
    "make a key": ("POST", "transit/keys/other", {}),
    "encrypt by a new key": ("POST", "transit/encrypt/other2", {"plaintext": "eA=="}),
    "list keys": ("LIST", "transit/keys", {}),
    "read policies": ("GET", "sys/policies/acl/rewrap", {}),
    "make a token": ("POST", "auth/token/create", {}),
    "read secrets": ("GET", "zerotrust/data/any", {}),
}
ALLOWED = {
    "rewrap": {"rewrap", "rotate", "read key", "retire"},
    "app": {"decrypt"},
    "seal": {"encrypt", "decrypt"},
}
CONTAINERS = [
    container
    for name in ("rewrap", "app")
    for one in manifests(name)
    for pod in [one["spec"]["jobTemplate"]["spec"]["template"] if one["kind"] == "CronJob" else one]
    if one["kind"] in {"CronJob", "Pod"}
    for container in [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]
]


@pytest.fixture
def vault(bao: BaoServer) -> Iterator[BaoServer]:
    if "transit/" in bao.api("GET", "sys/mounts")["data"]:
        bao.api("DELETE", "sys/mounts/transit")
    bao.mount("transit", "transit")
    bao.api("POST", f"transit/keys/{KEY}", {})
    yield bao
    bao.api("DELETE", "sys/mounts/transit")


def is_allowed(vault: BaoServer, token: str, what: str) -> bool:
    method, path, body = ASKED[what]
    try:
        vault.api(method, path, body or None, token=token)
    except BaoError as error:
        return not str(error).startswith("403")  # not permitted, or permitted and of no use
    return True


@pytest.mark.parametrize("policy", sorted(ALLOWED))
def test_a_policy_allows_what_its_command_needs_and_denies_all_else(vault: BaoServer, policy: str) -> None:
    vault.policy(policy, (MANIFESTS / f"{policy}.hcl").read_text())
    token = vault.token(policy, no_default_policy=True)
    assert {what for what in ASKED if is_allowed(vault, token, what)} == ALLOWED[policy]
    vault.api("POST", "auth/token/revoke-self", {}, token=token)
    assert not is_allowed(vault, token, min(ALLOWED[policy]))


def test_no_role_of_a_manifest_lists_secrets_or_reaches_more_than_it_names() -> None:
    rules = [
        rule for name in ("rewrap", "app") for one in manifests(name) if one["kind"] == "Role" for rule in one["rules"]
    ]
    assert len(rules) == 4
    for rule in rules:
        assert rule["resourceNames"]
        assert set(rule["verbs"]) <= {"get", "update", "create"}
        assert "*" not in rule["resources"]


@pytest.mark.parametrize("container", CONTAINERS, ids=lambda container: container["name"])
def test_a_container_of_a_manifest_runs_without_any_right_and_with_nothing_in_its_environment(
    container: dict[str, Any],
) -> None:
    security = container["securityContext"]
    assert security["allowPrivilegeEscalation"] is False
    assert security["readOnlyRootFilesystem"] is True
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert not {"env", "envFrom"} & set(container)


@pytest.mark.parametrize(
    "container", [one for one in CONTAINERS if "command" in one], ids=lambda container: container["name"]
)
def test_a_command_line_of_a_manifest_is_one_that_the_program_understands(container: dict[str, Any]) -> None:
    program, group, name = container["command"]
    assert (program, group) == ("zerotrust-admin", "secrets")
    command = secrets.commands[name]
    command.make_context(name, list(container["args"]))


def test_what_is_meant_to_stay_in_memory_is_mounted_in_memory() -> None:
    pod = next(one for one in manifests("app") if one["kind"] == "Pod")
    volumes = {one["name"]: one for one in pod["spec"]["volumes"]}
    assert volumes["documents"]["emptyDir"]["medium"] == "Memory"


def test_the_page_shows_the_files_as_they_are() -> None:
    page = (Path(__file__).parents[2] / "docs" / "transit.md").read_text()
    named = set(re.findall(r"\(kubernetes/([a-z.]+)\)", page))
    assert named == {one.name for one in MANIFESTS.iterdir()}
