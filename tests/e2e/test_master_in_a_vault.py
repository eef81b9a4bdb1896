"""A broker whose master key is a vault's: its log is verified by whoever has its configuration, and says what is wrong once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from broker import wire_secrets
from tests.fakes.bao import MOUNT, BaoServer
from tests.fakes.broker import BrokerProcess, configuration
from tests.fakes.operator import Operator
from tests.fakes.realm import Realm

KEY = "zerotrust-master"
POLICY = f"""
path "{MOUNT}/data/*" {{ capabilities = ["read"] }}
path "transit/encrypt/{KEY}" {{ capabilities = ["update"] }}
path "transit/decrypt/{KEY}" {{ capabilities = ["update"] }}
path "transit/keys/{KEY}" {{ capabilities = ["read"] }}
"""


@dataclass
class House:
    broker: BrokerProcess
    bao: BaoServer
    alice: Operator


@pytest.fixture
def house(realm: Realm, tmp_path: Path) -> Iterator[House]:
    (tmp_path / "state").mkdir(mode=0o700)
    with BaoServer.start(tmp_path / "bao") as bao:
        bao.mount("transit", "transit")
        bao.api("POST", f"transit/keys/{KEY}", {})
        bao.policy("broker", POLICY)
        role = bao.approle("broker", "broker")
        login = {"role_id": role.role_id, "secret_id": role.secret_id, "auth_method": "approle"}
        place = {"url": bao.url, "ca_file": str(bao.ca_file), **login}
        rules = [{"name": "all", "paths": ["team/**"], "principals": ["alice@EXAMPLE.COM"], "actions": ["read"]}]
        settings = configuration(
            tmp_path,
            keytab=realm.keytab(tmp_path / "http.keytab", "HTTP/localhost"),
            sts_endpoint="http://127.0.0.1:1",
            state={"directory": str(tmp_path / "state")},
            secrets={"provider": "hashicorp", "config": {**place, "mount_path": MOUNT}, "rules": rules},
            encryption={"master": {"provider": "vault-transit", "config": {**place, "key_name": KEY}}},
        )
        broker = BrokerProcess(tmp_path, settings, env=realm.env)
        yield House(broker, bao, Operator(realm, "alice", tmp_path / "alice"))
        broker.kill()


def test_the_log_is_verified_with_the_configuration_alone_and_without_the_vault_the_line_names_it(
    house: House, tmp_path: Path
) -> None:
    house.broker.start()
    assert house.broker.stop() == 0
    report = ("compliance-report", "--standard", "soc2", "--output", str(tmp_path / "report.json"))
    for command in (("audit", "verify"), report):
        done = house.broker.admin(*command)
        assert done.returncode == 0, done.stderr
    house.bao.stop()
    away = house.broker.admin("audit", "verify")
    assert away.returncode != 0
    assert away.stderr.endswith(f"encryption: the master key: no connection to {house.bao.url} — fix: bring it back\n")


def test_a_vault_that_stands_still_is_a_line_in_the_log_and_not_one_for_each_try(house: House) -> None:
    house.broker.start()
    house.bao.freeze()
    answer = house.alice.ask(house.broker.url, "GET", f"{wire_secrets.PREFIX}team/db")
    assert answer.code == "secrets_unavailable"
    assert "stamina" not in house.broker.output.read_text()
    house.bao.thaw()
