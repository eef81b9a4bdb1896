"""``zerotrust-broker health``, which a container's health check runs: it asks a real broker, wherever that listens."""

from __future__ import annotations

import signal
import socket
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from broker.cli import main
from tests.fakes.broker import BrokerProcess, configuration
from tests.fakes.certificates import server_certificate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.fakes.realm import Realm

NO_STS = "http://127.0.0.1:1"


@pytest.fixture(scope="module")
def broker(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerProcess]:
    """On every address by TLS, with a certificate that nobody here knows, and on a socket; for a network that is not here."""
    folder = tmp_path_factory.mktemp("health")
    keytab = realm.keytab(folder / "http.keytab", "HTTP/localhost")
    settings = configuration(folder, keytab=keytab, sts_endpoint=NO_STS)
    certificate = server_certificate(folder / "tls", "ecdsa-sha256", host="broker.example.com")
    settings["server"]["listen"] = [f"https://0.0.0.0:{_free_port()}", f"unix:{folder}/broker.sock"]
    settings["server"]["allowed_networks"] = ["10.0.0.0/8"]
    settings["tls"] = {"certificate": str(certificate.certificate), "private_key": str(certificate.key)}
    with BrokerProcess(folder, settings, env=realm.env) as running:
        yield running


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def health(broker: BrokerProcess, **environment: str) -> Result:
    return CliRunner().invoke(main, ["health", "--config", str(broker.config)], env=environment)


def test_a_broker_is_alive_whatever_its_certificate_and_its_networks_are(broker: BrokerProcess) -> None:
    said = health(broker)
    assert (said.exit_code, said.output) == (0, f"{broker.settings['server']['listen'][0]}: alive\n")


@pytest.mark.parametrize("written", ["{}", "[{}]", "{}, https://0.0.0.0:1"])
def test_the_environment_says_where_it_listens_as_it_does_to_the_broker(broker: BrokerProcess, written: str) -> None:
    over_socket = broker.settings["server"]["listen"][1]
    said = health(broker, ZEROTRUST_SERVER_LISTEN=written.format(over_socket))
    assert (said.exit_code, said.output) == (0, f"{over_socket}: alive\n")


def test_one_that_does_not_turn_is_not_alive(broker: BrokerProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.admin.alive._PATIENCE_SECONDS", 0.2)
    assert broker.process is not None
    broker.process.send_signal(signal.SIGSTOP)
    try:
        assert health(broker).exit_code == 1
    finally:
        broker.process.send_signal(signal.SIGCONT)


def test_where_nobody_listens_nobody_is_alive(broker: BrokerProcess) -> None:
    said = health(broker, ZEROTRUST_SERVER_LISTEN=f"https://127.0.0.1:{_free_port()}")
    assert said.exit_code == 1
    assert "Connection refused" in said.output


@pytest.mark.parametrize("listen", ["https://0.0.0.0", "[]", "[", "https://0.0.0.0:0"])
def test_what_cannot_be_asked_is_named(broker: BrokerProcess, listen: str) -> None:
    said = health(broker, ZEROTRUST_SERVER_LISTEN=listen)
    assert said.exit_code in (1, 78)
    assert "fix: " in said.output


def test_a_configuration_that_is_not_there_is_named(tmp_path: Path) -> None:
    said = CliRunner().invoke(main, ["health", "--config", str(tmp_path / "none.yaml")])
    assert said.exit_code == 78
    assert "cannot be read" in said.output
