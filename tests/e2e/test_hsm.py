"""A broker with an HSM: it starts without it, says so, uses it as soon as it is there, and issues meanwhile."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.broker import BrokerProcess, configuration
from tests.fakes.hsm import SoftHsm
from tests.fakes.realm import Realm

_WITHOUT_THE_PACKAGE = "import sys; sys.modules['pkcs11'] = None; from broker.cli import main; main()"


@pytest.fixture
def hsm(tmp_path: Path) -> SoftHsm:
    return SoftHsm.make(tmp_path / "hsm").make_key()


@pytest.fixture
def broker(realm: Realm, tmp_path: Path, hsm: SoftHsm) -> Iterator[BrokerProcess]:
    keytab = realm.keytab(tmp_path / "http.keytab", "HTTP/localhost")
    settings = configuration(tmp_path, keytab=keytab, sts_endpoint="http://127.0.0.1:1")
    settings["encryption"]["hsm"] = hsm.section
    process = BrokerProcess(tmp_path, settings, env={**realm.env, **hsm.environment})
    yield process
    process.kill()


def got(broker: BrokerProcess, path: str) -> Any:
    with urllib.request.urlopen(f"{broker.url}{path}") as answer:  # noqa: S310  # loopback
        return json.load(answer)


def algorithms(broker: BrokerProcess) -> list[str]:
    return [key["alg"] for key in got(broker, "/.well-known/jwks.json")["keys"]]


def test_a_broker_starts_without_its_hsm_and_uses_it_when_it_comes(
    broker: BrokerProcess, hsm: SoftHsm, tmp_path: Path
) -> None:
    hsm.take_away()
    broker.start()
    ready = got(broker, "/readyz")
    assert (ready["status"], ready["dependencies"]["hsm"]["status"]) == ("degraded", "degraded")
    assert algorithms(broker) == ["EdDSA"]
    hsm.put_back()
    assert got(broker, "/readyz")["dependencies"]["hsm"] == {"status": "ok"}
    assert algorithms(broker) == ["EdDSA", "ES256"]
    jwks = tmp_path / "jwks.json"
    jwks.write_text(json.dumps(got(broker, "/.well-known/jwks.json")))
    assert broker.stop() == 0
    checked = broker.admin("audit", "verify")
    assert checked.returncode == 0, checked.stderr
    hsm.take_away()
    assert "give --jwks a copy" in broker.admin("audit", "verify").stderr
    assert broker.admin("audit", "verify", "--jwks", str(jwks)).returncode == 0
    broker.start()
    assert broker.stop() == 0
    behind = broker.admin("audit", "verify", "--jwks", str(jwks))
    assert (behind.returncode, "the HSM signed no checkpoint behind record" in behind.stderr) == (1, True)
    assert "123456" not in broker.output.read_text() + str(broker.records())


def test_what_can_never_work_does_not_start(broker: BrokerProcess) -> None:
    without = subprocess.run(
        [sys.executable, "-c", _WITHOUT_THE_PACKAGE, "check-config", "--config", str(broker.config)],
        env=broker._env,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert without.returncode == 78
    assert "pip install 'zerotrust-kerberos-link[hsm]'" in without.stderr
    broker.settings["encryption"]["hsm"]["config"]["module"] = "/nonexistent/module.so"
    broker.settings["audit"]["witnesses"] = [{"url": "http://127.0.0.1:1", "public_key": "name+00000000+AAAA"}]
    broker.write_configuration()
    refused = broker.check_config()
    assert refused.returncode == 78
    assert "encryption.hsm.config.module: /nonexistent/module.so does not exist" in refused.stderr
    assert "audit.witnesses[0].public_key" in refused.stderr
