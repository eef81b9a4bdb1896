"""`zerotrust-admin doctor` against IAM of three accounts: each way in which a live role can be wrong is one line with its fix."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from broker.admin.cli import main
from broker.trust.iam import Account
from broker.trust.live import Unreadable
from tests.fakes.iam import IamServer
from tests.fakes.sts import StrictSts, demo, demo_world
from tests.fakes.trust import BROKER, DIRECT, MIDDLE, applied, configuration, documents

FOUND = documents()
ACCOUNTS = ["999900001111", "111122223333", "444455556666"]
ALL = [BROKER.text, *(arn for arn in FOUND if arn != BROKER.text)]


@dataclass
class Clinic:
    """IAM with everything as it was printed, until a test bends it; and the program."""

    iam: IamServer
    config: Path

    def heal(self) -> None:
        self.iam.user(BROKER.text)
        for arn, one in applied(FOUND).items():
            if one["trust"]:
                self.trust(arn, one["trust"])
            if one["permissions"]:
                self.iam.permissions(arn, one["permissions"])

    def trust(self, arn: str, document: dict[str, Any], *, seconds: int | None = None) -> None:
        wanted = int(FOUND[arn].max_session_duration.total_seconds())
        self.iam.role(arn, trust=document, seconds=seconds or wanted)

    def doctor(self, *options: str, accounts: list[str] = ACCOUNTS) -> Result:
        profiles = [word for account in accounts for word in ("--profile", self.iam.profile(account))]
        arguments = ["--config", str(self.config), "--endpoint-url", self.iam.url, "--broker-arn", BROKER.text]
        return CliRunner().invoke(main, ["doctor", *arguments, *profiles, *options])

    def findings(self, *, accounts: list[str] = ACCOUNTS) -> dict[tuple[str, str], list[str]]:
        """What is said of each ARN, by level."""
        found: dict[tuple[str, str], list[str]] = {}
        for one in json.loads(self.doctor("--json", accounts=accounts).stdout):
            found.setdefault((one["level"], one["arn"]), []).append(one["what"])
        return found


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clinic]:
    folder = tmp_path_factory.mktemp("doctor")
    with IamServer(folder) as iam:
        for account in ACCOUNTS:
            iam.profile(account)
        made = Clinic(iam, configuration(folder))
        made.heal()
        yield made


@pytest.fixture
def clinic(running: Clinic, monkeypatch: pytest.MonkeyPatch) -> Clinic:
    """A test that bends something heals it."""
    monkeypatch.setenv("AWS_CONFIG_FILE", str(running.iam.config))
    return running


def test_roles_made_of_the_printed_documents_are_all_well(clinic: Clinic) -> None:
    result = clinic.doctor()
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert sorted(line.split(": ")[0] for line in lines) == sorted(f"ok {arn}" for arn in ALL)


def test_each_kind_of_broken_role_is_one_line_with_its_fix_and_no_external_id(clinic: Clinic) -> None:
    target, middle = clinic.iam.iam("111122223333"), clinic.iam.iam("444455556666")
    target.delete_role(RoleName="Developer")
    target.delete_role(RoleName="ReadOnly")
    moved = demo.READ_ONLY_ROLE.replace("/team/", "/")
    clinic.iam.role(moved, trust=FOUND[demo.READ_ONLY_ROLE].trust_policy())
    canary = deepcopy(FOUND[DIRECT].trust_policy())
    canary["Statement"][0]["Condition"]["StringEquals"]["sts:ExternalId"] = "zerotrust-v3-canary"
    clinic.trust(DIRECT, canary, seconds=3600)
    open_to_all = deepcopy(FOUND[MIDDLE].trust_policy())
    del open_to_all["Statement"][0]["Condition"]
    clinic.trust(MIDDLE, open_to_all)
    nothing = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
    boundary = middle.create_policy(PolicyName="boundary", PolicyDocument=json.dumps(nothing))["Policy"]["Arn"]
    middle.put_role_permissions_boundary(RoleName="Middle", PermissionsBoundary=boundary)
    try:
        result, found = clinic.doctor(), clinic.findings()
    finally:
        target.delete_role(RoleName="ReadOnly")
        middle.delete_role_permissions_boundary(RoleName="Middle")
        clinic.heal()
    assert found["bad", demo.DEVELOPER_ROLE] == ["is not in account 111122223333"]
    assert found["bad", demo.READ_ONLY_ROLE] == [f"is {moved} in AWS"]
    direct, way = " / ".join(found["bad", DIRECT]), " / ".join(found["bad", MIDDLE])
    assert "does not let" in direct
    assert "MaxSessionDuration is 1:00:00" in direct
    assert "ALARM" in way
    assert "without any external ID" in way
    assert "no permission" in way
    assert ("ok", demo.HUB_ROLE) in found
    assert result.exit_code == 1
    bad = [line for line in result.stdout.splitlines() if line.startswith("bad ")]
    assert all(" — fix: " in line for line in bad)
    assert "zerotrust-v" not in result.output


def test_attached_policies_and_those_of_a_user_s_groups_are_read(clinic: Clinic) -> None:
    hub, user = clinic.iam.iam("999900001111"), "broker"
    account = Account(profile=clinic.iam.profile("999900001111"), endpoint=clinic.iam.url)
    permissions = FOUND[BROKER.text].permissions()
    assert account.look_at(BROKER).policies == (permissions,)
    hub.delete_user_policy(UserName=user, PolicyName="next")
    assert account.look_at(BROKER).policies == ()
    hub.create_group(GroupName="brokers")
    hub.put_group_policy(GroupName="brokers", PolicyName="next", PolicyDocument=json.dumps(permissions))
    hub.add_user_to_group(GroupName="brokers", UserName=user)
    arn = hub.create_policy(PolicyName="next", PolicyDocument=json.dumps(permissions))["Policy"]["Arn"]
    hub.attach_user_policy(UserName=user, PolicyArn=arn)
    assert account.look_at(BROKER).policies == (permissions, permissions)
    hub.detach_user_policy(UserName=user, PolicyArn=arn)
    hub.delete_group_policy(GroupName="brokers", PolicyName="next")
    clinic.heal()


def test_what_the_credentials_cannot_see_is_never_called_good(clinic: Clinic) -> None:
    found = clinic.findings(accounts=["999900001111"])
    levels = {arn: level for level, arn in found}
    assert {arn for arn, level in levels.items() if level == "unseen"} == {
        arn for arn in ALL if "999900001111" not in arn
    }
    assert levels[BROKER.text] == levels[demo.HUB_ROLE] == "ok"
    assert clinic.doctor(accounts=["999900001111"]).exit_code == 0


def test_where_nothing_at_all_can_be_seen_the_doctor_is_not_content(clinic: Clinic) -> None:
    result = clinic.doctor(accounts=["555566667777"])
    assert {line.split()[0] for line in result.stdout.splitlines()} == {"unseen"}
    assert result.exit_code == 1


def as_a_program(clinic: Clinic, sts_endpoint: str) -> subprocess.CompletedProcess[str]:
    """Without being told who the broker is."""
    profiles = [word for account in ACCOUNTS for word in ("--profile", clinic.iam.profile(account))]
    command = [Path(sys.executable).parent / "zerotrust-admin", "doctor", "--config", clinic.config, *profiles]
    env = {"AWS_CONFIG_FILE": str(clinic.iam.config), "ZEROTRUST_AWS_STS_ENDPOINT": sts_endpoint}
    return subprocess.run(
        [*command, "--endpoint-url", clinic.iam.url],
        env={"PATH": "/usr/bin:/bin", "AWS_EC2_METADATA_DISABLED": "true", **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_who_the_broker_is_is_asked_of_aws_with_its_own_credentials_where_nobody_says(clinic: Clinic) -> None:
    with StrictSts(demo_world()) as sts:
        result = as_a_program(clinic, sts.url)
        assert [call["caller_arn"] for call in sts.calls(action="GetCallerIdentity")] == [BROKER.text]
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == clinic.doctor().stdout


def test_where_aws_does_not_say_either_it_has_to_be_told(clinic: Clinic) -> None:
    result = as_a_program(clinic, "http://127.0.0.1:1")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "who the broker is to AWS is not known (sts_unreachable) — fix: add --broker-arn\n"


@pytest.mark.parametrize("url", ["http://iam.example.com", "ftp://127.0.0.1", "127.0.0.1:80"])
def test_credentials_go_to_https_or_loopback_only(clinic: Clinic, url: str) -> None:
    result = CliRunner().invoke(
        main, ["doctor", "--config", str(clinic.config), "--broker-arn", BROKER.text, "--endpoint-url", url]
    )
    assert result.exit_code == 2
    assert result.stderr.startswith("--endpoint-url ")
    assert " — fix: " in result.stderr


def test_no_variable_of_the_sdk_puts_somebody_else_in_aws_s_place(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who answers says that all is well. AWS itself is behind a proxy that is not there."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", clinic.iam.url)
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    profile = clinic.iam.profile("999900001111")
    with pytest.raises(Unreadable, match="proxy"):
        Account(profile=profile, endpoint=None)
    assert Account(profile=profile, endpoint=clinic.iam.url).number == "999900001111"


def test_credentials_that_are_not_there_end_with_a_fix(clinic: Clinic) -> None:
    result = clinic.doctor("--profile", "nobody", accounts=[])
    assert (result.exit_code, result.stdout) == (1, "")
    assert "profile nobody" in result.stderr
    assert " — fix: " in result.stderr
