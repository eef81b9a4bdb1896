"""`zerotrust-admin doctor` on a broker's host: keytabs and the KDC, clocks, Redis, AWS, the log; each fault is made for real."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from broker.assembly.doctor import door
from broker.assembly.doctor.table import CHECKS
from broker.core.clock import SystemClock
from tests.fakes.broker import PROGRAMS, BrokerProcess
from tests.fakes.realm import Realm, free_port
from tests.fakes.redis import RedisServer
from tests.fakes.sts import StrictSts, demo, demo_world
from tests.fakes.ward import Ward


@pytest.fixture(scope="module")
def sts() -> Iterator[StrictSts]:
    with StrictSts(demo_world()) as sts:
        yield sts


@pytest.fixture
def ward(realm: Realm, sts: StrictSts, tmp_path: Path) -> Iterator[Ward]:
    sts.clear()
    with realm.entered():
        yield Ward(tmp_path / "host", realm.keytab(tmp_path / "keytab", "HTTP/localhost"), sts.url)


@dataclass(frozen=True)
class TurnedClock(SystemClock):
    by: timedelta

    def now(self) -> datetime:
        return super().now() + self.by


# ---- the whole ----


def test_a_running_broker_s_host_is_well_and_looking_changes_nothing(
    ward: Ward, realm: Realm, redis_server: RedisServer
) -> None:
    """Not a file of the host, not a key in Redis, and no use of a ticket in MIT's replay cache."""
    port, rcache = free_port(), ward.folder / "rcache"
    rcache.mkdir(mode=0o700)
    password = ward.folder / "password"
    password.touch(mode=0o600)
    password.write_text(redis_server.password)
    settings = ward.settings | {
        "server": {"listen": [f"http://127.0.0.1:{port}"], "hostnames": ["localhost"]},
        "redis": {"url": redis_server.url, "password_file": str(password)},
    }
    env = {
        **realm.env,
        "KRB5RCACHENAME": f"file2:{rcache}/rcache",
        "SYSTEMD_UNIT_PATH": ward.environ["SYSTEMD_UNIT_PATH"],
    }
    broker = BrokerProcess(ward.folder, settings, env=env)
    with broker:
        running = _doctor(broker)
        assert running.returncode == 0, running.stdout
    broker.settings["server"]["hostnames"] = ["localhost", "nowhere.invalid"]
    broker.write_configuration()
    files, keys = ward.everything(), redis_server.cli("KEYS", "*")
    stopped = _doctor(broker)
    assert ward.everything() == files
    assert redis_server.cli("KEYS", "*") == keys
    # What must be refused to the account was tried, and was refused.
    redis_server.cli("ACL", "LOG", "RESET")
    found = [json.loads(done.stdout) for done in (running, stopped)]
    for findings in found:
        assert list(dict.fromkeys(one["check"] for one in findings)) == list(CHECKS)
        assert not [one for one in findings if "failed itself" in one["evidence"]]
    well = {one["check"] for one in found[0] if one["verdict"] == "ok"}
    assert well >= {"door", "audit log", "keyring", "keytab (KDC)", "AWS credentials", "clock (Redis)"}
    # Its name is looked up in a process of its own: the fence around this one is right to stop it.
    ill = {one["code"]: one["evidence"] for one in found[1] if one["verdict"] == "bad"}
    assert set(ill) == {"broker_down", "dns_failed", "keytab_without_host"}
    assert ill["dns_failed"].startswith("nowhere.invalid has no address here")
    assert stopped.returncode == 1


def _doctor(broker: BrokerProcess) -> subprocess.CompletedProcess[str]:
    command = [PROGRAMS / "zerotrust-admin", "doctor", "--json", "--config", broker.config]
    return subprocess.run(command, env=broker._env, capture_output=True, text=True, check=False, timeout=120)


def test_what_cannot_be_looked_at_is_no_pass(ward: Ward) -> None:
    result = ward.run("--only", "TLS,HSM")
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["-", "-"]
    assert result.exit_code == 1


def test_a_check_that_is_none_is_named_with_those_there_are(ward: Ward) -> None:
    result = ward.run("--only", "Kerberos")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "'Kerberos' is no check — fix: name some of: account, configuration" in result.stderr


# ---- Kerberos ----


