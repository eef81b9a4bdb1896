"""Rules that ask for more than a name: how somebody logged in, how long ago, and over which connection. With a KDC that tells.

MIT's KDC puts an indicator into tickets by the way of the login (RFC 8129). Here the way is FAST with an encrypted challenge
(RFC 6113), which a login with an armor ticket uses and a plain one does not.
"""

from __future__ import annotations

import base64
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from broker import wire, wire_secrets
from tests.fakes.broker import BrokerProcess, configuration
from tests.fakes.certificates import server_certificate
from tests.fakes.conversation import Conversation, ask, obtain
from tests.fakes.operator import MARK, Answer, send
from tests.fakes.realm import Realm
from tests.fakes.sts.demo import demo_world
from tests.fakes.sts.process import StrictSts
from zerotrust_kerberos.end_point import end_point
from zerotrust_kerberos.failures import EXIT_APPROVAL

if TYPE_CHECKING:
    from collections.abc import Iterator

FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"
INDICATOR = "hardened"
# Credentials live 15 minutes at least, so of 20 minutes a ticket may use up four.
MAX_AGE, TOO_OLD = "20m", "-10m"
OF_SECRETS = {
    "name": "strong-secrets",
    "paths": ["strong/*"],
    "principals": ["alice@EXAMPLE.COM"],
    "actions": ["read", "write"],
    "require": {"indicators": [INDICATOR]},
}


@dataclass
class Scene:
    """A realm whose KDC tells how people logged in, and a broker that cares."""

    realm: Realm
    broker: BrokerProcess
    folder: Path

    def login(self, user: str, *options: str) -> dict[str, str]:
        return self.realm.kinit(user, self.folder / f"ccache-{user}-{len(options)}", options=options)

    def hardened_login(self, user: str) -> dict[str, str]:
        """With the tickets of a first login as armor."""
        armor = self.login(user)
        return self.login(user, "-T", armor["KRB5CCNAME"])

    def obtain(self, login: dict[str, str], role: str) -> Any:
        return obtain(self.broker.url, self.realm.client_token(login), role)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("step-up")
    people = {"alice": "wonderland", "bob": "builder"}
    with (
        Realm.start(
            folder / "realm", principals=people, kdc_options={"encrypted_challenge_indicator": INDICATOR}
        ) as realm,
        StrictSts(demo_world()) as sts,
    ):
        keytab = realm.keytab(folder / "http.keytab", "HTTP/localhost")
        shown = server_certificate(folder / "tls", "ecdsa-sha256")
        settings = configuration(folder, keytab=keytab, sts_endpoint=sts.url)
        settings["server"]["listen"] = ["https://127.0.0.1:0"]
        settings["tls"] = {"certificate": str(shown.certificate), "private_key": str(shown.key)}
        settings["rules"] = [
            _rule("strong", "alice", "developer", indicators=[INDICATOR, "pkinit"]),
            _rule("fresh", "alice", "readonly", max_ticket_age=MAX_AGE),
            _rule("bound", "bob", "developer", channel_binding=True),
        ]
        settings["secrets"] = {"rules": [OF_SECRETS]}
        with BrokerProcess(folder, settings, env=realm.env) as broker:
            yield Scene(realm, broker, folder)


def _rule(name: str, user: str, role: str, **require: Any) -> dict[str, Any]:
    return {"name": name, "principals": [f"{user}@EXAMPLE.COM"], "roles": [role], "require": require}


