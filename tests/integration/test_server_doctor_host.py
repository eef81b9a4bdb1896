"""`zerotrust-admin doctor` on a broker's host: files, disks, certificates, keys, the log, the unit; each fault is real."""

from __future__ import annotations

import ast
import contextlib
import datetime as dt
import itertools
import json
import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from broker.assembly.doctor import table
from broker.assembly.doctor.table import CHECKS, Check, look
from broker.assembly.doctor.unit import installed
from tests.fakes.broker import PROGRAMS
from tests.fakes.certificates import server_certificate
from tests.fakes.disk import Disk
from tests.fakes.hsm import SoftHsm
from tests.fakes.realm import Realm
from tests.fakes.sts import StrictSts, demo_world
from tests.fakes.ward import Ward

ROOT = Path(__file__).parents[2]
NOBODY = pwd.getpwnam("nobody")
CLOSED = "127.0.0.1:1"
_CODE = re.compile(r"[a-z]+(_[a-z]+)+")
# Not ours: a system call, reasons of STS's client, and what Redis says of itself.
_OTHERS = {
    "memfd_secret",
    "sts_unreachable",
    "sts_timeout",
    "server_time_usec",
    "maxmemory_policy",
    "aof_enabled",
    "connected_slaves",
}


@pytest.fixture(scope="module")
def keytab(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return realm.keytab(tmp_path_factory.mktemp("keys") / "keytab", "HTTP/localhost")


@pytest.fixture
def ward(keytab: Path, realm: Realm, tmp_path: Path) -> Iterator[Ward]:
    with realm.entered():
        yield Ward(tmp_path / "host", keytab, "http://127.0.0.1:1")


# ---- the frame ----


def test_a_check_that_hangs_or_breaks_holds_up_nobody_and_passes_nothing(
    ward: Ward, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def hangs(_: object) -> Any:
        # In the kernel, as a dead disk does.
        with pipe.open() as never:
            return never.read()

    def breaks(_: object) -> Any:
        raise RuntimeError("secret words")

    ill = {"disk": Check(hangs, late="disk_stuck", seconds=0.1), "TLS": Check(hangs, seconds=0.1), "HSM": Check(breaks)}
    monkeypatch.setattr(table, "CHECKS", ill)
    found = [(one.verdict, one.code, one.evidence) for name in ill for one in look(ill[name], None)]  # type: ignore[arg-type]
    assert found == [
        ("bad", "disk_stuck", "no answer in 0.1 s"),
        ("unseen", "", "no answer in 0.1 s"),
        ("unseen", "", "this check failed itself: RuntimeError"),
    ]


def test_a_configuration_that_would_not_start_is_78_and_the_host_is_looked_at_all_the_same(ward: Ward) -> None:
    ward.settings["audit"]["folder"] = ward.settings["audit"].pop("directory")
    ward.write()
    found = ward.findings()
    faults = [one for one in found if one["check"] == "configuration"]
    assert {(one["verdict"], one["code"]) for one in faults} == {("bad", "config_invalid")}
    assert any("audit.folder" in one["evidence"] for one in faults)
    others = {one["verdict"] for one in found if one["check"] in ("disk", "keytab", "TLS", "Redis", "audit log")}
    assert others == {"unseen"}
    assert [one["verdict"] for one in found if one["check"] == "versions"] == ["ok"]


@pytest.mark.parametrize("fault", ["open", "foreign", "link"])
def test_a_key_file_that_somebody_else_can_get_at_is_a_fault_of_the_configuration(ward: Ward, fault: str) -> None:
    key = Path(ward.settings["encryption"]["key_file"])
    if fault == "open":
        key.chmod(0o644)
    elif fault == "foreign":
        os.chown(key, NOBODY.pw_uid, NOBODY.pw_gid)
    else:
        key.rename(key.with_name("real"))
        key.symlink_to("real")
    [(_, code, evidence)] = ward.ill("configuration")
    assert (code, "encryption.key: the file " in evidence) == ("config_invalid", True)


def test_a_folder_in_which_others_can_exchange_files_is_named_up_to_the_root(ward: Ward) -> None:
    assert ward.ill("permissions") == []
    secrets = ward.folder / "secrets"
    secrets.mkdir()
    key = Path(ward.settings["encryption"]["key_file"]).rename(secrets / "key")
    ward.settings["encryption"]["key_file"] = str(key)
    ward.write()
    secrets.chmod(0o777)
    os.chown(ward.folder, NOBODY.pw_uid, -1)
    found = {(code, evidence.split()[0]) for _, code, evidence in ward.ill("permissions")}
    assert found == {("folder_open", str(secrets)), ("folder_foreign", str(ward.folder))}


def test_folders_that_the_broker_writes_to_are_its_own_and_closed(ward: Ward) -> None:
    audit = ward.folder / "audit"
    audit.chmod(0o755)
    assert [code for _, code, _ in ward.ill("permissions")] == ["folder_open"]
    audit.chmod(0o750)
    os.chown(audit, NOBODY.pw_uid, -1)
    assert [(code, "nobody" in evidence) for _, code, evidence in ward.ill("permissions")] == [
        ("folder_of_another", True)
    ]
    audit.rmdir()
    assert [code for _, code, _ in ward.ill("permissions")] == ["folder_missing"]


def test_root_becomes_the_account_of_the_unit_and_sees_what_that_sees(ward: Ward, tmp_path: Path) -> None:
    """The configuration is readable to root alone, so the account named by the unit cannot read it."""
    units = unit(tmp_path, drop_in="[Service]\nUser=nobody\nEnvironment=ZEROTRUST_AUDIT_DIRECTORY=/nowhere\n")
    command = [PROGRAMS / "zerotrust-admin", "doctor", "--only", "account,configuration", "--config", ward.config]
    env = {**ward.env, "SYSTEMD_UNIT_PATH": str(units)}
    for folder in (tmp_path, *tmp_path.parents[:-2]):
        folder.chmod(0o755)
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (78, "")
    assert "ok   account          looks as nobody" in done.stdout
    assert "cannot be opened (Permission denied)" in done.stdout


def test_an_account_of_the_unit_that_nobody_made_is_named(
    ward: Ward, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.assembly.doctor.examine._become", lambda _: None)
    ward.environ["SYSTEMD_UNIT_PATH"] = str(unit(tmp_path, drop_in="[Service]\nUser=no-such-account\n"))
    [(verdict, code, evidence)] = ward.said_by("account")
    assert (verdict, code) == ("bad", "account_missing")
    assert "runs as no-such-account" in evidence


# ---- disks, certificates ----


def test_a_full_disk_one_without_inodes_and_one_that_is_read_only_are_told_apart(ward: Ward, tmp_path: Path) -> None:
    with Disk(tmp_path) as disk:
        ward.settings["audit"]["directory"] = str(disk.path)
        ward.write()
        disk.fill()
        [(_, code, evidence)] = ward.ill("disk")
        assert (code, ": 0 MiB free" in evidence) == ("disk_full", True)
        disk.empty()
        # Room, and for no file more: how that is seen is another command than how a disk is full.
        with contextlib.suppress(OSError):
            for number in itertools.count():
                (disk.path / str(number)).touch()
        [one] = ward.findings("--only", "disk")
        assert (one["code"], one["fix"].split("/")[0], " 0 inodes" in one["evidence"]) == ("disk_full", "df -i ", True)
        disk.remount("ro")
        assert [code for _, code, _ in ward.ill("disk")] == ["disk_read_only"]


def test_a_certificate_is_held_against_the_names_the_time_and_its_own_chain(ward: Ward, tmp_path: Path) -> None:
    def shown(days: int, *, host: str = "localhost") -> list[str]:
        made = server_certificate(tmp_path / f"tls{days}{host}", "ecdsa-sha256", host=host, days=days)
        ward.settings["tls"] = {"certificate": str(made.certificate), "private_key": str(made.key)}
        ward.write()
        return [code for _, code, _ in ward.ill("TLS")]

    assert shown(90) == []
    assert shown(10) == ["certificate_ends_soon"]
    assert shown(0) == ["certificate_expired"]
    assert shown(90, host="other.example.com") == ["certificate_wrong_name"]
    assert shown(90, host="*.localhost") == ["certificate_wrong_name"]
    other = server_certificate(tmp_path / "other", "ecdsa-sha256", days=90)
    chain = Path(server_certificate(tmp_path / "chain", "ecdsa-sha256", days=90).certificate)
    chain.write_bytes(chain.read_bytes() + other.pem)
    ward.settings["tls"] = {"certificate": str(chain), "private_key": str(chain.with_name("server.key"))}
    ward.write()
    assert [code for _, code, _ in ward.ill("TLS")] == ["certificate_chain"]


def test_a_chain_whose_issuer_did_sign_is_well_and_an_issuer_that_ended_is_not(ward: Ward, tmp_path: Path) -> None:
    for days, codes in ((90, []), (0, ["certificate_expired"])):
        certificate, key = issued(tmp_path, issuer_days=days)
        ward.settings["tls"] = {"certificate": str(certificate), "private_key": str(key)}
        ward.write()
        assert [code for _, code, _ in ward.ill("TLS")] == codes


# ---- keys, sinks, the log ----


def test_an_hsm_that_is_gone_and_a_pin_that_is_wrong_are_told_apart(
    ward: Ward, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hsm = SoftHsm.make(tmp_path / "hsm").make_key()
    monkeypatch.setenv("SOFTHSM2_CONF", str(hsm.configuration))
    ward.settings["encryption"]["hsm"] = hsm.section
    ward.write()
    [(verdict, _, evidence)] = ward.said_by("HSM")
    assert (verdict, evidence.startswith("checkpoints: signs with")) == ("ok", True)
    (hsm.folder / "pin").write_text("654987\n")
    assert [code for _, code, _ in ward.ill("HSM")] == ["hsm_refused"]
    (hsm.folder / "pin").write_text(f"{hsm.user_pin}\n")
    hsm.take_away()
    assert [code for _, code, _ in ward.ill("HSM")] == ["hsm_unavailable"]


def test_a_master_key_and_a_vault_of_others_that_do_not_answer_are_named(ward: Ward) -> None:
    token = ward.folder / "token"
    token.touch(mode=0o600)
    token.write_text("canary-token\n")
    login = {"url": f"http://{CLOSED}", "auth_method": "token", "token_file": str(token)}
    ward.settings["encryption"] = {"master": {"provider": "vault-transit", "config": {**login, "key_name": "broker"}}}
    ward.settings["secrets"] = {"provider": "hashicorp", "config": login}
    ward.write()
    result = ward.run("--only", "master key,vault,keyring", "--json")
    assert [one.get("code") for one in json.loads(result.stdout)] == [
        "master_unavailable",
        None,
        "vault_unavailable",
    ]
    assert "canary-token" not in result.output


def test_a_vault_of_ours_that_others_may_read_and_one_that_is_none_are_told_apart_and_left_as_they_are(
    ward: Ward,
) -> None:
    assert [verdict for verdict, _, _ in ward.said_by("vault")] == ["unseen"]
    vault = ward.folder / "audit" / "vault.sqlite"
    vault.touch(mode=0o600)
    assert ward.ill("vault") == []
    vault.write_bytes(b"no database")
    assert [code for _, code, _ in ward.ill("vault")] == ["vault_damaged"]
    vault.chmod(0o644)
    assert [(verdict, code) for verdict, code, _ in ward.ill("vault")] == [("bad", "vault_unsafe")]
    assert (vault.read_bytes(), vault.stat().st_mode & 0o777) == (b"no database", 0o644)


def test_a_keyring_that_was_tampered_with_is_named_and_left_as_it_is(ward: Ward) -> None:
    assert [verdict for verdict, _, _ in ward.said_by("keyring")] == ["ok"]
    ring = ward.folder / "audit" / "keyring"
    ring.touch(mode=0o600)
    ring.write_bytes(b"not a keyring")
    assert [code for _, code, _ in ward.ill("keyring")] == ["keyring_unusable"]
    assert ring.read_bytes() == b"not a keyring"


def test_a_bit_that_is_turned_in_a_record_is_named(ward: Ward, keytab: Path) -> None:
    with StrictSts(demo_world()) as sts:
        ward.settings["aws"]["sts_endpoint"] = sts.url
        ward.write()
        assert ward.ill("role chains", "--assume") == []
    assert ward.ill("audit log") == []
    [file] = (ward.folder / "audit").glob("audit-*")
    content = bytearray(file.read_bytes())
    content[content.index(b"BrokerHub")] ^= 1
    file.write_bytes(content)
    found = ward.ill("audit log")
    assert {code for _, code, _ in found} == {"audit_broken"}
    assert "first bad sequence number" in found[0][2]


def test_a_sink_that_is_gone_is_a_fault_where_it_is_required_and_told_without_its_secret(ward: Ward) -> None:
    webhook = {"url": f"http://{CLOSED}/canary-path"}
    ward.settings["audit"]["sinks"] = [
        {"name": "one", "webhook": webhook, "required": True},
        {"name": "two", "webhook": webhook},
        {"name": "three", "journald": {"socket": str(ward.folder / "no-journal")}},
        {"name": "four", "syslog": {"server": CLOSED}},
    ]
    ward.write()
    found = ward.ill("audit sinks")
    assert [(verdict, code) for verdict, code, _ in found] == [("bad", "sink_unreachable")] + [
        ("warn", "sink_unreachable")
    ] * 3
    assert "canary" not in str(found)


# ---- the unit ----


def unit(folder: Path, *, drop_in: str = "", name: str = "zerotrust-broker.service") -> Path:
    """A folder of units with ours in it."""
    units = folder / "units"
    (units / f"{name}.d").mkdir(parents=True)
    for each in ("zerotrust-broker.service", "zerotrust-broker@.service"):
        shutil.copy(ROOT / "systemd" / each, units)
    if drop_in:
        (units / f"{name}.d" / "hurry.conf").write_text(drop_in)
    return units


def test_our_own_unit_is_as_closed_as_promised(ward: Ward, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ward.environ["SYSTEMD_UNIT_PATH"] = str(unit(tmp_path, drop_in="[Service]\nUser=root\n"))
    monkeypatch.setattr("broker.assembly.doctor.examine._become", lambda _: None)
    found = ward.said_by("exposure")
    assert ("bad", "unit_exposed") in {(verdict, code) for verdict, code, _ in found}
    (tmp_path / "units" / "zerotrust-broker.service.d" / "hurry.conf").unlink()
    [(verdict, _, evidence)] = ward.said_by("exposure")
    assert (verdict, "exposure 1." in evidence) == ("ok", True)


def test_what_a_drop_in_takes_away_is_named_and_counts(
    ward: Ward, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry = "[Service]\nProtectSystem=no\nPrivateUsers=no\nSystemCallFilter=\nLimitNOFILE=1024\nLimitMEMLOCK=64K\n"
    units = unit(tmp_path, drop_in=hurry + "ProtectHome=no\nRestrictNamespaces=no\nProtectKernelModules=no\n")
    ward.environ["SYSTEMD_UNIT_PATH"] = str(units)
    monkeypatch.setattr("broker.assembly.doctor.examine._become", lambda _: None)
    found = ward.ill("exposure")
    assert {code for _, code, _ in found} == {"unit_weakened", "unit_exposed"}
    assert [evidence for _, code, evidence in found if code == "unit_weakened"] == [
        "ProtectSystem=no in place of strict",
        "LimitMEMLOCK=64K in place of infinity",
    ]
    assert "changed by" in ward.said_by("unit")[0][2]
    assert "descriptors_few" in {code for _, code, _ in ward.ill("kernel")}


def test_where_instances_are_there_theirs_is_the_unit(ward: Ward, tmp_path: Path) -> None:
    units = unit(tmp_path, drop_in="[Service]\nUser=nobody\n", name="zerotrust-broker@.service")
    environ = {"SYSTEMD_UNIT_PATH": str(units), "PATH": os.environ["PATH"]}
    alone = installed(environ)
    assert alone is not None
    assert (alone.name, alone.instances, alone.last("User")) == (
        "zerotrust-broker.service",
        ["zerotrust-broker.service"],
        "zerotrust",
    )
    (units / "multi-user.target.wants").mkdir()
    for number in (1, 2):
        (units / "multi-user.target.wants" / f"zerotrust-broker@{number}.service").symlink_to("anything")
    found = installed(environ)
    assert found is not None
    assert (found.name, found.last("User")) == ("zerotrust-broker@.service", "nobody")
    assert found.instances == ["zerotrust-broker@1.service", "zerotrust-broker@2.service"]
    assert found.environment()["STATE_DIRECTORY"] == "/var/lib/zerotrust"
    assert found.environment()["KRB5RCACHEDIR"] == "/var/lib/zerotrust"


# ---- what is written of it ----


def test_the_page_names_every_check_and_every_code_and_no_others() -> None:
    page = (ROOT / "docs" / "server-doctor.md").read_text()
    rows = [line.split("|") for line in page.splitlines() if line.startswith("| ")]
    checks = [cells[1].strip() for cells in rows]
    documented = {code.strip(" `") for cells in rows if len(cells) > 3 for code in cells[-2].split(",")}
    assert [name for name in checks if name in CHECKS] == list(CHECKS)
    assert codes() <= documented
    assert {each for each in documented if "_" in each} <= codes()


def codes() -> set[str]:
    """Those in the source."""
    found = set()
    for path in (ROOT / "broker" / "assembly" / "doctor").glob("*.py"):
        constants = [node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)]
        found |= {text for text in constants if isinstance(text, str) and _CODE.fullmatch(text)}
    return found - _OTHERS


def issued(folder: Path, *, issuer_days: int) -> tuple[Path, Path]:
    """A server's certificate with its issuer behind it, and its key."""
    now = dt.datetime.now(dt.UTC)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    names = [x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]) for name in ("server", "authority")]
    made = []
    for key, subject, days in zip(keys, names, (90, issuer_days), strict=True):
        built = x509.CertificateBuilder().subject_name(subject).issuer_name(names[1]).public_key(key.public_key())
        built = built.serial_number(x509.random_serial_number()).not_valid_before(now - dt.timedelta(days=2))
        built = built.not_valid_after(now + dt.timedelta(days=days, minutes=-1))
        host = x509.SubjectAlternativeName([x509.DNSName("localhost")])
        signed = built.add_extension(host, critical=False).sign(keys[1], hashes.SHA256())
        made.append(signed.public_bytes(serialization.Encoding.PEM))
    certificate, key_file = folder / f"chain{issuer_days}.crt", folder / f"chain{issuer_days}.key"
    certificate.write_bytes(b"".join(made))
    key_file.touch(mode=0o600)
    key_file.write_bytes(
        keys[0].private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return certificate, key_file
