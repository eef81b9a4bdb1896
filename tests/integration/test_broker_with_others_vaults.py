"""The broker's own door with Kubernetes and with Conjur behind it: what is written is there, and what they cannot do is said."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from broker import wire_secrets
from tests.fakes.broker import BrokerProcess, configuration
from tests.fakes.certificates import ServerCertificate, server_certificate
from tests.fakes.conjur import FakeConjur
from tests.fakes.kubernetes import FakeKubernetes
from tests.fakes.operator import Answer, Operator
from tests.fakes.realm import Realm

ALICE = "alice@EXAMPLE.COM"
RULES = [{"name": "all", "paths": ["team/**"], "principals": [ALICE], "actions": ["list", "read", "write", "delete"]}]
VALUE = {"fields": {"value": "s3cret-é"}}


@pytest.fixture
def certificate(tmp_path: Path) -> ServerCertificate:
    return server_certificate(tmp_path / "vault", "ecdsa-sha256")


@pytest.fixture
def alice(realm: Realm, tmp_path: Path) -> Operator:
    return Operator(realm, "alice", tmp_path / "ccache")


@contextmanager
def broker(realm: Realm, folder: Path, provider: str, **config: Any) -> Iterator[BrokerProcess]:
    (folder / "state").mkdir(mode=0o700)
    settings = configuration(
        folder,
        keytab=realm.keytab(folder / "http.keytab", "HTTP/localhost"),
        sts_endpoint="http://127.0.0.1:1",
        secrets={"rules": RULES, "provider": provider, "config": config},
        state={"directory": str(folder / "state")},
    )
    with BrokerProcess(folder, settings, env=realm.env) as started:
        yield started


def asked(who: Operator, at: BrokerProcess, method: str, path: str, content: object = None) -> Answer:
    body = b"" if content is None else json.dumps(content).encode()
    return who.ask(at.url, method, f"{wire_secrets.PREFIX}{path}", body)


def test_kubernetes_keeps_what_is_written_and_checks_versions(
    realm: Realm, alice: Operator, certificate: ServerCertificate, tmp_path: Path
) -> None:
    with FakeKubernetes(certificate) as cluster:
        cluster.account("vaults", "broker")
        cluster.allow("vaults/broker", "get", "list", "create", "update", "delete")
        token = tmp_path / "token"
        token.write_text(cluster.token("vaults/broker"))
        where = {"url": cluster.url, "namespace": "vaults", "ca_file": str(certificate.certificate)}
        with broker(realm, tmp_path, "kubernetes", service_account_file=str(token), **where) as at:
            number = asked(alice, at, "PUT", "team/db", VALUE | {"cas": 0}).json["version"]
            assert cluster.text("vaults", "team.db", "value") == "s3cret-é"
            assert asked(alice, at, "GET", "team/db").json["fields"] == VALUE["fields"]
            assert asked(alice, at, "PUT", "team/db", VALUE | {"cas": 1}).code == "version_conflict"
            assert asked(alice, at, "PUT", "team/db", VALUE | {"cas": int(number)}).status == 200
            assert asked(alice, at, "DELETE", "team/db").status == 200
            assert asked(alice, at, "GET", "team/db").code == "secret_not_found"
            cluster.rules.clear()
            assert asked(alice, at, "GET", "team/other").code == "secrets_rejected"


def test_conjur_keeps_what_a_policy_declares_and_its_limits_are_refusals(
    realm: Realm, alice: Operator, certificate: ServerCertificate, tmp_path: Path
) -> None:
    with FakeConjur(certificate) as server:
        server.api_keys["host/broker"] = "k3y"
        server.declare("team/db", "host/broker", "read", "execute", "update")
        key = tmp_path / "api_key"
        key.touch(mode=0o600)
        key.write_text("k3y\n")
        where = {"url": server.url, "account": "myorg", "ca_file": str(certificate.certificate)}
        with broker(realm, tmp_path, "cyberark", login="host/broker", api_key_file=str(key), **where) as at:
            assert asked(alice, at, "PUT", "team/db", VALUE).json["version"] == "1"
            assert asked(alice, at, "GET", "team/db").json["fields"] == VALUE["fields"]
            refused = asked(alice, at, "PUT", "team/db", VALUE | {"cas": 1})
            assert (refused.code, "cas" in refused.json["hint"]) == ("secrets_rejected", True)
            for method, path, content in (("DELETE", "team/db", None), ("PUT", "team/undeclared", VALUE)):
                assert asked(alice, at, method, path, content).code == "secrets_rejected"
            assert server.variables["team/db"] == ["s3cret-é".encode()]