@pytest.fixture
def old_login(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Alice's ticket of ten minutes ago, renewable: the KDC and she lived in the past for a moment."""
    assert Path(FAKETIME).exists(), "libfaketime is missing; run: make setup"
    with monkeypatch.context() as past:
        past.setenv("LD_PRELOAD", FAKETIME)
        past.setenv("FAKETIME", TOO_OLD)
        past.setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        scene.realm.stop()
        scene.realm.start_kdc()
        login = scene.login("alice", "-r", "1d")
        scene.realm.stop()
    scene.realm.start_kdc()
    return login


def test_a_ticket_with_the_indicator_is_enough(scene: Scene) -> None:
    answer = scene.obtain(scene.hardened_login("alice"), "developer")
    assert answer.status == 200
    record = scene.broker.last_record()
    assert (record["event"], record["indicators"]) == ("issued", [INDICATOR])


def test_a_ticket_without_the_indicator_is_asked_for_a_stronger_one(scene: Scene) -> None:
    answer = scene.obtain(scene.login("alice"), "developer")
    assert (answer.status, answer.body["code"]) == (403, "step_up_required")
    assert (
        answer.body["hint"]
        == "this role needs a ticket obtained with hardened or pkinit: run zerotrust login --step-up developer"
    )
    record = scene.broker.last_record()
    assert (record["success"], record["reason"], record["indicators"]) == (False, "ticket_too_weak", [])


def test_a_secret_that_asks_for_it_is_read_and_written_with_the_stronger_ticket_alone(scene: Scene) -> None:
    host = ("Host", urlsplit(scene.broker.url).netloc)

    def asked(login: dict[str, str], method: str, body: bytes = b"") -> Answer:
        token = base64.b64encode(scene.realm.client_token(login)).decode()
        headers = [host, MARK, ("Authorization", f"Negotiate {token}")]
        headers += [("Content-Type", wire.JSON), ("Content-Length", str(len(body)))] if body else []
        return send(scene.broker.url, method, f"{wire_secrets.PREFIX}strong/db", headers, body)

    written = b'{"fields":{"value":"canary"}}'
    strong, weak = scene.hardened_login("alice"), scene.login("alice")
    assert asked(strong, "PUT", written).status == 200
    for method, body in (("GET", b""), ("PUT", written)):
        refused = asked(weak, method, body)
        assert (refused.status, refused.code) == (403, "step_up_required")
        assert b"canary" not in refused.body
        assert (scene.broker.last_record()["event"], scene.broker.last_record()["reason"]) == (
            "secret_access",
            "ticket_too_weak",
        )
    assert asked(strong, "GET").json["fields"] == {"value": "canary"}
    assert scene.broker.last_record()["indicators"] == [INDICATOR]


def test_somebody_whom_no_rule_names_is_denied_and_not_told_of_a_stronger_login(scene: Scene) -> None:
    answer = scene.obtain(scene.login("bob"), "readonly")
    assert (answer.status, answer.body["code"]) == (403, "access_denied")


def test_a_fresh_ticket_is_enough_where_age_counts(scene: Scene) -> None:
    assert scene.obtain(scene.login("alice"), "readonly").status == 200


def test_a_ticket_of_an_old_login_is_asked_for_a_fresher_one(scene: Scene, old_login: dict[str, str]) -> None:
    answer = scene.obtain(old_login, "readonly")
    assert (answer.status, answer.body["code"]) == (403, "step_up_required")
    assert "within the last 0:04:00" in answer.body["hint"]


def test_renewing_an_old_ticket_does_not_make_it_fresh(scene: Scene, old_login: dict[str, str]) -> None:
    # What counts is when somebody was there, not when a program asked for more time.
    subprocess.run(["kinit", "-R"], env=old_login, check=True, capture_output=True, timeout=20)
    assert scene.obtain(old_login, "readonly").body["code"] == "step_up_required"


def test_a_bound_client_is_enough_where_binding_counts_and_another_is_not(scene: Scene) -> None:
    bob = scene.login("bob")
    with Conversation(scene.broker.url) as talk:
        bound = scene.realm.client_token(bob, binding=end_point(talk.certificate))
        assert talk.obtain(bound, "developer").status == 200
        unbound = talk.obtain(scene.realm.client_token(bob), "developer")
    assert (unbound.status, unbound.body["code"]) == (403, "step_up_required")
    assert "binds the ticket to its TLS connection" in unbound.body["hint"]


def test_what_a_stronger_ticket_would_give_is_shown_to_who_may_have_it(scene: Scene) -> None:
    roles = ask(scene.broker.url, scene.realm.client_token(scene.login("alice")), "/v1/roles").body["roles"]
    assert [role["name"] for role in roles] == ["developer", "readonly"]


def test_our_client_ends_with_its_own_status_and_the_brokers_hint(scene: Scene) -> None:
    settings = {"ZEROTRUST_BROKER_URL": scene.broker.url, "ZEROTRUST_CA_FILE": str(scene.folder / "tls" / "server.crt")}
    command = [sys.executable, "-m", "zerotrust_kerberos", "credential-process", "--role", "developer"]
    done = subprocess.run(
        command, env={**scene.login("alice"), **settings}, capture_output=True, text=True, check=False, timeout=20
    )
    assert (done.returncode, done.stdout) == (EXIT_APPROVAL, "")
    assert "needs a ticket obtained with hardened or pkinit" in done.stderr