def test_a_key_that_the_kdc_no_longer_has_is_found_by_getting_a_ticket(ward: Ward, tmp_path: Path) -> None:
    with Realm.start(tmp_path / "realm") as own, own.entered():
        own.keytab(ward.keytab, "HTTP/localhost")
        [(verdict, _, evidence)] = ward.said_by("keytab (KDC)")
        assert (verdict, "kvno 1" in evidence) == ("ok", True)
        own.rotate("HTTP/localhost")
        [(_, code, evidence)] = ward.ill("keytab (KDC)")
        assert code == "keytab_stale"
        assert "whose newest is kvno 1" in evidence
        own.keytab(ward.keytab, "HTTP/localhost")
        assert "kvno 2" in ward.said_by("keytab (KDC)")[0][2]


def test_a_kdc_that_is_gone_is_named_and_its_keys_are_not_called_good(ward: Ward, tmp_path: Path) -> None:
    with Realm.start(tmp_path / "realm") as own, own.entered():
        own.keytab(ward.keytab, "HTTP/localhost")
        own.stop()
        found = ward.findings("--only", "KDC,keytab (KDC),clock (KDC)")
    assert [(one["verdict"], one.get("code")) for one in found] == [
        ("bad", "kdc_unreachable"),
        ("unseen", None),
        ("unseen", None),
    ]
    assert f"127.0.0.1:{own.port}" in found[0]["evidence"]


def test_a_name_that_cannot_log_in_is_not_called_stale(ward: Ward, tmp_path: Path) -> None:
    """As in Active Directory, where only one name of an account can."""
    with Realm.start(tmp_path / "realm") as own, own.entered():
        own.keytab(ward.keytab, "HTTP/localhost")
        own._kadmin(["delprinc -force HTTP/localhost"])
        [(verdict, _, evidence)] = ward.said_by("keytab (KDC)")
    assert (verdict, "knows it not" in evidence) == ("unseen", True)


def test_a_name_that_the_kdc_locked_is_refused_and_not_called_stale(ward: Ward, tmp_path: Path) -> None:
    with Realm.start(tmp_path / "realm") as own, own.entered():
        own.keytab(ward.keytab, "HTTP/localhost")
        own._kadmin(["modprinc -allow_tix HTTP/localhost"])
        [(verdict, code, evidence)] = ward.said_by("keytab (KDC)")
    assert (verdict, code) == ("bad", "keytab_refused")
    assert evidence.startswith("HTTP/localhost@EXAMPLE.COM: the KDC gives no ticket: ")


def test_a_host_name_without_a_key_is_named(ward: Ward) -> None:
    ward.settings["server"]["hostnames"] = ["localhost", "broker.localhost"]
    ward.write()
    assert [(code, "HTTP/broker.localhost" in evidence) for _, code, evidence in ward.ill("keytab")] == [
        ("keytab_without_host", True)
    ]


# ---- clocks ----


def test_a_clock_that_is_turned_is_seen_against_all_who_tell_theirs(ward: Ward, redis_server: RedisServer) -> None:
    ward.settings["redis"] = {"url": redis_server.url, "password": redis_server.password}
    ward.write()
    clocks = ["--only", "clock (KDC),clock (Redis),clock (AWS)"]
    assert {one["verdict"] for one in ward.findings(*clocks)} == {"ok"}
    for by, code, where in (
        (timedelta(minutes=-20), "clock_skew", "behind"),
        (timedelta(seconds=100), "clock_drift", "ahead of"),
    ):
        ward.clock = TurnedClock(by=by)
        found = ward.findings(*clocks)
        assert [one["code"] for one in found] == [code] * 3
        assert all(f" s {where} that of " in one["evidence"] for one in found)


# ---- Redis, AWS ----


def test_a_redis_that_is_gone_or_has_another_password_is_named(ward: Ward, redis_server: RedisServer) -> None:
    ward.settings["redis"] = {"url": redis_server.url, "password": "another"}
    ward.write()
    assert [code for _, code, _ in ward.ill("Redis")] == ["redis_unreachable"]
    ward.settings["redis"]["password"] = redis_server.password
    ward.write()
    assert "redis_unreachable" not in {code for _, code, _ in ward.said_by("Redis")}
    redis_server.close()
    assert [code for _, code, _ in ward.ill("Redis")] == ["redis_unreachable"]
    assert [verdict for verdict, _, _ in ward.said_by("clock (Redis)")] == ["unseen"]


