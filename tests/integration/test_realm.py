"""The throw-away realm, tried with the real Kerberos programs and GSS-API: what the other tests take for granted."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
from datetime import timedelta
from pathlib import Path

import gssapi
import pytest

from tests.fakes import realm as realm_module
from tests.fakes.realm import ENCTYPES, Realm, RealmError, linked_realms

KRB5_RAW = "1.2.840.113554.1.2.2"


def accept(realm: Realm, keytab: Path, token: bytes) -> str:
    """The initiator's name that an acceptor of this keytab finds in a token."""
    with realm.entered():
        credentials = gssapi.Credentials(usage="accept", store={"keytab": str(keytab), "rcache": "none:"})
        # The raw call raises for a bad ticket at once; SecurityContext.step would return the error token instead.
        accepted = gssapi.raw.accept_sec_context(token, acceptor_creds=credentials)
        return str(gssapi.Name(accepted.initiator_name))


def klist(realm: Realm, *arguments: str) -> str:
    done = subprocess.run(
        ["klist", *arguments],
        env={**os.environ, **realm.env, "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.fixture
def own_realm(tmp_path: Path) -> Realm:
    with Realm.start(tmp_path / "realm", principals={"alice": 'a "quoted" pass word'}) as realm:
        yield realm


def test_a_ticket_from_kinit_makes_a_token_that_the_keytab_reads(realm: Realm, tmp_path: Path) -> None:
    alice = realm.kinit("alice", tmp_path / "alice.ccache")
    keytab = realm.keytab(tmp_path / "http.keytab", "HTTP/localhost")
    assert accept(realm, keytab, realm.client_token(alice)) == "alice@EXAMPLE.COM"
    assert accept(realm, keytab, realm.client_token(alice, mechanism=KRB5_RAW)) == "alice@EXAMPLE.COM"


def test_a_user_of_the_partner_realm_reaches_the_service_through_the_trust(
    realm: Realm, partner_realm: Realm, tmp_path: Path
) -> None:
    paula = partner_realm.kinit("paula", tmp_path / "paula.ccache")
    keytab = realm.keytab(tmp_path / "http.keytab", "HTTP/localhost")
    assert accept(realm, keytab, partner_realm.client_token(paula)) == "paula@PARTNER.EXAMPLE"


def test_two_users_of_one_name_keep_their_realms(realm: Realm, partner_realm: Realm, tmp_path: Path) -> None:
    keytab = realm.keytab(tmp_path / "http.keytab", "HTTP/localhost")
    ours = realm.client_token(realm.kinit("alice", tmp_path / "ours"))
    theirs = partner_realm.client_token(partner_realm.kinit("alice", tmp_path / "theirs"))
    assert accept(realm, keytab, ours) == "alice@EXAMPLE.COM"
    assert accept(realm, keytab, theirs) == "alice@PARTNER.EXAMPLE"


def test_one_process_can_speak_to_unrelated_realms_in_turn(tmp_path: Path) -> None:
    with (
        Realm.start(tmp_path / "a", name="A.EXAMPLE", principals={"ann": "1"}) as a,
        Realm.start(tmp_path / "b", name="B.EXAMPLE", principals={"bea": "2"}) as b,
    ):
        keytabs = {r: r.keytab(tmp_path / f"{r.name}.keytab", "HTTP/localhost") for r in (a, b)}
        clients = {a: a.kinit("ann", tmp_path / "ann"), b: b.kinit("bea", tmp_path / "bea")}
        seen = [accept(r, keytabs[r], r.client_token(clients[r])) for r in (a, b, a)]
    assert seen == ["ann@A.EXAMPLE", "bea@B.EXAMPLE", "ann@A.EXAMPLE"]


def test_a_wrong_password_is_refused(realm: Realm, tmp_path: Path) -> None:
    with pytest.raises(RealmError, match="Password incorrect"):
        realm.kinit("alice", tmp_path / "ccache", password="guess")


def test_a_complaint_of_kadmin_is_an_error_although_it_exits_with_zero(own_realm: Realm) -> None:
    with pytest.raises(RealmError, match="already exists"):
        own_realm.add_principal("alice", "other")


def test_a_ticket_lives_as_long_as_was_asked_for(own_realm: Realm, tmp_path: Path) -> None:
    alice = own_realm.kinit("alice", tmp_path / "ccache", lifetime=timedelta(minutes=20))
    with own_realm.entered():
        left = gssapi.Credentials(usage="initiate", store={"ccache": alice["KRB5CCNAME"]}).lifetime
    assert timedelta(minutes=19).total_seconds() < left <= timedelta(minutes=20).total_seconds()


def test_a_keytab_is_for_its_owner_only_and_holds_aes_keys_only(own_realm: Realm, tmp_path: Path) -> None:
    keytab = own_realm.keytab(tmp_path / "http.keytab", "HTTP/localhost")
    assert stat.S_IMODE(keytab.stat().st_mode) == 0o600
    listed = klist(own_realm, "-ke", str(keytab)).splitlines()[3:]
    assert sorted(line.split("(")[1].rstrip(") ") for line in listed) == sorted(ENCTYPES)


def test_after_a_rotation_old_tickets_are_read_by_a_new_keytab_with_both_versions(
    own_realm: Realm, tmp_path: Path
) -> None:
    alice = own_realm.kinit("alice", tmp_path / "ccache")
    own_realm.client_token(alice)  # The service ticket in the cache is now of the first key.
    own_realm.rotate("HTTP/localhost")
    keytab = own_realm.keytab(tmp_path / "http.keytab", "HTTP/localhost")
    assert accept(own_realm, keytab, own_realm.client_token(alice)) == "alice@EXAMPLE.COM"


def test_after_a_rotation_without_the_old_key_old_tickets_are_refused(own_realm: Realm, tmp_path: Path) -> None:
    alice = own_realm.kinit("alice", tmp_path / "ccache")
    own_realm.client_token(alice)
    own_realm.rotate("HTTP/localhost", keepold=False)
    keytab = own_realm.keytab(tmp_path / "http.keytab", "HTTP/localhost")
    with pytest.raises(gssapi.exceptions.GSSError):
        accept(own_realm, keytab, own_realm.client_token(alice))


def test_a_new_keytab_replaces_the_old_one_and_leaves_nothing_beside_it(own_realm: Realm, tmp_path: Path) -> None:
    folder = tmp_path / "keytabs"
    folder.mkdir()
    for _ in range(2):
        own_realm.keytab(folder / "http.keytab", "HTTP/localhost")
    assert [path.name for path in folder.iterdir()] == ["http.keytab"]
    assert len(klist(own_realm, "-k", str(folder / "http.keytab")).splitlines()[3:]) == len(ENCTYPES)


def test_the_kdc_listens_on_loopback_only(own_realm: Realm) -> None:
    port = f"{own_realm.port:04X}"
    listening = set()
    for table in ("tcp", "udp", "tcp6", "udp6"):
        lines = Path(f"/proc/net/{table}").read_text(encoding="ascii").splitlines()[1:]
        # Of TCP only what listens (TCP_LISTEN): a client of another test may have come from a port of the same number.
        heard = [line.split() for line in lines if table.startswith("udp") or line.split()[3] == "0A"]
        addresses = [words[1].split(":") for words in heard]
        listening |= {(table, address) for address, its_port in addresses if its_port == port}
    # 127.0.0.1 as the kernel prints it: one little-endian number.
    assert listening == {("tcp", "0100007F"), ("udp", "0100007F")}


def test_stop_ends_the_kdc_and_start_kdc_brings_it_back_with_its_users(own_realm: Realm, tmp_path: Path) -> None:
    own_realm.stop()
    with pytest.raises(RealmError, match="Cannot contact any KDC"):
        own_realm.kinit("alice", tmp_path / "ccache")
    own_realm.start_kdc()
    own_realm.kinit("alice", tmp_path / "ccache")
    assert "alice@EXAMPLE.COM" in klist(own_realm, "-c", str(tmp_path / "ccache"))


def test_a_port_that_somebody_took_meanwhile_is_given_up_for_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as squatter:
        taken = squatter.getsockname()[1]
        ports = iter([taken, realm_module.free_port()])
        monkeypatch.setattr(realm_module, "free_port", lambda: next(ports))
        with Realm.start(tmp_path / "realm", principals={"alice": "x"}) as realm:
            assert realm.port != taken
            realm.kinit("alice", tmp_path / "ccache")


def test_a_missing_program_is_named_with_the_fix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(realm_module.shutil, "which", lambda *_, **__: None)
    with pytest.raises(RealmError, match="kdb5_util is not installed; run: make setup"):
        Realm.start(tmp_path / "realm")


def test_linked_realms_end_with_their_block(tmp_path: Path) -> None:
    with linked_realms(tmp_path, services=()) as pair:
        ports = [realm.port for realm in pair]
    for port in ports:
        with socket.create_server(("127.0.0.1", port)):
            pass
