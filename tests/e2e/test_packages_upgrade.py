"""An upgrade of the packages while the broker is used: nobody notices, and everything that was there is there after it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes import booted
from tests.fakes.booted import Host
from tests.fakes.dist import DIST, OLDER, OLDER_LINE, made, older

INSTANCES = ("zerotrust-broker@1", "zerotrust-broker@2")
SAMPLE = "/root/sample"


@pytest.fixture
def host(debian: Path, tmp_path: Path) -> Iterator[Host]:
    """Two instances of the older version, which have given credentials."""
    (tmp_path / "older").mkdir()
    before = older(tmp_path / "older")
    with booted.bare_host(debian, tmp_path, shown={"/dist": DIST, "/older.deb": before}) as host:
        install(host, "/older.deb")
        host.machine.run("cp", booted.CONFIG, SAMPLE)
        host.set_up()
        host.guard_alone()
        host.machine.run("systemctl", "enable", *INSTANCES)
        host.start(*INSTANCES)
        yield host
    before.unlink()


def install(host: Host, package: str) -> str:
    """As unattended upgrades do: what an administrator changed stays."""
    done = host.machine.run("dpkg", "--force-unsafe-io", "--force-confold", "--install", package)
    return done.stdout + done.stderr


@pytest.mark.timeout(600)
def test_an_upgrade_fails_no_request_keeps_what_was_there_and_stops_at_an_instance_that_does_not_start(
    host: Host,
) -> None:
    machine = host.machine
    assert OLDER_LINE in machine.read(SAMPLE)
    before = {unit: machine.show(unit, "MainPID") for unit in INSTANCES}
    first = given(host)
    keys = machine.run("sha256sum", "/var/lib/zerotrust/keyring", "/etc/zerotrust/secrets/encryption_key").stdout

    with host.under_load() as load:
        said = install(host, f"/dist/{made('zerotrust-broker_*_*.deb').name}")
    assert (load.failures, said.count("did not start")) == ([], 0)
    assert load.done > 0
    for unit in INSTANCES:
        after = machine.show(unit, "MainPID", "ActiveState", "UnitFileState")
        assert after["MainPID"] != before[unit]["MainPID"]
        assert (after["ActiveState"], after["UnitFileState"]) == ("active", "enabled")

    # What an administrator wrote, and beside it what the new version would have said.
    assert machine.read(booted.CONFIG) == json.dumps(host.settings, indent=2)
    assert machine.run("stat", "--format=%a %U:%G", booted.CONFIG).stdout == "640 root:zerotrust\n"
    assert OLDER_LINE not in machine.read(f"{booted.CONFIG}.dpkg-dist")
    # What was sealed before is read after: the same credentials, without asking AWS.
    assert (
        machine.run("sha256sum", "/var/lib/zerotrust/keyring", "/etc/zerotrust/secrets/encryption_key").stdout == keys
    )
    calls = len(host.sts.calls())
    assert (given(host), len(host.sts.calls())) == (first, calls)
    # One chain of records in each file, across both versions.
    verified = machine.run("/usr/bin/zerotrust-admin", "audit", "verify", "--config", booted.CONFIG)
    assert f"{len(INSTANCES)} instances" in verified.stdout
    refused(host)


def given(host: Host) -> str:
    """The access key that alice is given."""
    connection = host.connect()
    status, body = host.ask(connection)
    connection.close()
    assert status == 200, body
    return str(json.loads(body)["AccessKeyId"])


def refused(host: Host) -> None:
    """A configuration that the new version refuses ends one instance, not the service, and not the installation."""
    machine = host.machine
    second = machine.show(INSTANCES[1], "MainPID")
    host.configure(roles={})
    said = machine.run("/var/lib/dpkg/info/zerotrust-broker.postinst", "configure", OLDER)
    assert "did not start with the new version" in said.stderr
    assert machine.show(INSTANCES[1], "MainPID") == second
    assert host.get("/healthz")[0] == 200
