"""The commands, and the sample record, of the secrets management guide: as they are printed there, against a running broker."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker import wire
from tests.fakes.broker import NO_HOME, PROGRAMS, BrokerProcess, configuration
from tests.fakes.operator import Operator
from tests.fakes.realm import Realm
from tests.fakes.sts.demo import demo_world
from tests.fakes.sts.process import StrictSts

REVOKE_SESSIONS = "zerotrust-admin revoke-sessions --all"
REVOKE_CREDENTIALS = "zerotrust-admin revoke-credentials --user user@EXAMPLE.COM"
COMPLIANCE = "zerotrust-admin compliance-report --standard soc2 --output report.pdf"
# "Example log entry".
SAMPLE = {
    "timestamp": "2025-05-01T12:34:56Z",
    "level": "INFO",
    "event": "secret_access",
    "user": "user@EXAMPLE.COM",
    "action": "read",
    "resource": "aws_credentials",
    "source_ip": "192.168.1.100",
    "success": True,
}


@pytest.fixture(scope="module")
def broker(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerProcess]:
    folder = tmp_path_factory.mktemp("g")
    keytab = realm.keytab(folder / "http.keytab", "HTTP/localhost")
    with StrictSts(demo_world()) as sts:
        settings = configuration(
            folder,
            keytab=keytab,
            sts_endpoint=sts.url,
            admin={"socket": str(folder / "s"), "principals": ["root/admin@EXAMPLE.COM"]},
        )
        with BrokerProcess(folder, settings, env=realm.env) as running:
            yield running


@pytest.fixture(scope="module")
def root(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Operator:
    return Operator(realm, "root/admin", tmp_path_factory.mktemp("root") / "ccache")


def run(command: str, *, operator: Operator, broker: BrokerProcess, folder: Path) -> subprocess.CompletedProcess[str]:
    """The printed line, in a shell of an operator on the broker's host, whose configuration is where this test has it."""
    outer = {
        "PATH": f"{PROGRAMS}:{os.environ['PATH']}",
        "HOME": NO_HOME,
        "ZEROTRUST_CONFIG": str(broker.config),
        "ZEROTRUST_HOST": "localhost",
    }
    return subprocess.run(
        shlex.split(command),
        cwd=folder,
        env={**outer, **operator.env},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_all_sessions_are_revoked_by_the_printed_command(broker: BrokerProcess, root: Operator, tmp_path: Path) -> None:
    done = run(REVOKE_SESSIONS, operator=root, broker=broker, folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("everybody: stopped: sessions")


def test_a_users_credentials_are_revoked_by_the_printed_command(
    broker: BrokerProcess, root: Operator, tmp_path: Path
) -> None:
    done = run(REVOKE_CREDENTIALS, operator=root, broker=broker, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    revoked = [one for one in broker.records() if one["event"] == "access_revoked"]
    assert revoked[-1]["about"] == "user@EXAMPLE.COM"


def test_the_printed_command_writes_the_report(broker: BrokerProcess, root: Operator, tmp_path: Path) -> None:
    done = run(COMPLIANCE, operator=root, broker=broker, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF-")


def test_every_record_has_the_members_of_the_sample(broker: BrokerProcess, root: Operator) -> None:
    root.ask(broker.url, "POST", wire.CREDENTIALS_PATH, json.dumps({"role": "developer"}).encode())
    records = broker.records()
    assert records
    for record in records:
        assert set(record) >= set(SAMPLE)
        assert type(record["success"]) is bool
        assert record["level"] in ("INFO", "WARNING")
