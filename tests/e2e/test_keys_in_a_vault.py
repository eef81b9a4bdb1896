"""``aws.credentials_provider: secret``: the first hop is signed with keys out of a real vault, and follows their rotation."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from broker import wire
from tests.e2e.conftest import settings_of
from tests.fakes.bao import MOUNT, BaoServer
from tests.fakes.broker import BrokerProcess
from tests.fakes.operator import Operator
from tests.fakes.realm import Realm
from tests.fakes.sts import StrictSts, demo_world
from tests.fakes.sts.demo import BROKER_ACCESS_KEY_ID, BROKER_SECRET_ACCESS_KEY, DEVELOPER_EXTERNAL_ID, DEVELOPER_ROLE

PATH = "zerotrust/aws"


@dataclass
class House:
    """A broker before a vault."""

    broker: BrokerProcess
    bao: BaoServer
    alice: Operator

    def put(self, key_id: str, key: str) -> None:
        fields = {"access_key_id": key_id, "secret_access_key": key}
        self.bao.api("POST", f"{MOUNT}/data/{PATH}", {"data": fields})

    def ask(self) -> tuple[int, Any]:
        answer = self.alice.ask(self.broker.url, "POST", wire.CREDENTIALS_PATH, b'{"role":"developer"}')
        return answer.status, answer.json.get("code")


@pytest.fixture
def house(realm: Realm, tmp_path: Path) -> Iterator[House]:
    with BaoServer.start(tmp_path / "bao") as bao, StrictSts(demo_world()) as sts:
        bao.policy("broker", f'path "{MOUNT}/data/zerotrust/*" {{ capabilities = ["read"] }}')
        login = bao.approle("broker", "broker")
        config = {"url": bao.url, "ca_file": str(bao.ca_file), "auth_method": "approle", "mount_path": MOUNT}
        settings = settings_of(
            tmp_path,
            realm,
            sts,
            secrets={
                "provider": "hashicorp",
                "config": {**config, "role_id": login.role_id, "secret_id": login.secret_id},
                "cache_ttl": "1h",
            },
        )
        settings["aws"] |= {"credentials_provider": "secret", "credentials_secret": PATH}
        broker = BrokerProcess(tmp_path, settings, env={**realm.env})
        for name in ("AWS_ACCESS_KEY_ID", "ZEROTRUST_AWS_SECRET_KEY"):
            del broker._env[name]
        with broker:
            yield House(broker, bao, Operator(realm, "alice", tmp_path / "alice"))


def test_keys_that_were_rotated_in_the_vault_are_taken_over_as_soon_as_aws_refuses_the_old_ones(house: House) -> None:
    assert house.ask() == (503, "sts_unavailable"), "there are none"
    house.put(BROKER_ACCESS_KEY_ID, "MadeUp/OfYesterday+NotAnAwsKey0000000000")
    assert house.ask() == (502, "sts_rejected")
    reasons = [record["reason"] for record in house.broker.records() if record["event"] == "refused"]
    assert reasons == ["no_base_credentials", "base_credentials_refused"]
    house.put(BROKER_ACCESS_KEY_ID, BROKER_SECRET_ACCESS_KEY)
    assert house.ask() == (200, None), "within cache_ttl, and without a restart"
    house.bao.seal()
    assert house.ask() == (200, None)
    text = house.broker.output.read_text()
    assert "MadeUp" not in text


def test_doctor_asks_aws_with_the_keys_of_the_vault(house: House) -> None:
    house.put(BROKER_ACCESS_KEY_ID, BROKER_SECRET_ACCESS_KEY)
    done: subprocess.CompletedProcess[str] = house.broker.admin("doctor", "--probe")
    # The first hop lets in whom the vault's keys make the broker.
    assert "ok arn:aws:iam::999900001111:role/BrokerHub: lets the broker in" in done.stdout, done.stderr


def test_a_reload_reads_references_anew(house: House) -> None:
    house.put(BROKER_ACCESS_KEY_ID, BROKER_SECRET_ACCESS_KEY)
    house.bao.api("POST", f"{MOUNT}/data/zerotrust/hops", {"data": {"developer": "not-the-external-id"}})
    settings = json.loads(house.broker.config.read_text())
    settings["roles"]["developer"]["chain"][1] = {
        "arn": DEVELOPER_ROLE,
        "external_id_secret": "zerotrust/hops#developer",
    }
    house.broker.config.write_text(json.dumps(settings))
    assert reloaded(house.broker) == "config_reloaded"
    assert house.ask() == (502, "sts_rejected"), "AWS refuses the external ID"
    house.bao.api("POST", f"{MOUNT}/data/zerotrust/hops", {"data": {"developer": DEVELOPER_EXTERNAL_ID}})
    assert reloaded(house.broker) == "config_reloaded"
    house.bao.api("DELETE", f"{MOUNT}/metadata/zerotrust/hops")
    assert reloaded(house.broker) == "config_refused"
    assert house.ask() == (200, None), "and what is refused leaves the old in force"
    assert (
        "roles.developer.chain[1].external_id: stands in a secret that is not there" in house.broker.output.read_text()
    )


def reloaded(broker: BrokerProcess) -> str:
    before = sum(record["action"] == "reload" for record in broker.records())
    broker.reload()
    for _ in range(600):
        found = [record["event"] for record in broker.records() if record["action"] == "reload"]
        if len(found) > before:
            return str(found[-1])
        time.sleep(0.05)
    raise AssertionError("no reload was recorded")
