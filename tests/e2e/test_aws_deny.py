"""Denied at AWS, from `zerotrust-admin` to the call that fails: the broker as a process, ministack as the judge of each call."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from broker import wire
from broker.revocation.deny import policy_name
from tests.fakes.broker import BrokerProcess, configuration
from tests.fakes.ministack import Keys, MiniStack
from tests.fakes.operator import Operator, send
from tests.fakes.realm import Realm
from tests.fakes.sts.demo import (
    ASSUME_ACTIONS,
    BROKER_USER,
    DEVELOPER_EXTERNAL_ID,
    DEVELOPER_ROLE,
    HUB_EXTERNAL_ID,
    HUB_ROLE,
    READ_ONLY_EXTERNAL_ID,
    READ_ONLY_ROLE,
    allow,
    trust,
)
from tests.fakes.until import eventually

ROOT, ALICE, MALLORY = "root/admin@EXAMPLE.COM", "alice@EXAMPLE.COM", "mallory@EXAMPLE.COM"
DENY_ROLE = "arn:aws:iam::111122223333:role/ZeroTrustRevocation"
DENY_EXTERNAL_ID = "deny-44d0"
# As docs/revocation.md prints it, but for roles: ministack knows them without their paths.
MAY_DENY = allow(["iam:GetRolePolicy", "iam:PutRolePolicy", "iam:DeleteRolePolicy"], "arn:aws:iam::111122223333:role/*")
REVOCATION = {
    "chain": [
        {"arn": HUB_ROLE, "external_id": HUB_EXTERNAL_ID},
        {"arn": DENY_ROLE.replace("111122223333", "{account}"), "external_id": DENY_EXTERNAL_ID},
    ]
}
LIST = allow(["iam:ListRoles"], "*")
OURS = policy_name(ALICE)


@dataclass
class House:
    aws: MiniStack
    broker: BrokerProcess
    root: Operator
    users: dict[str, Operator]

    def admin(self, *words: str, status: int = 0) -> str:
        result = self.root.admin(*words)
        assert result.returncode == status, result.stdout + result.stderr
        return result.stdout + result.stderr

    def credentials(self, who: str, role: str = "developer") -> Keys:
        body = json.dumps({"role": role}).encode()
        answer = self.users[who].ask(self.broker.url, "POST", wire.CREDENTIALS_PATH, body)
        assert answer.status == 200, answer.body
        return Keys.of(answer.json)

    def get(self, path: str) -> str:
        host = ("Host", self.broker.url.partition("//")[2])
        return send(self.broker.url, "GET", path, [host]).body.decode()

    def denied_at(self) -> list[str]:
        return [arn for arn in (DEVELOPER_ROLE, READ_ONLY_ROLE) if OURS in self.aws.inline(arn)]

    def records(self, event: str) -> list[dict[str, Any]]:
        return [record for record in self.broker.records() if record["event"] == event]


def world(aws: MiniStack) -> Keys:
    """The demo's, with one more role, and something to do for whoever has one."""
    base = aws.user(BROKER_USER, allow(ASSUME_ACTIONS, HUB_ROLE))
    onwards = allow(ASSUME_ACTIONS, DEVELOPER_ROLE, READ_ONLY_ROLE, DENY_ROLE)
    aws.role(HUB_ROLE, trust=trust(BROKER_USER, external_id=HUB_EXTERNAL_ID), policy=onwards)
    aws.role(DEVELOPER_ROLE, trust=trust(HUB_ROLE, external_id=DEVELOPER_EXTERNAL_ID), policy=LIST)
    aws.role(READ_ONLY_ROLE, trust=trust(HUB_ROLE, external_id=READ_ONLY_EXTERNAL_ID), policy=LIST)
    aws.role(DENY_ROLE, trust=trust(HUB_ROLE, external_id=DENY_EXTERNAL_ID), policy=MAY_DENY)
    return base