def test_a_redis_that_throws_away_what_was_used_is_a_fault(ward: Ward, tmp_path: Path) -> None:
    settings = {"maxmemory": "100mb", "maxmemory-policy": "allkeys-lru"}
    with RedisServer.start(tmp_path / "redis", settings=settings) as server:
        ward.settings["redis"] = {"url": server.url, "password": server.password}
        ward.write()
        assert [code for verdict, code, _ in ward.ill("Redis") if verdict == "bad"] == ["redis_evicts"]


def test_no_role_is_assumed_unless_that_was_asked_for(ward: Ward, sts: StrictSts) -> None:
    ward.run()
    assert not sts.calls(action="AssumeRole")
    assert not list((ward.folder / "audit").iterdir())
    assert [verdict for verdict, _, _ in ward.said_by("role chains")] == ["unseen"]


def test_a_chain_that_is_denied_at_its_second_hop_is_named_there_with_its_roles(ward: Ward, sts: StrictSts) -> None:
    sts.fault("deny", role_arn=demo.DEVELOPER_ROLE)
    found = ward.findings("--only", "role chains", "--assume")
    by_arn = {one["evidence"].split(" ")[0]: one for one in found}
    assert by_arn[demo.HUB_ROLE]["verdict"] == by_arn[demo.READ_ONLY_ROLE]["verdict"] == "ok"
    assert by_arn[demo.DEVELOPER_ROLE]["code"] == "chain_broken"
    assert "(role developer): does not let the broker in" in by_arn[demo.DEVELOPER_ROLE]["evidence"]
    # The tries that must be refused are the probe's.
    assert all(
        call["external_id_valid"] or call["role_arn"] == demo.DEVELOPER_ROLE for call in sts.calls(action="AssumeRole")
    )
    assert {call["duration"] for call in sts.calls(action="AssumeRole") if not call["faults"]} == {900}
    records = [
        json.loads(line) for file in (ward.folder / "audit").glob("audit-*") for line in file.read_text().splitlines()
    ]
    assert sum(one["event"] == "intent" for one in records) == 3


def test_keys_that_aws_refuses_and_keys_that_are_not_seen_here(ward: Ward) -> None:
    assert [evidence for _, _, evidence in ward.said_by("AWS credentials")] == ["arn:aws:iam::999900001111:user/broker"]
    ward.environ["ZEROTRUST_AWS_SECRET_KEY"] = "wrong" * 8
    assert [code for _, code, _ in ward.ill("AWS credentials")] == ["aws_credentials_refused"]
    ward.environ |= dict.fromkeys(("ZEROTRUST_AWS_SECRET_KEY", "AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"))
    [(verdict, _, evidence)] = ward.said_by("AWS credentials")
    assert (verdict, "Run the doctor as root" in evidence) == ("unseen", True)


def test_an_sts_out_of_reach_is_named(ward: Ward) -> None:
    ward.settings["aws"]["sts_endpoint"] = "http://127.0.0.1:1"
    ward.write()
    found = ward.findings("--only", "clock (AWS),AWS credentials")
    assert [one["code"] for one in found] == ["aws_unreachable", "aws_unreachable"]


def test_a_hop_without_an_external_id_is_named(ward: Ward) -> None:
    del ward.settings["roles"]["developer"]["chain"][1]["external_id"]
    ward.write()
    [(_, code, evidence), (verdict, _, _)] = ward.said_by("external IDs")
    assert (code, demo.DEVELOPER_ROLE in evidence, verdict) == ("external_id_missing", True, "unseen")


# ---- the door ----


def test_what_answers_in_the_broker_s_place_is_not_taken_for_it(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    ward.settings["server"]["listen"] = [f"http://127.0.0.1:{port}"]
    ward.write()
    assert [code for _, code, _ in ward.said_by("door")] == ["broker_down"]
    with StrictSts(demo_world()) as somebody:
        ward.settings["server"]["listen"] = [somebody.url]
        ward.write()
        assert [code for _, code, _ in ward.said_by("door")] == ["door_strange"]
    monkeypatch.setattr(door, "_PATIENCE_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", port)):
        ward.settings["server"]["listen"] = [f"http://127.0.0.1:{port}"]
        ward.write()
        assert [code for _, code, _ in ward.said_by("door")] == ["broker_hangs"]
