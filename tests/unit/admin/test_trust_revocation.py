"""`zerotrust-admin trust-policy --revocation`: what AWS must be told for `aws.revocation`, and that nothing else undoes it."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pygohcl
import pytest
from cfnlint.api import lint_all
from click.testing import CliRunner, Result

from broker.admin.cli import main
from broker.config.load import load
from broker.core.roles import SHORTEST
from broker.sts.chain import Call
from broker.sts.iam import SESSION_NAME
from broker.trust.documents import needed
from tests.fakes.sts import demo
from tests.fakes.trust import BROKER, DIRECT, applied, configuration, walk, world_of

DENIER = "arn:aws:iam::111122223333:role/ZeroTrustRevocation"
HUB = {"arn": demo.HUB_ROLE, "external_id": demo.HUB_EXTERNAL_ID}
CHAIN = [HUB, {"arn": "arn:aws:iam::{account}:role/ZeroTrustRevocation", "derive_external_id": True}]
INLINE = ["iam:GetRolePolicy", "iam:PutRolePolicy", "iam:DeleteRolePolicy"]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = configuration(tmp_path_factory.mktemp("trust"))
    settings = json.loads(path.read_text())
    settings["aws"]["revocation"] = {"chain": CHAIN}
    path.write_text(json.dumps(settings))
    return path


def printed(config: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["trust-policy", "--config", str(config), "--broker-arn", BROKER.text, *words])


def resources(policy: dict[str, Any], action: str) -> set[str]:
    return {arn for one in policy["Statement"] if action in one["Action"] for arn in one["Resource"]}


def test_the_denying_role_may_put_inline_policies_at_the_ends_of_all_chains_and_nowhere_else(config: Path) -> None:
    result = printed(config, "--revocation")
    assert result.exit_code == 0
    assert "permissions boundary" in result.stderr
    hub, denier = json.loads(result.stdout)
    assert [hub["role_arn"], denier["role_arn"]] == [demo.HUB_ROLE, DENIER]
    [statement] = denier["own_policy"]["Statement"]
    assert statement["Action"] == INLINE
    assert statement["Resource"] == sorted([demo.DEVELOPER_ROLE, demo.READ_ONLY_ROLE, DIRECT])


def test_who_applies_what_is_printed_for_a_role_does_not_take_the_way_to_deny_from_the_hub(config: Path) -> None:
    [_, developer] = json.loads(printed(config, "developer").stdout)
    [hub] = developer["caller_policies"]
    assert resources(hub["policy"], "sts:AssumeRole") > {DENIER, demo.DEVELOPER_ROLE}


def test_accounts_made_of_the_printed_documents_let_the_chain_through(config: Path) -> None:
    settings = load(config, environ={})
    assert settings.denying is not None
    found = needed(settings.roles, first=lambda _: BROKER, denying=settings.denying)
    hops = settings.denying("111122223333")
    calls = [
        Call(arn=hop.arn, external_id=hop.external_id, session_name=SESSION_NAME, lifetime=SHORTEST) for hop in hops
    ]
    walk(world_of(applied(found), found), calls)


def test_the_other_formats_say_the_same(config: Path) -> None:
    template = printed(config, "--revocation", "--format", "cloudformation").stdout
    logging.getLogger("cfnlint").setLevel(logging.ERROR)
    assert [str(match) for match in lint_all(template) if not match.rule.id.startswith("I")] == []
    roles = [one["Properties"] for one in json.loads(template)["Resources"].values() if "RoleName" in one["Properties"]]
    [policy] = [one["Policies"][0]["PolicyDocument"] for one in roles if one["RoleName"] == "ZeroTrustRevocation"]
    assert resources(policy, "iam:PutRolePolicy") == {demo.DEVELOPER_ROLE, demo.READ_ONLY_ROLE, DIRECT}
    made = pygohcl.loads(printed(config, "--revocation", "--format", "terraform").stdout)["resource"]
    assert any("iam:DeleteRolePolicy" in one["policy"] for one in made["aws_iam_role_policy"].values())


def test_without_the_section_or_with_two_wishes_nothing_is_printed(config: Path, tmp_path: Path) -> None:
    without = printed(configuration(tmp_path), "--revocation")
    assert (without.exit_code, without.stdout) == (2, "")
    assert "aws.revocation" in without.stderr
    for words in ([], ["developer", "--revocation"]):
        result = printed(config, *words)
        assert (result.exit_code, result.stdout) == (2, "")