@pytest.fixture(scope="module")
def house(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("f")
    with MiniStack(folder) as aws:
        base = world(aws)
        env = {**realm.env, "AWS_ACCESS_KEY_ID": base.key_id, "ZEROTRUST_AWS_SECRET_KEY": base.secret}
        settings = configuration(
            folder,
            keytab=realm.keytab(folder / "http.keytab", "HTTP/localhost"),
            sts_endpoint=aws.url,
            aws={
                "region": "eu-central-1",
                "sts_endpoint": aws.url,
                "iam_endpoint": aws.url,
                "revocation": REVOCATION,
            },
            rules=[{"name": "all", "principals": [ALICE, MALLORY], "roles": ["developer", "readonly"]}],
            admin={"socket": str(folder / "s"), "principals": [ROOT]},
        )
        with BrokerProcess(folder, settings, env=env) as broker:
            root = Operator(realm, "root/admin", folder / "root")
            root.env |= {"ZEROTRUST_ADMIN_SOCKET": str(folder / "s"), "ZEROTRUST_HOST": "localhost"}
            users = {name: Operator(realm, name, folder / name) for name in ("alice", "mallory")}
            yield House(aws, broker, root, users)


def test_sessions_of_before_are_denied_and_nobody_elses_and_none_of_after(house: House) -> None:
    """The story of an incident, as one: each step begins where the one before ended."""
    before = [house.credentials("alice"), house.credentials("alice", "readonly")]
    others = [house.credentials("mallory"), house.credentials("mallory", "readonly")]
    assert all(map(house.aws.may, before + others))

    said = house.admin("revoke-credentials", "--user", ALICE, "--aws", "--dry-run")
    assert f"{DEVELOPER_ROLE} (developer): would be denied" in said
    assert f"{READ_ONLY_ROLE} (readonly): would be denied" in said
    assert house.denied_at() == []
    assert all(map(house.aws.may, before))

    said = house.admin("revoke-credentials", "--user", ALICE, "--aws")
    assert f"{DEVELOPER_ROLE} (developer): denied from now on" in said
    assert f"{READ_ONLY_ROLE} (readonly): denied from now on" in said
    assert "within minutes" in said
    assert [house.aws.may(keys) for keys in before] == [False, False]
    assert [house.aws.may(keys) for keys in others] == [True, True]
    assert all(map(house.aws.may, [house.credentials("mallory")]))
    assert {name for arn in house.denied_at() for name in house.aws.inline(arn)} == {"own", OURS}
    assert "broker_aws_denies 2.0" in house.get("/metrics")
    assert json.loads(house.get("/readyz"))["dependencies"]["aws_denies"] == {"status": "ok"}
    listed = house.admin("revocations")
    assert f"aws_denied  {ALICE}  {DEVELOPER_ROLE}  by {ROOT} until " in listed
    kept = {record["resource"]: record for record in house.records("aws_denied")}
    assert set(kept) == {DEVELOPER_ROLE, READ_ONLY_ROLE}
    assert kept[DEVELOPER_ROLE]["about"] == ALICE
    assert kept[DEVELOPER_ROLE]["by"] == ROOT
    assert kept[DEVELOPER_ROLE]["denied_before"]

    time.sleep(1.1)  # the next whole second, in which AWS's time of issue tells before from after
    said = house.admin("restore", "--user", ALICE)
    assert "stay denied until they have expired" in said
    after = house.credentials("alice")
    assert house.aws.may(after)
    assert [house.aws.may(keys) for keys in before] == [False, False], "whoever stole one has it still"

    said = house.admin("restore", "--user", ALICE, "--aws")
    assert "work again, whoever has them" in said
    assert house.denied_at() == []
    assert all(map(house.aws.may, [*before, after, *others]))
    assert {record["resource"] for record in house.records("aws_deny_removed")} == {DEVELOPER_ROLE, READ_ONLY_ROLE}


def test_one_role_denies_and_the_other_does_not(house: House) -> None:
    mine, other = house.credentials("alice"), house.credentials("alice", "readonly")
    said = house.admin("revoke-credentials", "--user", ALICE, "--role", "developer", "--aws")
    assert READ_ONLY_ROLE not in said
    assert "AWS sessions of other roles go on" in said
    assert (house.aws.may(mine), house.aws.may(other)) == (False, True)
    house.admin("restore", "--user", ALICE, "--aws")


def test_an_operator_learns_of_the_command_where_aws_sessions_run_on(house: House) -> None:
    said = house.admin("revoke-sessions", "--user", MALLORY)
    assert f"`zerotrust-admin revoke-credentials --user {MALLORY} --aws` denies them" in said
    assert house.denied_at() == []


def test_a_policy_of_our_name_that_is_not_ours_is_left_alone_and_named(house: House) -> None:
    mine = house.credentials("mallory")
    iam, name = house.aws.root("111122223333"), policy_name(MALLORY)
    iam.put_role_policy(RoleName="Developer", PolicyName=name, PolicyDocument=json.dumps(LIST))
    said = house.admin("revoke-credentials", "--user", MALLORY, "--role", "developer", "--aws", "--dry-run", status=1)
    assert "could not be denied now: a policy of our name that is not ours" in said
    said = house.admin("revoke-credentials", "--user", MALLORY, "--role", "developer", "--aws", status=1)
    assert "not denied yet, tried again: a policy of our name that is not ours" in said
    assert "[aws_unfinished]" in said
    assert house.aws.may(mine)
    house.admin("restore", "--user", MALLORY, "--aws")
    assert house.aws.inline(DEVELOPER_ROLE)[name] == LIST
    iam.delete_role_policy(RoleName="Developer", PolicyName=name)


def test_killed_in_the_middle_it_goes_on_where_it_was(house: House) -> None:
    """IAM lets nobody in while the operator asks, and does when the broker is back: nothing has to be asked for again."""
    mine = house.credentials("alice")
    iam = house.aws.root("111122223333")
    iam.put_role_policy(RoleName="ZeroTrustRevocation", PolicyName="own", PolicyDocument=json.dumps(LIST))
    said = house.admin("revoke-credentials", "--user", ALICE, "--aws", status=1)
    assert "IAM does not let the broker" in said
    assert house.aws.may(mine)
    failed = house.records("aws_deny_failed")
    assert {record["reason"] for record in failed[-2:]} == {"access_denied"}
    house.broker.kill()
    iam.put_role_policy(RoleName="ZeroTrustRevocation", PolicyName="own", PolicyDocument=json.dumps(MAY_DENY))
    house.broker.start()
    eventually(lambda: not house.aws.may(mine))
    house.broker.kill()
    house.broker.start()
    assert not house.aws.may(mine)
    house.admin("restore", "--user", ALICE, "--aws")
    assert house.aws.may(mine)
    assert house.broker.admin("audit", "verify").returncode == 0


def test_without_the_section_nothing_is_done_and_the_setting_is_named(
    house: House, realm: Realm, tmp_path: Path
) -> None:
    settings = json.loads(house.broker.config.read_text())
    del settings["aws"]["revocation"]
    settings |= {
        "audit": {"directory": str(tmp_path / "audit")},
        "admin": {"socket": str(tmp_path / "s"), "principals": [ROOT]},
    }
    with BrokerProcess(tmp_path, settings, env=realm.env) as broker:
        env = {"ZEROTRUST_ADMIN_SOCKET": str(tmp_path / "s")}
        result = house.root.admin("revoke-credentials", "--user", ALICE, "--aws", **env)
        assert result.returncode == 2
        assert "set aws.revocation" in result.stderr
        assert "nothing was done" in result.stderr
        assert "held" not in house.root.admin("revocations", **env).stdout
        assert broker.records()[-2]["reason"] == "aws_revocation_not_configured"
