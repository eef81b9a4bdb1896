"""Tickets that Kerberos is content with and the broker is not; each refusal is precise in the record and silent to the client."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.broker import BrokerProcess, configuration
from tests.fakes.conversation import ask
from tests.fakes.realm import Realm

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NO_STS = "http://127.0.0.1:1"
SERVICE = "HTTP/localhost"


def a_broker(folder: Path, realm: Realm, *services: str) -> BrokerProcess:
    settings = configuration(
        folder, keytab=realm.keytab(folder / "http.keytab", *(services or (SERVICE,))), sts_endpoint=NO_STS
    )
    return BrokerProcess(folder, settings, env=realm.env)


@pytest.fixture(scope="module")
def broker(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerProcess]:
    # The host's key lies in the same file, as it does on many machines.
    with a_broker(tmp_path_factory.mktemp("broker"), realm, SERVICE, "host/localhost") as running:
        yield running


def assert_refused(broker: BrokerProcess, token: bytes, status: int, code: str, reason: str) -> None:
    answer = ask(broker.url, token)
    assert (answer.status, answer.body["code"]) == (status, code)
    record: dict[str, Any] = broker.last_record()
    assert (record["success"], record["reason"]) == (False, reason)
    assert reason not in str(answer.body)


def test_a_user_of_a_trusted_realm_that_is_not_served_is_denied(
    broker: BrokerProcess, partner_realm: Realm, tmp_path: Path
) -> None:
    for user in ("paula", "alice"):  # the other alice is another person
        login = partner_realm.kinit(user, tmp_path / user)
        assert_refused(broker, partner_realm.client_token(login), 403, "access_denied", "realm_not_allowed")


def test_a_ticket_for_another_service_of_the_keytab_is_refused(
    broker: BrokerProcess, realm: Realm, tmp_path: Path
) -> None:
    token = realm.client_token(realm.kinit("alice", tmp_path / "ccache"), service="host@localhost")
    assert_refused(broker, token, 401, "auth_failed", "ticket_for_another_service")


def test_a_ticket_that_has_just_ended_is_refused_although_kerberos_grants_five_more_minutes(
    broker: BrokerProcess, realm: Realm, tmp_path: Path
) -> None:
    token = realm.client_token(realm.kinit("alice", tmp_path / "ccache", lifetime=timedelta(seconds=2)))
    time.sleep(3)
    assert_refused(broker, token, 401, "auth_failed", "ticket_expired")


@pytest.mark.parametrize("preferred", ["rc4", "aes"])
def test_a_session_with_another_cipher_than_aes_is_refused_though_the_keytab_has_aes_keys_only(
    preferred: str, tmp_path: Path
) -> None:
    # Machines whose krb5.conf still permits RC4, and prefers it or not: the two ends agree on it (RFC 4537).
    ciphers = ["arcfour-hmac", "aes256-cts-hmac-sha1-96"] if preferred == "rc4" else ["aes256-cts-hmac-sha1-96"]
    old_days = {"permitted_enctypes": " ".join([*ciphers, "arcfour-hmac"])}
    with Realm.start(
        tmp_path / "realm", principals={"alice": "x"}, services=(SERVICE,), client_options=old_days
    ) as realm:
        token = realm.client_token(realm.kinit("alice", tmp_path / "ccache"))
        with a_broker(tmp_path, realm) as broker:
            if preferred == "rc4":
                assert_refused(broker, token, 401, "auth_failed", "session_key_not_aes")
            else:
                assert ask(broker.url, token).status == 200
