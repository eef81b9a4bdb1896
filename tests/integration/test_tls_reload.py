"""A new certificate while the broker serves: taken over whole, or not at all."""

from __future__ import annotations

import socket
import ssl
import time
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509

from tests.fakes.broker import BrokerProcess, configuration
from tests.fakes.certificates import ServerCertificate, server_certificate
from tests.fakes.conversation import Conversation, ask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.fakes.realm import Realm

NO_STS = "http://127.0.0.1:1"
# A second where nothing else runs: it starts a process that reads the configuration.
RELOAD_SECONDS = 30.0


@pytest.fixture
def first(tmp_path: Path) -> ServerCertificate:
    return server_certificate(tmp_path / "tls", "ecdsa-sha256")


@pytest.fixture
def settings(realm: Realm, first: ServerCertificate, tmp_path: Path) -> dict[str, Any]:
    keytab = realm.keytab(tmp_path / "http.keytab", "HTTP/localhost")
    made = configuration(tmp_path, keytab=keytab, sts_endpoint=NO_STS)
    made["server"]["listen"] = ["https://127.0.0.1:0"]
    made["tls"] = {"certificate": str(first.certificate), "private_key": str(first.key)}
    return made


@pytest.fixture
def broker(realm: Realm, settings: dict[str, Any], tmp_path: Path) -> Iterator[BrokerProcess]:
    with BrokerProcess(tmp_path, settings, env=realm.env) as running:
        yield running


def reloads(broker: BrokerProcess) -> list[dict[str, Any]]:
    return [record for record in broker.records() if record["event"] == "reload"]


def reload(broker: BrokerProcess) -> dict[str, Any]:
    before = len(reloads(broker))
    broker.reload()
    deadline = time.monotonic() + RELOAD_SECONDS
    while len(reloads(broker)) == before:
        assert time.monotonic() < deadline, "no record of a reload"
        time.sleep(0.01)
    return reloads(broker)[-1]


def shown(broker: BrokerProcess) -> bytes:
    with Conversation(broker.url) as talk:
        return talk.certificate


def test_new_connections_see_the_new_certificate_and_old_ones_go_on(
    broker: BrokerProcess, first: ServerCertificate, realm: Realm, tmp_path: Path
) -> None:
    alice = realm.kinit("alice", tmp_path / "ccache")
    with Conversation(broker.url) as old:
        assert old.ask(realm.client_token(alice)).status == 200
        second = server_certificate(first.certificate.parent, "rsa-sha256")
        assert reload(broker)["success"] is True
        assert shown(broker) == second.der
        assert old.ask(realm.client_token(alice)).status == 200
        assert old.certificate == first.der


def ends(certificate: ServerCertificate) -> float:
    return x509.load_der_x509_certificate(certificate.der).not_valid_after_utc.timestamp()


def metric(broker: BrokerProcess) -> float:
    text: str = ask(broker.url, None, "/metrics").body
    [line] = [line for line in text.splitlines() if line.startswith("broker_tls_certificate_expiry_timestamp_seconds ")]
    return float(line.split()[1])


def test_the_metric_says_when_the_certificate_in_force_ends(broker: BrokerProcess, first: ServerCertificate) -> None:
    assert metric(broker) == ends(first)
    second = server_certificate(first.certificate.parent, "rsa-sha256", days=3)
    assert reload(broker)["success"] is True
    assert metric(broker) == ends(second) > ends(first)
    first.certificate.write_text("no certificate")
    assert reload(broker)["success"] is False
    assert metric(broker) == ends(second)


def test_nothing_happens_where_nothing_changed(broker: BrokerProcess, first: ServerCertificate) -> None:
    broker.reload()
    time.sleep(0.1)
    assert reloads(broker) == []
    assert shown(broker) == first.der


def of_another_key(first: ServerCertificate, other: ServerCertificate) -> None:
    first.certificate.write_bytes(other.pem)


