"""``zerotrust doctor``: every fault that it names is made for real, and the first one it names is the one that was made."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import front_door
from tests.fakes.clinic import PROGRAM, Clinic, closed_port, krb5_conf, tls_door
from tests.fakes.front_door import FrontDoor
from tests.fakes.realm import Realm

FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"


@pytest.fixture(scope="module")
def own_realm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Realm]:
    folder = tmp_path_factory.mktemp("clinic") / "realm"
    with Realm.start(
        folder, principals={"alice": "wonderland"}, services=("HTTP/localhost", "HTTP/127.0.0.1")
    ) as realm:
        yield realm


@pytest.fixture(scope="module")
def _door(own_realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontDoor]:
    keytab = own_realm.keytab(tmp_path_factory.mktemp("door") / "keytab", "HTTP/localhost", "HTTP/127.0.0.1")
    with own_realm.entered(), FrontDoor.tcp(keytab) as door:
        yield door


@pytest.fixture
def clinic(own_realm: Realm, _door: FrontDoor, tmp_path: Path) -> Clinic:
    return Clinic(own_realm, _door, tmp_path, own_realm.kinit("alice", tmp_path / "ccache", options=["-r", "2d"]))


# ---- health ----


def test_where_nothing_is_wrong_nothing_is_said_to_be(clinic: Clinic) -> None:
    found = clinic.findings("--role", "developer")
    assert {one["verdict"] for one in found.values()} == {"ok", "unseen"}
    assert {name for name, one in found.items() if one["verdict"] == "unseen"} == {
        "address",
        "TLS",
        "agent",
        "AWS files",
    }
    assert "alice@EXAMPLE.COM in FILE:" in found["ticket"]["evidence"]
    assert "aes256-cts" in found["ticket"]["evidence"]
    assert "renewable until" in found["ticket"]["evidence"]
    assert f"127.0.0.1:{clinic.realm.port}" in found["KDC"]["evidence"]
    assert "the broker proved itself" in found["sign-in"]["evidence"]
    assert found["versions"]["evidence"].endswith("; no AWS CLI")
    assert "; aws-cli/2." in clinic.findings(PATH="/usr/bin:/bin")["versions"]["evidence"]


def test_over_tls_the_certificate_and_the_binding_are_told(clinic: Clinic, tmp_path: Path) -> None:
    with tls_door(clinic, tmp_path, days=90) as more:
        found = clinic.findings(**more)
    assert re.search(
        r"TLSv1\.3, certificate of authority of localhost for localhost, (89|90) days", found["TLS"]["evidence"]
    )
    assert "tickets are bound to it" in found["TLS"]["evidence"]
    assert "127.0.0.1" in found["address"]["evidence"]
    assert "the ticket bound to the connection" in found["sign-in"]["evidence"]


def test_a_person_gets_a_line_a_check_and_the_fix_below_it(clinic: Clinic) -> None:
    done = clinic.run(AWS_ACCESS_KEY_ID="AKIA", ZEROTRUST_SPN="HTTP@nowhere.example")
    assert done.returncode == 2
    assert re.search(r"^ok   krb5\.conf +.*: realm EXAMPLE\.COM$", done.stdout, re.MULTILINE)
    assert re.search(r"^BAD  service name +.*\n +run: kvno HTTP/nowhere\.example$", done.stdout, re.MULTILINE)
    assert re.search(r"^warn AWS variables +.*\n +run: unset AWS_ACCESS_KEY_ID$", done.stdout, re.MULTILINE)
    assert "\x1b" not in done.stdout


def test_a_reader_that_leaves_is_told_by_the_exit_status(clinic: Clinic) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [PROGRAM, "doctor"], env=clinic.env, stdout=writer, stderr=subprocess.PIPE, text=True, check=False, timeout=120
    )
    os.close(writer)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "[output_failed]" in done.stderr


# ---- settings and Kerberos ----


def test_no_broker_is_named(clinic: Clinic) -> None:
    check, code, said = clinic.first(ZEROTRUST_BROKER_URL="")
    assert (check, code) == ("settings", "configuration")
    assert "export ZEROTRUST_BROKER_URL=" in said


@pytest.mark.parametrize("text", ["[libdefaults\n", "[libdefaults]\n    dns_lookup_realm = false\n"])
def test_a_krb5_conf_that_cannot_be_read_or_names_no_realm(clinic: Clinic, text: str) -> None:
    check, _, said = clinic.first(**krb5_conf(clinic, lambda _: text))
    assert check == "krb5.conf"
    assert str(clinic.home / "krb5.conf") in said


def test_no_kdc_answers(clinic: Clinic) -> None:
    port = closed_port()
    more = krb5_conf(clinic, lambda text: text.replace(f":{clinic.realm.port}", f":{port}"))
    check, code, said = clinic.first(**more)
    assert (check, code) == ("KDC", "kdc_unreachable")
    assert f"asked 127.0.0.1:{port}" in said


def test_a_kdc_that_never_answers_is_given_up(clinic: Clinic) -> None:
    with front_door.black_hole() as port:
        more = krb5_conf(clinic, lambda text: text.replace(f":{clinic.realm.port}", f":{port}"))
        found = clinic.findings("--timeout", "0.5", **more)
    assert (found["KDC"]["code"], found["service name"]["code"]) == ("kdc_unreachable", "kdc_unreachable")
    assert "no answer in 0.5 s" in found["KDC"]["evidence"]
    assert found["sign-in"]["verdict"] == "unseen"


def test_no_kdc_is_named(clinic: Clinic) -> None:
    more = krb5_conf(clinic, lambda text: text.replace("EXAMPLE.COM = {", "ELSEWHERE.COM = {"))
    check, code, said = clinic.first(**more)
    assert (check, code) == ("KDC", "kdc_unreachable")
    assert "Cannot find KDC for realm" in said


def test_no_ticket(clinic: Clinic) -> None:
    check, code, said = clinic.first(KRB5CCNAME=f"FILE:{clinic.home}/none")
    assert (check, code) == ("ticket", "no_ticket")
    assert said.endswith("— run: zerotrust login")


def test_a_ticket_that_ended(clinic: Clinic) -> None:
    clinic.realm.kinit("alice", clinic.home / "ccache", lifetime=timedelta(seconds=1))
    time.sleep(1.5)
    check, code, said = clinic.first()
    assert (check, code) == ("ticket", "ticket_expired")
    assert "ended at " in said


@pytest.mark.parametrize(("shift", "said"), [("+20m", "s ahead of the KDC's"), ("-20m", "s behind the KDC's")])
def test_a_wrong_clock_of_this_machine(clinic: Clinic, shift: str, said: str) -> None:
    check, code, found = clinic.first(LD_PRELOAD=FAKETIME, FAKETIME=shift, FAKETIME_DONT_FAKE_MONOTONIC="1")
    assert (check, code) == ("clock (KDC)", "clock_skew")
    assert re.search(rf"(119\d|120\d) {said}", found)


def test_a_wrong_clock_of_the_broker_and_of_aws(clinic: Clinic) -> None:
    clinic.ahead = 3600
    found = clinic.findings()
    assert found["clock (KDC)"]["verdict"] == "ok"
    assert "behind the broker's" in found["clock (broker)"]["evidence"]
    assert "behind AWS's" in found["clock (AWS)"]["evidence"]


def test_a_kdc_that_asks_for_no_proof_says_its_time_too(clinic: Clinic) -> None:
    clinic.realm.add_principal("lax", "x", options=["-requires_preauth"])
    clinic.env |= clinic.realm.kinit("lax", clinic.home / "lax")
    assert clinic.findings()["clock (KDC)"]["verdict"] == "ok"


def test_a_service_that_the_kdc_does_not_know(clinic: Clinic) -> None:
    check, code, said = clinic.first(ZEROTRUST_SPN="HTTP@nowhere.example")
    assert (check, code) == ("service name", "service_unknown")
    assert "HTTP@nowhere.example" in said


def test_a_name_that_dns_turns_into_another_one_is_named_and_the_fix_works(clinic: Clinic) -> None:
    def canonical(text: str) -> str:
        return text.replace("hostname = false", "hostname = true").replace("rdns = false", "rdns = true")

    more = krb5_conf(clinic, canonical) | {"ZEROTRUST_BROKER_URL": clinic.door.url.replace("localhost", "127.0.0.1")}
    found = clinic.findings(**more)["service name"]
    assert found["verdict"] == "warn"
    assert "makes HTTP/localhost of it by DNS" in found["evidence"]
    assert found["fix"] == "export ZEROTRUST_SPN=HTTP/127.0.0.1@EXAMPLE.COM"
    variable, _, value = found["fix"].removeprefix("export ").partition("=")
    assert clinic.findings(**more, **{variable: value})["sign-in"]["verdict"] == "ok"


def test_a_name_that_dns_turns_into_one_that_the_kdc_does_not_know(clinic: Clinic, tmp_path: Path) -> None:
    with Realm.start(tmp_path / "other", principals={"bob": "x"}, services=("HTTP/127.0.0.1",)) as realm:
        other = Clinic(realm, clinic.door, tmp_path / "other", realm.kinit("bob", tmp_path / "bob"))
        text = (
            Path(realm.env["KRB5_CONFIG"])
            .read_text()
            .replace("= false", "= true")
            .replace("weak_crypto = true", "weak_crypto = false")
        )
        (tmp_path / "krb5.conf").write_text(re.sub(r"dns_lookup_(kdc|realm) = true", r"dns_lookup_\1 = false", text))
        url = clinic.door.url.replace("localhost", "127.0.0.1")
        check, code, said = other.first(KRB5_CONFIG=str(tmp_path / "krb5.conf"), ZEROTRUST_BROKER_URL=url)
    assert (check, code) == ("service name", "service_unknown")
    assert "krb5.conf makes HTTP/localhost of it by DNS" in said
    assert said.endswith("export ZEROTRUST_SPN=HTTP/127.0.0.1@EXAMPLE.COM")


# ---- the way to the broker ----


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        ({"known": False}, "unable to get local issuer certificate"),
        ({"host": "other.example"}, "certificate is not valid for 'localhost'"),
        ({"days": -1}, "certificate has expired"),
    ],
)
def test_a_certificate_that_is_not_to_be_trusted(
    clinic: Clinic, tmp_path: Path, shown: dict[str, Any], said: str
) -> None:
    with tls_door(clinic, tmp_path, **shown) as more:
        check, code, found = clinic.first(**more)
    assert (check, code) == ("TLS", "tls_untrusted")
    assert said in found


def test_a_certificate_that_ends_soon_and_a_ca_file_that_is_not_there(clinic: Clinic, tmp_path: Path) -> None:
    with tls_door(clinic, tmp_path, days=3) as more:
        assert clinic.findings(**more)["TLS"]["verdict"] == "warn"
        check, code, said = clinic.first(**more | {"ZEROTRUST_CA_FILE": "/nowhere.pem"})
    assert (check, code) == ("TLS", "configuration")
    assert "ca_file /nowhere.pem: No such file" in said


def _say_http(listener: socket.socket) -> None:
    """To everybody, until the listener is shut down."""
    with contextlib.suppress(OSError):
        while True:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(ConnectionError):
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def test_a_server_that_speaks_no_tls(clinic: Clinic) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        plain = threading.Thread(target=_say_http, args=(listener,), daemon=True)
        plain.start()
        check, code, _ = clinic.first(ZEROTRUST_BROKER_URL=f"https://localhost:{listener.getsockname()[1]}")
        listener.shutdown(socket.SHUT_RDWR)
        plain.join()
    assert (check, code) == ("TLS", "tls_failed")


def test_a_name_that_dns_does_not_know(clinic: Clinic) -> None:
    check, code, said = clinic.first(ZEROTRUST_BROKER_URL="https://nowhere.invalid:8443")
    assert (check, code) == ("address", "broker_unreachable")
    assert "getent hosts nowhere.invalid" in said


def test_a_broker_that_is_down(clinic: Clinic) -> None:
    check, code, said = clinic.first(ZEROTRUST_BROKER_URL=f"http://localhost:{closed_port()}")
    assert (check, code) == ("door", "broker_unreachable")
    assert "Connection refused" in said
    assert "/healthz" in said


def test_a_server_that_offers_ntlm_only(clinic: Clinic) -> None:
    clinic.challenge = ["WWW-Authenticate: NTLM", "Server: Microsoft-IIS/10.0"]
    check, code, said = clinic.first()
    assert (check, code) == ("door", "unexpected_answer")
    assert "asks for no Kerberos ticket (HTTP status 401 ntlm, Microsoft-IIS/10.0): probably a Windows server" in said


def test_a_server_that_is_no_broker(clinic: Clinic) -> None:
    clinic.door.reply = lambda visit: visit.answer(200, b"hello")
    check, _, said = clinic.first()
    assert check == "door"
    assert "HTTP status 200" in said
    assert clinic.findings()["sign-in"]["code"] == "mutual_auth_failed"


def test_a_broker_that_does_not_take_the_ticket(clinic: Clinic) -> None:
    refused = front_door.problem(401, "auth_failed", "WWW-Authenticate: Negotiate", f"Date: {formatdate(usegmt=True)}")
    clinic.door.reply = refused
    check, code, _ = clinic.first()
    assert (check, code) == ("sign-in", "auth_failed")


@pytest.mark.parametrize(
    ("verdict", "code"),
    [("denied", "access_denied"), ("step_up", "step_up_required"), ("approval", "approval_required")],
)
def test_a_role_that_cannot_be_had_now(clinic: Clinic, verdict: str, code: str) -> None:
    clinic.verdict |= {"verdict": verdict, "hint": "sign in with a key"}
    found = clinic.findings("--role", "admin")["role"]
    assert (found["verdict"], found["code"], found["evidence"]) == ("bad", code, "admin: sign in with a key")
