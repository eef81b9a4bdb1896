"""`zerotrust-admin trust-policy`: each format is one that its own tool reads, and says what the documents say."""

from __future__ import annotations

import json
import logging
from datetime import timedelta
from pathlib import Path
from typing import Any

import pygohcl
import pytest
from cfnlint.api import lint_all
from click.testing import CliRunner, Result

from broker.admin.cli import main
from broker.core.roles import Hop, Role, RoleArn, RoleName
from broker.trust.documents import needed
from broker.trust.render import as_cloudformation, as_terraform
from tests.fakes.sts import demo
from tests.fakes.trust import BROKER, DIRECT, MIDDLE, configuration, documents

FOUND = documents()
ROLES = ["developer", "readonly", "direct", "far"]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return configuration(tmp_path_factory.mktemp("trust"))


def printed(config: Path, role: str, *options: str, broker: str | None = BROKER.text) -> Result:
    named = ["--broker-arn", broker] if broker else []
    return CliRunner().invoke(main, ["trust-policy", role, "--config", str(config), *named, *options])


def good(config: Path, role: str, form: str) -> str:
    result = printed(config, role, "--format", form)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


@pytest.mark.parametrize("role", ROLES)
def test_json_holds_the_documents_of_every_hop_in_order(config: Path, role: str) -> None:
    hops = json.loads(good(config, role, "json"))
    chain = {
        "developer": [demo.HUB_ROLE, demo.DEVELOPER_ROLE],
        "readonly": [demo.HUB_ROLE, demo.READ_ONLY_ROLE],
        "direct": [DIRECT],
        "far": [demo.HUB_ROLE, MIDDLE, DIRECT],
    }
    assert [hop["role_arn"] for hop in hops] == chain[role]
    for hop in hops:
        assert hop["trust_policy"] == FOUND[hop["role_arn"]].trust_policy()
        assert hop["max_session_duration"] == FOUND[hop["role_arn"]].max_session_duration.total_seconds()
    callers = [one["principal"] for hop in hops for one in hop["caller_policies"]]
    assert callers[0] == BROKER.text
    for hop in hops:
        for one in hop["caller_policies"]:
            assert one["policy"] == FOUND[one["principal"]].permissions()


def test_a_hop_of_several_roles_is_printed_with_what_all_of_them_need(config: Path) -> None:
    hub, _ = json.loads(good(config, "developer", "json"))
    assert len(hub["trust_policy"]["Statement"]) == 3
    [permissions] = [hop["caller_policies"][0]["policy"] for hop in json.loads(good(config, "developer", "json"))[1:]]
    resources = {arn for statement in permissions["Statement"] for arn in statement["Resource"]}
    assert resources == {demo.DEVELOPER_ROLE, demo.READ_ONLY_ROLE, MIDDLE}


@pytest.mark.parametrize("role", ["far", "direct"])  # a second and a half each
def test_cloudformation_s_own_linter_finds_nothing_and_the_template_says_what_the_documents_say(
    config: Path, role: str
) -> None:
    text = good(config, role, "cloudformation")
    logging.getLogger("cfnlint").setLevel(logging.ERROR)
    # Errors and warnings; its third level is advice on documentation for machines.
    assert [str(match) for match in lint_all(text) if not match.rule.id.startswith("I")] == []
    resources = json.loads(text)["Resources"].values()
    roles = [one["Properties"] for one in resources if one["Type"] == "AWS::IAM::Role"]
    for made in roles:
        [needed] = [one for arn, one in FOUND.items() if arn.endswith(f"role{made['Path']}{made['RoleName']}")]
        assert made["AssumeRolePolicyDocument"] == needed.trust_policy()
        policies = [policy["PolicyDocument"] for policy in made.get("Policies", [])]
        assert policies == ([needed.permissions()] if needed.permissions() else [])
    assert len(roles) == len(json.loads(good(config, role, "json")))


def test_each_resource_is_made_in_its_own_account_only(config: Path) -> None:
    template = json.loads(good(config, "far", "cloudformation"))
    for name, resource in template["Resources"].items():
        condition = template["Conditions"][resource["Condition"]]
        assert condition == {"Fn::Equals": [{"Ref": "AWS::AccountId"}, name[-12:]]}


def canonical(document: Any) -> str:
    return json.dumps(document, sort_keys=True)


def encoded(expression: str) -> Any:
    """What stands in a jsonencode(), by the same parser."""
    inner = expression.removeprefix("jsonencode(").removesuffix(")")
    assert inner != expression
    return pygohcl.loads(f"value = {inner}")["value"]


@pytest.mark.parametrize("role", ROLES)
def test_hashicorp_s_own_parser_reads_the_terraform_and_finds_the_same_documents(config: Path, role: str) -> None:
    made = pygohcl.loads(good(config, role, "terraform"))["resource"]
    for resource in made["aws_iam_role"].values():
        [needed] = [one for arn, one in FOUND.items() if arn.endswith(f"role{resource['path']}{resource['name']}")]
        assert encoded(resource["assume_role_policy"]) == needed.trust_policy()
        assert resource["max_session_duration"] == needed.max_session_duration.total_seconds()
    kinds = {"aws_iam_role_policy": "role", "aws_iam_user_policy": "user"}
    policies: list[Any] = [encoded(one["policy"]) for kind in kinds for one in made.get(kind, {}).values()]
    wanted = [FOUND[one["principal"]].permissions() for one in _callers(config, role)]
    assert sorted(map(canonical, policies)) == sorted({canonical(one) for one in wanted})


def _callers(config: Path, role: str) -> list[dict[str, Any]]:
    return [one for hop in json.loads(good(config, role, "json")) for one in hop["caller_policies"]]


