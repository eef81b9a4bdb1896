"""A real broker before a real OpenBao, configured as the guide prints it: secrets by ticket, /readyz, an outage, a clean stop."""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from broker import wire_secrets
from tests.fakes.bao import MOUNT, BaoError, BaoServer
from tests.fakes.broker import BrokerProcess, configuration
from tests.fakes.docs import vaults_policy
from tests.fakes.operator import Answer, Operator, last
from tests.fakes.realm import Realm

NAME = "test-door"
ALICE = "alice@EXAMPLE.COM"
RULES = [
    {
        "name": "team",
        "paths": ["door/**"],
        "principals": [ALICE],
        "actions": ["list", "read", "write", "delete", "destroy"],
    }
]
# What a busy machine takes to notice.
PATIENCE = 20.0


class Scene:
    def __init__(self, broker: BrokerProcess, bao: BaoServer, alice: Operator, *, role: str) -> None:
        self.broker, self.bao, self.alice, self.role = broker, bao, alice, role

    def get(self, path: str) -> Answer:
        return self.alice.ask(self.broker.url, "GET", f"{wire_secrets.PREFIX}{path}")

    def put(self, path: str, value: str, **members: Any) -> Answer:
        body = json.dumps({"fields": {"value": value}} | members).encode()
        return self.alice.ask(self.broker.url, "PUT", f"{wire_secrets.PREFIX}{path}", body)

    def readiness(self) -> dict[str, str]:
        answer = self.alice.ask(self.broker.url, "GET", "/readyz")
        found: dict[str, str] = answer.json["dependencies"]["secrets"]
        return found

    def tokens(self) -> list[dict[str, Any]]:
        """What the vault knows of this broker's tokens."""
        found = []
        for accessor in self.bao.api("LIST", "auth/token/accessors")["data"]["keys"]:
            # Others' may end meanwhile.
            with contextlib.suppress(BaoError):
                found.append(self.bao.api("POST", "auth/token/lookup-accessor", {"accessor": accessor})["data"])
        return [token for token in found if (token.get("meta") or {}).get("role_name") == self.role]

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.1)


@pytest.fixture
def scene(bao: BaoServer, realm: Realm, tmp_path: Any) -> Iterator[Scene]:
    bao.policy(NAME, vaults_policy())
    role = f"{NAME}-{secrets.token_hex(4)}"
    made = bao.approle(role, NAME, token_ttl="5s")
    for name in ("role_id", "secret_id"):
        (tmp_path / name).touch(mode=0o600)
        (tmp_path / name).write_text(getattr(made, name))
    place = {"url": bao.url, "auth_method": "approle", "mount_path": MOUNT, "ca_file": str(bao.ca_file)}
    login = {"role_id": made.role_id, "secret_id_file": str(tmp_path / "secret_id")}
    settings = configuration(
        tmp_path,
        keytab=realm.keytab(tmp_path / "http.keytab", "HTTP/localhost"),
        sts_endpoint="http://127.0.0.1:1",
        secrets={"provider": "hashicorp", "config": place | login, "cache_ttl": "1h", "rules": RULES},
    )
    with BrokerProcess(tmp_path, settings, env=realm.env) as started:
        yield Scene(started, bao, Operator(realm, "alice", tmp_path / "ccache"), role=role)


def test_secrets_pass_the_door_into_the_vault_and_back_also_in_an_outage_that_is_shorter_than_the_cache(
    scene: Scene,
) -> None:
    assert scene.put("door/db", "first").json["version"] == "1"
    assert scene.bao.api("GET", f"{MOUNT}/data/door/db")["data"]["data"] == {"value": "first"}
    assert scene.get("door/db").json["fields"] == {"value": "first"}
    conflict = scene.put("door/db", "second", cas=7)
    assert (conflict.status, conflict.code) == (409, "version_conflict")
    assert scene.get("door/db").json["fields"] == {"value": "first"}
    assert scene.get("door/none").code == "secret_not_found"
    assert scene.get("elsewhere").code == "access_denied"
    assert scene.readiness() == {"status": "ok"}

    scene.bao.api("POST", f"{MOUNT}/data/door/unread", {"data": {"value": "x"}})
    scene.bao.seal()
    scene.until(lambda: "sealed" in scene.readiness().get("reason", ""))
    assert scene.get("door/db").json["fields"] == {"value": "first"}
    unread = scene.get("door/unread")
    assert (unread.status, unread.code, last(scene.broker)["reason"]) == (503, "secrets_unavailable", "secret_sealed")
    assert scene.put("door/db", "lost").status == 503
    scene.bao.unseal()
    scene.until(lambda: scene.readiness() == {"status": "ok"})
    # What failed a moment ago is not asked again at once.
    scene.until(lambda: scene.get("door/unread").json.get("fields") == {"value": "x"})


def test_an_idle_broker_keeps_its_token_alive(scene: Scene) -> None:
    scene.until(lambda: any(token.get("last_renewal") for token in scene.tokens()))


def test_a_clean_stop_gives_the_token_back(scene: Scene) -> None:
    assert scene.put("door/stop", "x").status == 200
    assert scene.tokens()
    scene.broker.stop()
    assert scene.tokens() == []
