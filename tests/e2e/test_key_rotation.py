"""The operator changes the encryption key: the log goes on by certificate, and what was kept for later is still there."""

from __future__ import annotations

import base64
import json
import secrets
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.config.load import load
from broker.keys.envelope import Envelope
from broker.keys.hierarchy import KeyHierarchy, Use
from broker.revocation.file import LedgerFile
from tests.fakes.broker import BrokerProcess, configuration
from tests.fakes.realm import Realm


@pytest.fixture
def broker(realm: Realm, tmp_path: Path) -> Iterator[BrokerProcess]:
    keytab = realm.keytab(tmp_path / "http.keytab", "HTTP/localhost")
    settings = configuration(tmp_path, keytab=keytab, sts_endpoint="http://127.0.0.1:1")
    process = BrokerProcess(tmp_path, settings, env=realm.env)
    yield process
    process.kill()


def published(broker: BrokerProcess) -> list[str]:
    with urllib.request.urlopen(f"{broker.url}/.well-known/jwks.json") as answer:  # noqa: S310  # loopback
        return [key["kid"] for key in json.load(answer)["keys"]]


def test_the_first_published_key_verifies_the_log_across_a_change_of_the_key(
    broker: BrokerProcess, tmp_path: Path
) -> None:
    broker.start()
    (first,) = published(broker)
    jwks = tmp_path / "first-day.json"
    with urllib.request.urlopen(f"{broker.url}/.well-known/jwks.json") as answer:  # noqa: S310  # loopback
        jwks.write_bytes(answer.read())
    assert broker.stop() == 0
    # A file of revocations as the old key sealed it: without that key the broker would not know who was revoked.
    old = load(broker.config, environ=broker._env).encryption.key_bytes()
    envelope = Envelope(keys=[KeyHierarchy(master=old).derive(Use.REVOCATION_SEAL)])
    LedgerFile(directory=broker.audit_directory, envelope=envelope).keep([], now=0)
    new = tmp_path / "new_key"
    new.touch(mode=0o600)
    new.write_bytes(base64.b64encode(secrets.token_bytes(32)))
    before = broker.settings["encryption"]["key_file"]
    broker.settings["encryption"] = {"key_file": str(new)}
    broker.write_configuration()
    assert "was sealed with another key" in broker.check_config().stderr
    broker.settings["encryption"] = {"key_file": str(new), "previous_key_files": [before]}
    broker.write_configuration()
    broker.start()
    assert published(broker)[1:] == [first]
    assert broker.stop() == 0
    checked = broker.admin("audit", "verify", "--jwks", str(jwks))
    assert checked.returncode == 0, checked.stderr
    assert "good" in checked.stdout
    assert [record["kid"] for record in broker.records() if record["event"] == "key_succeeded"] == [first]
