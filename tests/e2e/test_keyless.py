"""The broker without any AWS key: AWS fetches its documents and believes its tokens."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import House, settings_of
from tests.fakes.broker import PROGRAMS, BrokerProcess
from tests.fakes.realm import Realm, free_port
from tests.fakes.sts import StrictSts
from tests.fakes.sts.demo import (
    ASSUME_ACTIONS,
    DEVELOPER_EXTERNAL_ID,
    DEVELOPER_ROLE,
    HUB_ROLE,
    allow,
    trust,
)
from tests.fakes.sts.world import OidcProvider, Role, World

ISSUER = "https://broker.example.com"
PROVIDER = "arn:aws:iam::999900001111:oidc-provider/broker.example.com"
BY_TOKEN = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Federated": PROVIDER},
            "Action": ["sts:AssumeRoleWithWebIdentity", "sts:SetSourceIdentity", "sts:TagSession"],
            "Condition": {
                "StringEquals": {"broker.example.com:aud": "sts.amazonaws.com"},
                "StringLike": {"broker.example.com:sub": "*@EXAMPLE.COM"},
            },
        }
    ],
}

Tickets = dict[str, str]


def world(documents_at: str) -> World:
    """A hub that trusts tokens of the broker, a role behind it that wants an external ID, and nobody with a key."""
    return World(
        users=(),
        roles=(
            Role(arn=HUB_ROLE, trust_policy=BY_TOKEN, policy=allow(ASSUME_ACTIONS, DEVELOPER_ROLE)),
            Role(arn=DEVELOPER_ROLE, trust_policy=trust(HUB_ROLE, external_id=DEVELOPER_EXTERNAL_ID)),
        ),
        providers=(
            OidcProvider(arn=PROVIDER, url=ISSUER, client_ids=("sts.amazonaws.com",), documents_at=documents_at),
        ),
    )


def settings(folder: Path, realm: Realm, sts: StrictSts, port: int) -> dict[str, Any]:
    made = settings_of(folder, realm, sts)
    made["server"]["listen"] = [f"http://127.0.0.1:{port}"]
    made["aws"] |= {"credentials_provider": "web_identity", "web_identity_issuer": ISSUER}
    hops = [{"arn": HUB_ROLE}, {"arn": DEVELOPER_ROLE, "external_id": DEVELOPER_EXTERNAL_ID}]
    made["roles"] = {"developer": {"chain": hops, "tags": {"Realm": "{realm}"}, "transitive_tags": ["Realm"]}}
    made["rules"] = [{"name": "everybody", "principals": ["*@EXAMPLE.COM"], "roles": ["developer"]}]
    return made


def without_keys(broker: BrokerProcess) -> BrokerProcess:
    for name in ("AWS_ACCESS_KEY_ID", "ZEROTRUST_AWS_SECRET_KEY"):
        del broker._env[name]
    return broker


@pytest.fixture(scope="module")
def keyless(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder, port = tmp_path_factory.mktemp("keyless"), free_port()
    with (
        StrictSts(world(f"http://localhost:{port}")) as sts,
        without_keys(BrokerProcess(folder, settings(folder, realm, sts, port), env=realm.env)) as broker,
    ):
        yield House(broker, realm, sts)


@pytest.fixture
def house(keyless: House) -> House:
    keyless.sts.clear()
    return keyless


def test_a_ticket_becomes_credentials_though_nobody_has_a_key(house: House, alice: Tickets) -> None:
    reply = house.ask(house.realm.client_token(alice))
    assert (reply.status, reply.json["RoleArn"]) == (200, DEVELOPER_ROLE)
    by_token, chained = house.sts.calls()
    assert (by_token["action"], by_token["caller_arn"]) == ("AssumeRoleWithWebIdentity", PROVIDER)
    assert (by_token["source_identity"], by_token["tags"]) == ("alice@EXAMPLE.COM", {"Realm": "EXAMPLE.COM"})
    assert (chained["action"], chained["external_id_valid"]) == ("AssumeRole", True)
    assert chained["caller_arn"].endswith(":assumed-role/BrokerHub/alice@EXAMPLE.COM")


def test_the_token_is_in_no_record_and_no_log(house: House) -> None:
    for path in (house.broker.output, *house.broker.audit_directory.iterdir()):
        assert b"eyJhbGciOiJFUzI1NiI" not in path.read_bytes()


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        ("other_source_identity", (502, "sts_rejected", "other_source_identity")),
        ("missing_token", (502, "sts_rejected", "malformed_answer")),
        ("other_role", (502, "sts_rejected", "other_role")),
        ("html", (502, "sts_rejected", "malformed_answer")),
        ("throttle", (503, "sts_unavailable", "sts_throttled")),
        ("hang", (504, "sts_timeout", "sts_timeout")),
    ],
)
def test_what_goes_wrong_at_the_token_s_hop_has_its_code(
    house: House, mallory: Tickets, fault: str, outcome: tuple[int, str, str]
) -> None:
    house.sts.fault(fault, action="AssumeRoleWithWebIdentity")
    reply = house.ask(house.realm.client_token(mallory))
    assert (reply.status, reply.code, house.last_reason()) == outcome


def test_documents_that_aws_cannot_fetch_are_a_503_that_says_so(realm: Realm, alice: Tickets, tmp_path: Path) -> None:
    with (
        StrictSts(world(f"http://localhost:{free_port()}")) as sts,
        without_keys(BrokerProcess(tmp_path, settings(tmp_path, realm, sts, 0), env=realm.env)) as broker,
    ):
        house = House(broker, realm, sts)
        reply = house.ask(realm.client_token(alice))
        assert (reply.status, reply.code, house.last_reason()) == (503, "sts_unavailable", "issuer_unreachable")


def test_the_first_hop_with_an_external_id_does_not_start(realm: Realm, sts: StrictSts, tmp_path: Path) -> None:
    made = settings(tmp_path, realm, sts, 0)
    made["roles"]["developer"]["chain"][0]["external_id"] = "hub-7f3a"
    broker = without_keys(BrokerProcess(tmp_path, made, env=realm.env))
    checked = subprocess.run(
        [PROGRAMS / "zerotrust-broker", "check-config", "--config", broker.config],
        env=broker._env,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert checked.returncode == 78
    assert "roles.developer.chain: has an external ID at its first hop" in checked.stderr
    assert "hub-7f3a" not in checked.stderr
