"""The installed `zerotrust-admin` against a real broker: how it finds it, what it signs, and what it says where it fails."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from broker import wire, wire_operators
from tests.fakes import front_door
from tests.fakes.broker import BrokerProcess, configuration
from tests.fakes.certificates import server_certificate
from tests.fakes.front_door import FrontDoor
from tests.fakes.operator import Operator, addresses, last
from tests.fakes.realm import Realm
from tests.fakes.request_signer import RequestSigner

NO_STS = "http://127.0.0.1:1"
ROOT = "root/admin@EXAMPLE.COM"
KEYS = {"ed25519": RequestSigner.ed25519(), "p256": RequestSigner.p256()}
LINE = re.compile(r"\S.* \[(\w+)\] — run: \S.*\n")


@pytest.fixture(scope="module")
def keytab(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return realm.keytab(tmp_path_factory.mktemp("keytab") / "http.keytab", "HTTP/localhost")


@pytest.fixture(scope="module")
def broker(realm: Realm, keytab: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerProcess]:
    folder = tmp_path_factory.mktemp("b")
    shown = server_certificate(folder / "tls", "ecdsa-sha256")
    settings = configuration(
        folder,
        keytab=keytab,
        sts_endpoint=NO_STS,
        server={"listen": ["https://127.0.0.1:0"], "hostnames": ["localhost"]},
        tls={"certificate": str(shown.certificate), "private_key": str(shown.key)},
        admin={
            "socket": str(folder / "s"),
            "principals": [ROOT],
            "require_signed_requests": True,
            "signing_keys": [{"principal": ROOT, "public_key": key.public_pem} for key in KEYS.values()],
        },
    )
    settings["kerberos"]["channel_binding"] = "require"
    with BrokerProcess(folder, settings, env=realm.env) as started:
        yield started


@pytest.fixture(scope="module")
def root(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Operator:
    return Operator(realm, "root/admin", tmp_path_factory.mktemp("root") / "ccache")


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return written(tmp_path / "key.pem", KEYS["ed25519"].private_pem)


def written(path: Path, text: str, *, mode: int = 0o600) -> Path:
    path.touch(mode=0o600)
    path.write_text(text)
    path.chmod(mode)
    return path


def by_https(broker: BrokerProcess) -> list[str]:
    return ["--url", addresses(broker)["https"], "--ca-file", str(broker.folder / "tls" / "server.crt")]


def code_of(done: Any) -> str:
    """The code of the one line that a failure says, and nothing on stdout."""
    found = LINE.fullmatch(done.stderr)
    assert found, done.stderr
    assert done.stdout == ""
    return found[1]


# ---- the ways to the broker ----


@pytest.mark.parametrize("kind", KEYS)
def test_over_tls_the_ticket_is_bound_and_the_request_signed(
    broker: BrokerProcess, root: Operator, tmp_path: Path, kind: str
) -> None:
    key = written(tmp_path / "key.pem", KEYS[kind].private_pem)
    done = root.admin("whoami", *by_https(broker), "--signing-key", str(key), "--json")
    assert done.returncode == 0, done.stderr
    assert (json.loads(done.stdout)["principal"], json.loads(done.stdout)["signed_by"]) == (ROOT, KEYS[kind].keyid)
    assert (last(broker)["channel_bound"], last(broker)["signed_by"]) == (True, KEYS[kind].keyid)


def test_the_socket_is_found_by_flag_environment_and_configuration(
    broker: BrokerProcess, root: Operator, key: Path
) -> None:
    path, signing = str(broker.folder / "s"), {"ZEROTRUST_ADMIN_SIGNING_KEY": str(key)}
    aws = {"AWS_ACCESS_KEY_ID": "AKIATESTTESTTESTTEST", "ZEROTRUST_AWS_SECRET_KEY": "x"}
    for words, env in (
        (["--socket", path], {"ZEROTRUST_HOST": "localhost"}),
        ([], {"ZEROTRUST_HOST": "localhost", "ZEROTRUST_ADMIN_SOCKET": path}),
        ([], {"ZEROTRUST_CONFIG": str(broker.config), **aws}),
        (["--config", str(broker.config)], {**aws, "ZEROTRUST_BROKER_URL": "https://nowhere.example"}),
    ):
        done = root.admin("whoami", *words, **env, **signing)
        assert (done.returncode, done.stdout.splitlines()[0].split(",")[0]) == (0, ROOT), done.stderr
        assert "peer_uid" in last(broker)


def test_elsewhere_the_broker_of_the_users_side_is_asked(broker: BrokerProcess, root: Operator, key: Path) -> None:
    _, url, _, authority = by_https(broker)
    env = {"ZEROTRUST_BROKER_URL": url, "ZEROTRUST_CA_FILE": authority, "ZEROTRUST_ADMIN_SIGNING_KEY": str(key)}
    assert root.admin("whoami", **env).returncode == 0
    # A flag goes before a variable.
    assert root.admin("whoami", "--url", url, **{**env, "ZEROTRUST_ADMIN_SOCKET": "/nowhere"}).returncode == 0


# ---- what it says where it fails ----


def test_refusals_are_one_line_with_a_fix_and_a_status(
    broker: BrokerProcess, root: Operator, realm: Realm, tmp_path: Path, key: Path
) -> None:
    mallory = Operator(realm, "mallory", tmp_path / "mallory")
    where = by_https(broker)
    unsigned = root.admin("whoami", *where)
    assert (unsigned.returncode, code_of(unsigned)) == (3, "signature_refused")
    assert unsigned.stderr.endswith("run: export ZEROTRUST_ADMIN_SIGNING_KEY=/path/to/key.pem\n")
    denied = mallory.admin("whoami", *where, "--signing-key", str(key))
    assert (denied.returncode, code_of(denied)) == (4, "access_denied")
    assert denied.stderr.endswith("run: klist\n")
    unknown = root.admin("cancel-pass", "--user", "alice", "0" * 32, *where, "--signing-key", str(key))
    assert (unknown.returncode, code_of(unknown)) == (2, "bad_request")
    assert "as klist prints it" in unknown.stderr
    root.env["KRB5CCNAME"], kept = f"FILE:{tmp_path}/none", root.env["KRB5CCNAME"]
    nobody = root.admin("whoami", *where)
    root.env["KRB5CCNAME"] = kept
    assert (nobody.returncode, code_of(nobody)) == (3, "no_ticket")
    untrusted = root.admin("whoami", *where[:2])
    assert (untrusted.returncode, code_of(untrusted)) == (5, "tls_untrusted")
    away = root.admin("whoami", "--socket", f"{tmp_path}/none", ZEROTRUST_HOST="localhost")
    assert (away.returncode, code_of(away)) == (5, "broker_unreachable")
    assert f"--unix-socket {tmp_path}/none" in away.stderr


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: written(folder / "k", KEYS["p256"].private_pem, mode=0o644),
        lambda folder: written(folder / "k", KEYS["p256"].public_pem),
        lambda folder: written(folder / "k", "no key"),
        lambda folder: folder / "missing",
        lambda folder: folder,
    ],
    ids=["open to others", "a public key", "no key", "missing", "a folder"],
)
def test_a_signing_key_that_cannot_be_used_is_a_fault_of_the_settings(
    broker: BrokerProcess, root: Operator, tmp_path: Path, make: Any
) -> None:
    before = len(broker.records())
    done = root.admin("whoami", *by_https(broker), "--signing-key", str(make(tmp_path)))
    assert (done.returncode, code_of(done)) == (78, "configuration")
    assert len(broker.records()) == before


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--url", "https://localhost", "--socket", "/s"],
        ["--url", "http://broker.example.com"],
        ["--url", "ftp://localhost"],
        ["--socket", "relative"],
    ],
    ids=str,
)
def test_settings_that_name_no_broker_end_with_78(root: Operator, words: list[str]) -> None:
    done = root.admin("whoami", *words)
    assert (done.returncode, code_of(done)) == (78, "configuration")


def test_a_configuration_that_cannot_be_used_ends_with_78_and_its_lines(root: Operator, tmp_path: Path) -> None:
    config = written(tmp_path / "config.yaml", "server: {}\n")
    done = root.admin("whoami", "--config", str(config))
    assert (done.returncode, done.stdout) == (78, "")
    assert f"{config}:" in done.stderr


def test_nobody_is_believed_who_does_not_prove_to_be_the_broker(root: Operator, keytab: Path, tmp_path: Path) -> None:
    told = wire_operators.operator_body(
        principal=ROOT, realm="EXAMPLE.COM", ticket_ends="x", version="x", signed_by=None, must_sign=False
    )
    with FrontDoor.unix(keytab, tmp_path / "s") as impostor:
        for reply, code in (
            (front_door.body(told), None),
            (lambda visit: visit.answer(200, told, f"Content-Type: {wire.JSON}"), "mutual_auth_failed"),
            (lambda visit: visit.answer(200, told, visit.negotiate(b"x" * 40)), "mutual_auth_failed"),
            (front_door.body(b"[]"), "unexpected_answer"),
        ):
            impostor.reply = reply
            done = root.admin("whoami", "--socket", f"{tmp_path}/s", ZEROTRUST_HOST="localhost")
            if code is None:
                assert done.returncode == 0, done.stderr
            else:
                assert (done.returncode != 0, code_of(done)) == (True, code)


def test_a_signing_key_in_the_brokers_own_environment_is_no_fault(broker: BrokerProcess, root: Operator) -> None:
    env = {"ZEROTRUST_ADMIN_SIGNING_KEY": "/x", "AWS_ACCESS_KEY_ID": "AKIATESTTESTTESTTEST"}
    done = root.admin("audit", "verify", "--config", str(broker.config), ZEROTRUST_AWS_SECRET_KEY="x", **env)
    assert done.returncode == 0, done.stderr
