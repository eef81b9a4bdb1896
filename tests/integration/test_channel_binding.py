"""Channel bindings (RFC 5929) over real TLS: a ticket counts on the connection it was made for, and the record says so."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.broker import BrokerProcess, configuration
from tests.fakes.certificates import SIGNATURES, ServerCertificate, server_certificate
from tests.fakes.conversation import Conversation, ask
from zerotrust_kerberos.end_point import end_point

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.fakes.realm import Realm

NO_STS = "http://127.0.0.1:1"  # who asks only who he is needs none
# A second where nothing else runs: it starts a process that reads the configuration.
RELOAD_SECONDS = 30.0
SHA256 = "rsa-sha256"


class Listener:
    """A broker with TLS, and the certificate it shows."""

    def __init__(self, folder: Path, realm: Realm, *, channel_binding: str, signature: str = SHA256) -> None:
        self.shown = server_certificate(folder, signature)
        keytab = realm.keytab(folder / "http.keytab", "HTTP/localhost")
        settings = configuration(folder, keytab=keytab, sts_endpoint=NO_STS)
        settings["server"]["listen"] = ["https://127.0.0.1:0"]
        settings["kerberos"]["channel_binding"] = channel_binding
        settings["tls"] = {"certificate": str(self.shown.certificate), "private_key": str(self.shown.key)}
        self.broker = BrokerProcess(folder, settings, env=realm.env)

    @property
    def url(self) -> str:
        return self.broker.url

    def show(self, signature: str) -> ServerCertificate:
        """Replace the certificate, and return when new connections see the new one."""
        self.shown = server_certificate(self.shown.certificate.parent, signature)
        self.broker.reload()
        deadline = time.monotonic() + RELOAD_SECONDS
        while certificate_of(self.url) != self.shown.der:
            assert time.monotonic() < deadline, "the broker still shows the old certificate"
            time.sleep(0.01)
        return self.shown

    def last_record(self) -> dict[str, Any]:
        return self.broker.last_record()


def certificate_of(url: str) -> bytes:
    with Conversation(url) as talk:
        return talk.certificate


@pytest.fixture(scope="module")
def allowing(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listener]:
    listener = Listener(tmp_path_factory.mktemp("allow"), realm, channel_binding="allow")
    with listener.broker:
        yield listener


@pytest.fixture(scope="module")
def requiring(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listener]:
    listener = Listener(tmp_path_factory.mktemp("require"), realm, channel_binding="require")
    with listener.broker:
        yield listener


@pytest.fixture(scope="module")
def alice(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return realm.kinit("alice", tmp_path_factory.mktemp("alice") / "ccache")


def test_a_ticket_bound_to_the_certificate_is_taken_and_recorded_as_bound(
    requiring: Listener, realm: Realm, alice: dict[str, str]
) -> None:
    with Conversation(requiring.url) as talk:
        answer = talk.ask(realm.client_token(alice, binding=end_point(talk.certificate)))
    assert answer.status == 200
    assert requiring.last_record()["channel_bound"] is True


@pytest.mark.parametrize("mode", ["allowing", "requiring"])
def test_a_ticket_bound_to_another_certificate_is_refused(
    mode: str, request: pytest.FixtureRequest, realm: Realm, alice: dict[str, str], tmp_path: Path
) -> None:
    # What somebody in the middle has: a client that saw his certificate, and our connection to pass its token on.
    listener: Listener = request.getfixturevalue(mode)
    his = server_certificate(tmp_path, SHA256)
    answer = ask(listener.url, realm.client_token(alice, binding=end_point(his.der)))
    assert (answer.status, answer.body["code"]) == (401, "auth_failed")
    assert listener.last_record()["reason"] == "channel_binding_wrong"
    assert "channel" not in str(answer.body)


def test_a_hash_of_another_strength_is_a_wrong_binding(
    requiring: Listener, realm: Realm, alice: dict[str, str]
) -> None:
    binding = b"tls-server-end-point:" + hashlib.sha384(requiring.shown.der).digest()
    assert ask(requiring.url, realm.client_token(alice, binding=binding)).status == 401


def test_a_ticket_without_binding_is_refused_where_one_is_required(
    requiring: Listener, realm: Realm, alice: dict[str, str]
) -> None:
    answer = ask(requiring.url, realm.client_token(alice))
    assert (answer.status, answer.body["code"]) == (401, "auth_failed")
    assert requiring.last_record()["reason"] == "channel_binding_missing"


def test_a_ticket_without_binding_is_taken_where_it_is_allowed_and_recorded_as_unbound(
    allowing: Listener, realm: Realm, alice: dict[str, str]
) -> None:
    assert ask(allowing.url, realm.client_token(alice)).status == 200
    assert allowing.last_record()["channel_bound"] is False


@pytest.mark.parametrize("signature", SIGNATURES)
def test_our_own_client_binds_to_certificates_of_every_signature(
    signature: str, allowing: Listener, alice: dict[str, str]
) -> None:
    shown = allowing.show(signature)
    settings = {"ZEROTRUST_BROKER_URL": allowing.url, "ZEROTRUST_CA_FILE": str(shown.certificate)}
    command = [sys.executable, "-m", "zerotrust_kerberos", "whoami"]
    done = subprocess.run(command, env={**alice, **settings}, capture_output=True, text=True, check=False, timeout=20)
    assert (done.returncode, done.stderr) == (0, "")
    # RFC 5929 defines no binding where the signature has no hash: such a ticket is taken here, and is not called bound.
    assert allowing.last_record()["channel_bound"] is (SIGNATURES[signature] is not None)


def test_a_binding_made_up_for_a_certificate_that_has_none_counts_as_unbound(
    allowing: Listener, realm: Realm, alice: dict[str, str]
) -> None:
    shown = allowing.show("ed25519")
    binding = b"tls-server-end-point:" + hashlib.sha256(shown.der).digest()
    assert ask(allowing.url, realm.client_token(alice, binding=binding)).status == 200
    assert allowing.last_record()["channel_bound"] is False


def test_required_bindings_do_not_start_with_a_certificate_that_has_none(realm: Realm, tmp_path: Path) -> None:
    broker = Listener(tmp_path, realm, channel_binding="require", signature="ed25519").broker
    done = broker.check_config()
    assert done.returncode == 78
    assert "channel_binding" in done.stderr


def test_required_bindings_keep_the_old_certificate_when_the_new_one_has_none(
    requiring: Listener, realm: Realm, alice: dict[str, str]
) -> None:
    before = requiring.shown
    server_certificate(before.certificate.parent, "ed25519")
    requiring.broker.reload()
    deadline = time.monotonic() + RELOAD_SECONDS
    while requiring.last_record()["event"] != "reload":
        assert time.monotonic() < deadline, "the reload is not recorded"
        time.sleep(0.01)
    assert requiring.last_record()["success"] is False
    with Conversation(requiring.url) as talk:
        assert talk.certificate == before.der
        assert talk.ask(realm.client_token(alice, binding=end_point(before.der))).status == 200
    requiring.show(SHA256)


def test_after_a_reload_each_connection_is_bound_to_the_certificate_it_saw(
    requiring: Listener, realm: Realm, alice: dict[str, str]
) -> None:
    with Conversation(requiring.url) as old:
        first = requiring.shown
        second = requiring.show("ecdsa-sha384")
        with Conversation(requiring.url) as new:
            assert (old.certificate, new.certificate) == (first.der, second.der)
            assert old.ask(realm.client_token(alice, binding=end_point(first.der))).status == 200
            assert new.ask(realm.client_token(alice, binding=end_point(second.der))).status == 200
            assert old.ask(realm.client_token(alice, binding=end_point(second.der))).status == 401
            assert new.ask(realm.client_token(alice, binding=end_point(first.der))).status == 401


def test_a_ticket_that_went_astray_is_worth_nothing_on_a_connection_of_its_finder(
    requiring: Listener, realm: Realm, alice: dict[str, str]
) -> None:
    # The same certificate, another connection: tls-server-end-point names the server, and the replay guard does the rest.
    token = realm.client_token(alice, binding=end_point(requiring.shown.der))
    assert ask(requiring.url, token).status == 200
    assert ask(requiring.url, token).status == 401
    assert requiring.last_record()["reason"] == "ticket_replayed"
