"""A real broker before AWS Secrets Manager and before Azure Key Vault, configured as the guide prints it: secrets by ticket."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest

from broker import wire_secrets
from tests.fakes import azure
from tests.fakes.aws import REGION, AwsCloud
from tests.fakes.azure import AzureCloud
from tests.fakes.broker import BrokerProcess, configuration
from tests.fakes.operator import Answer, Operator, last
from tests.fakes.realm import Realm
from tests.fakes.sts import demo
from tests.fakes.until import eventually

ALICE = "alice@EXAMPLE.COM"
RULES = [
    {
        "name": "team",
        "paths": ["door/**"],
        "principals": [ALICE],
        "actions": ["list", "read", "write", "delete", "destroy"],
    }
]
CANARY = "canary-7a11"


class Door:
    def __init__(self, broker: BrokerProcess, alice: Operator) -> None:
        self.broker, self._alice = broker, alice

    def get(self, path: str) -> Answer:
        return self._alice.ask(self.broker.url, "GET", f"{wire_secrets.PREFIX}{path}")

    def put(self, path: str, value: str, **members: Any) -> Answer:
        body = json.dumps({"fields": {"value": value}} | members).encode()
        return self._alice.ask(self.broker.url, "PUT", f"{wire_secrets.PREFIX}{path}", body)

    def readiness(self) -> dict[str, str]:
        found: dict[str, str] = self._alice.ask(self.broker.url, "GET", "/readyz").json["dependencies"]["secrets"]
        return found


def started(folder: Path, realm: Realm, section: dict[str, Any], **env: str) -> BrokerProcess:
    settings = configuration(
        folder,
        keytab=realm.keytab(folder / "http.keytab", "HTTP/localhost"),
        sts_endpoint="http://127.0.0.1:1",
        secrets=section | {"cache_ttl": "1s", "rules": RULES},
    )
    return BrokerProcess(folder, settings, env=realm.env | env)


@pytest.fixture
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AwsCloud]:
    with AwsCloud(tmp_path_factory.mktemp("aws")) as running:
        running.keys = {demo.BROKER_ACCESS_KEY_ID: demo.BROKER_SECRET_ACCESS_KEY}
        running.key("alias/zerotrust-secrets")
        yield running


@pytest.fixture
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AzureCloud]:
    with AzureCloud(tmp_path_factory.mktemp("azure"), vault=f"zerotrust-{token_hex(4)}") as running:
        yield running


def passes(door: Door) -> None:
    written = door.put("door/db", CANARY)
    assert written.status == 200, (written.body, door.broker.output.read_text())
    assert door.get("door/db").json["fields"] == {"value": CANARY}
    assert last(door.broker)["success"] is True
    assert door.get("door/none").code == "secret_not_found"
    assert door.get("elsewhere").code == "access_denied"
    assert door.put("door/db", "x", cas=7).code == "secrets_rejected"
    assert last(door.broker)["reason"].endswith("cas_unsupported")
    assert door.readiness() == {"status": "ok"}
    assert CANARY not in door.broker.output.read_text()


def test_secrets_pass_the_door_into_aws_and_back(aws: AwsCloud, realm: Realm, tmp_path: Path) -> None:
    place = {"region": REGION, "kms_key_id": "alias/zerotrust-secrets", "endpoint": aws.url}
    with started(tmp_path, realm, {"provider": "aws", "config": place}) as broker:
        door = Door(broker, Operator(realm, "alice", tmp_path / "ccache"))
        passes(door)
        assert aws.behind("secretsmanager").get_secret_value(SecretId="door/db")["SecretString"] == CANARY
        aws.fail("error500")
        assert door.put("door/db", "x").status == 503
        eventually(lambda: door.readiness()["status"] == "degraded")
        aws.recover()
        assert door.put("door/db", "x").status == 200


def test_secrets_pass_the_door_into_azure_and_back(cloud: AzureCloud, realm: Realm, tmp_path: Path) -> None:
    place = {
        "vault_url": cloud.vault.url,
        "tenant_id": "${AZURE_TENANT_ID}",
        "client_id": "${AZURE_CLIENT_ID}",
        "client_secret": "${AZURE_CLIENT_SECRET}",
        "ca_file": str(cloud.ca_file),
    }
    shutil.copy(Path(azure.__file__).with_name("site.py"), tmp_path / "sitecustomize.py")
    env = {
        "AZURE_TENANT_ID": cloud.entra.tenant,
        "AZURE_CLIENT_ID": cloud.entra.application,
        "AZURE_CLIENT_SECRET": cloud.secret,
        "PYTHONPATH": str(tmp_path),
        "FAKE_AZURE": json.dumps(dict.fromkeys(cloud.hosts, cloud.port)),
    }
    with started(tmp_path, realm, {"provider": "azure", "config": place}, **env) as broker:
        door = Door(broker, Operator(realm, "alice", tmp_path / "ccache"))
        passes(door)
        assert cloud.vault.secrets["door--db"][-1].value == CANARY
        assert cloud.secret not in broker.output.read_text()
        cloud.fail("error500")
        assert door.put("door/db", "x").status == 503
        eventually(lambda: door.readiness()["status"] == "degraded")
        cloud.recover()
        assert door.put("door/db", "x").status == 200