def halved(first: ServerCertificate, other: ServerCertificate) -> None:
    first.key.write_bytes(other.key_pem)
    first.certificate.write_bytes(other.pem[: len(other.pem) // 2])


def gone(first: ServerCertificate, _other: ServerCertificate) -> None:
    first.certificate.unlink()


def with_a_key_open_to_others(first: ServerCertificate, other: ServerCertificate) -> None:
    first.key.write_bytes(other.key_pem)
    first.key.chmod(0o644)
    first.certificate.write_bytes(other.pem)


@pytest.mark.parametrize("spoil", [of_another_key, halved, gone, with_a_key_open_to_others])
def test_what_cannot_be_used_leaves_the_old_certificate_in_force_until_it_is_mended(
    spoil: Callable[[ServerCertificate, ServerCertificate], None],
    broker: BrokerProcess,
    first: ServerCertificate,
    tmp_path: Path,
) -> None:
    other = server_certificate(tmp_path / "other", "ecdsa-sha256")
    spoil(first, other)
    record = reload(broker)
    assert (record["resource"], record["success"], record["reason"]) == ("tls", False, "unusable")
    for _ in range(3):
        assert shown(broker) == first.der
        broker.reload()  # the fault is said once, and does not go away by being looked at
        time.sleep(0.05)
    assert len(reloads(broker)) == 1
    assert "broker_tls_last_reload_successful 0.0" in ask(broker.url, None, "/metrics").body
    assert ask(broker.url, None, "/readyz").body["dependencies"]["files"]["status"] == "degraded"
    assert broker.output.read_text().count("ERROR tls: changed files cannot be used, the old stay in force") == 1
    first.key.unlink()
    mended = server_certificate(first.certificate.parent, "ecdsa-sha256")
    assert reload(broker)["success"] is True
    assert shown(broker) == mended.der
    assert "broker_tls_last_reload_successful 1.0" in ask(broker.url, None, "/metrics").body


def test_no_session_is_resumed_with_a_certificate_that_is_no_longer_in_force(
    broker: BrokerProcess, first: ServerCertificate
) -> None:
    # A client that resumes takes the certificate from its memory: after a change the two ends would bind to different ones.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(first.certificate)
    host, port = broker.url.removeprefix("https://").split(":")
    with (
        socket.create_connection((host, int(port)), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname=host) as secured,
    ):
        secured.sendall(f"GET /healthz HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
        while secured.recv(4096):
            pass
        assert secured.version() == "TLSv1.3"
        assert secured.session is not None
        assert secured.session.has_ticket is False


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_what_is_configured_is_spoken_after_a_reload_too(
    version: ssl.TLSVersion, broker: BrokerProcess, first: ServerCertificate
) -> None:
    server_certificate(first.certificate.parent, "rsa-sha256")
    reload(broker)
    assert handshake(broker, version) == version.name.replace("v1_", "v1.")


def test_a_version_below_the_configured_one_gets_no_connection(
    realm: Realm, settings: dict[str, Any], tmp_path: Path
) -> None:
    settings["tls"]["min_version"] = "TLSv1.3"
    with BrokerProcess(tmp_path, settings, env=realm.env) as broker:
        assert handshake(broker, ssl.TLSVersion.TLSv1_3) == "TLSv1.3"
        with pytest.raises(ssl.SSLError):
            handshake(broker, ssl.TLSVersion.TLSv1_2)


def handshake(broker: BrokerProcess, version: ssl.TLSVersion) -> str | None:
    host, port = broker.url.removeprefix("https://").split(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    with (
        socket.create_connection((host, int(port)), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname=host) as secured,
    ):
        return secured.version()


def test_a_certificate_that_has_ended_is_said_and_served_all_the_same(
    broker: BrokerProcess, first: ServerCertificate
) -> None:
    """Clients refuse it, and tell nobody."""
    assert ask(broker.url, None, "/readyz").body["dependencies"]["certificate"] == {"status": "ok"}
    ended = server_certificate(first.certificate.parent, "ecdsa-sha256", days=0)
    assert reload(broker)["success"] is True
    assert shown(broker) == ended.der
    said = ask(broker.url, None, "/readyz").body
    assert (said["status"], said["dependencies"]["certificate"]["code"]) == ("degraded", "certificate_expired")
    assert "it ended at 20" in said["dependencies"]["certificate"]["reason"]
    assert "certificate: degraded: it ended at 20" in broker.output.read_text()