def test_where_nobody_says_who_the_broker_is_the_first_hop_trusts_its_account_and_a_note_says_so(config: Path) -> None:
    result = printed(config, "far", broker=None)
    assert result.exit_code == 0
    assert result.stderr.startswith("note: the first hop trusts its whole account")
    assert "— fix: add --broker-arn" in result.stderr
    hub, middle, _ = json.loads(result.stdout)
    assert hub["callers"] == ["arn:aws:iam::999900001111:root"]
    assert middle["callers"] == [demo.HUB_ROLE], "every later hop has its caller by name"
    exact = json.loads(good(config, "far", "json"))[0]["trust_policy"]
    assert json.loads(json.dumps(hub["trust_policy"]).replace("arn:aws:iam::999900001111:root", BROKER.text)) == exact


def test_its_permissions_are_then_a_policy_to_attach_to_it(config: Path) -> None:
    template = printed(config, "developer", "--format", "cloudformation", broker=None).stdout
    assert [str(match) for match in lint_all(template) if not match.rule.id.startswith("I")] == []
    found = json.loads(template)["Resources"].values()
    policies = [one["Properties"]["PolicyDocument"] for one in found if one["Type"] == "AWS::IAM::ManagedPolicy"]
    text = printed(config, "developer", "--format", "terraform", broker=None).stdout
    resources = pygohcl.loads(text)["resource"]["aws_iam_policy"].values()
    assert sorted(map(canonical, policies)) == sorted(canonical(encoded(one["policy"])) for one in resources)
    # One for each account in which a chain begins.
    named = [statement["Resource"] for policy in policies for statement in policy["Statement"]]
    assert {arn for resource in named for arn in resource} == {demo.HUB_ROLE, DIRECT}
    assert len(policies) == 2


@pytest.mark.parametrize(
    "broker", ["arn:aws:iam::999900001111:root", "*", "arn:aws:sts::999900001111:assumed-role/B/i"]
)
def test_an_account_a_pattern_or_a_session_is_no_broker(config: Path, broker: str) -> None:
    result = printed(config, "developer", broker=broker)
    assert result.exit_code == 2
    assert result.stderr.startswith("--broker-arn: ")
    assert " — fix: " in result.stderr


def test_a_broker_without_keys_is_known_by_its_issuer(config: Path, tmp_path: Path) -> None:
    settings = json.loads(config.read_text())
    aws = {key: settings["aws"][key] for key in ("region", "external_ids")}
    settings["aws"] = aws | {
        "credentials_provider": "web_identity",
        "web_identity_issuer": "https://broker.example.com",
    }
    chain = [{"arn": demo.HUB_ROLE}, {"arn": demo.DEVELOPER_ROLE, "derive_external_id": True}]
    settings["roles"] = {"developer": {"chain": chain}}
    keyless = tmp_path / "config.yaml"
    keyless.touch(mode=0o600)
    keyless.write_text(json.dumps(settings))
    for form in ("json", "terraform", "cloudformation"):
        result = printed(keyless, "developer", "--format", form, broker=None)
        assert (result.exit_code, result.stderr) == (0, "")
        assert '"Federated": "arn:aws:iam::999900001111:oidc-provider/broker.example.com"' in result.stdout
    assert printed(keyless, "developer").exit_code == 2, "a principal it does not have"


def test_a_hop_without_an_external_id_is_remarked_on_beside_the_documents(config: Path, tmp_path: Path) -> None:
    settings = json.loads(config.read_text())
    settings["roles"] = {"bare": {"chain": [{"arn": DIRECT}]}}
    bare = tmp_path / "config.yaml"
    bare.touch(mode=0o600)
    bare.write_text(json.dumps(settings))
    result = printed(bare, "bare")
    assert (result.exit_code, len(json.loads(result.stdout))) == (0, 1)
    assert result.stderr.startswith(f"note: no external ID for {DIRECT} — fix: ")


def test_a_role_that_does_not_exist_is_answered_with_the_one_that_was_meant(config: Path) -> None:
    result = printed(config, "developr")
    assert result.exit_code == 2
    assert 'write "developer"' in result.stderr


def test_a_broken_configuration_ends_with_78(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.touch(mode=0o600)
    assert printed(config, "developer").exit_code == 78


def test_what_terraform_would_read_as_a_template_is_doubled() -> None:
    arn = "arn:aws:iam::111122223333:role/${path.module}/%{if}/R"
    role = RoleArn.parse(arn)
    chain = (Hop(arn=role, external_id="ab"),)
    found = needed({RoleName("r"): Role(RoleName("r"), chain, timedelta(hours=1))}, first=lambda _: BROKER)
    made = pygohcl.loads(as_terraform(list(found.values())))["resource"]
    [resource] = made["aws_iam_role"].values()
    assert resource["path"] == "/${path.module}/%{if}/"


def test_names_that_differ_in_a_sign_make_resources_of_their_own() -> None:
    arns = [f"arn:aws:iam::111122223333:role/{name}" for name in ("a.b", "a+b", "a_b")]
    chain = tuple(Hop(arn=RoleArn.parse(arn), external_id="ab") for arn in arns)
    found = needed({RoleName("r"): Role(RoleName("r"), chain, timedelta(hours=1))}, first=lambda _: BROKER)
    made = pygohcl.loads(as_terraform(list(found.values())))["resource"]
    assert {one["name"] for one in made["aws_iam_role"].values()} == {"a.b", "a+b", "a_b"}
    template = json.loads(as_cloudformation(list(found.values())))
    assert {one["Properties"].get("RoleName") for one in template["Resources"].values()} == {None, "a.b", "a+b", "a_b"}
