"""`zerotrust-admin doctor`, typed by root on a host that systemd has booted: its broker runs, or a knock would start it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.booted import CONFIG, Host, host

SOCKET, INSTANCE = "zerotrust-broker.socket", "zerotrust-broker@1.service"


@pytest.fixture(scope="module")
def running(debian: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with host(debian, tmp_path_factory.mktemp("host")) as booted:
        booted.machine.write("/etc/hosts", "127.0.0.1 localhost\n")
        booted.start("zerotrust-broker")
        yield booted


def findings(running: Host, *words: str) -> tuple[int, list[dict[str, str]]]:
    command = ["/opt/zerotrust/bin/zerotrust-admin", "doctor", "--json", "--config", CONFIG, *words]
    done = running.machine.run(*command, check=False)
    return done.returncode, json.loads(done.stdout)


def test_on_a_host_as_the_package_makes_it_nothing_is_bad_and_the_broker_is_looked_at_as_itself(running: Host) -> None:
    status, found = findings(running, "--assume")
    assert [one for one in found if one["verdict"] == "bad"] == []
    well = {one["check"]: one["evidence"] for one in found if one["verdict"] == "ok"}
    assert well["account"] == "looks as zerotrust"
    assert well["unit"].startswith("zerotrust-broker.service: active (running)")
    # Its AWS keys are in root's EnvironmentFile, read before root was given up.
    assert well["AWS credentials"] == "arn:aws:iam::999900001111:user/broker"
    assert {"door", "exposure", "keytab (KDC)", "role chains", "audit log", "keyring", "permissions"} <= set(well)
    assert status == 0
    # Nothing of root's is left where the broker writes.
    owners = running.machine.run("find", "/var/log/zerotrust", "/var/lib/zerotrust", "-printf", "%u\n").stdout
    assert set(owners.split()) == {"zerotrust"}


def test_a_broker_that_was_stopped_is_not_started_by_being_looked_at(running: Host) -> None:
    running.machine.run("systemctl", "stop", "zerotrust-broker")
    running.machine.run("systemctl", "enable", INSTANCE)
    running.start(SOCKET)
    status, found = findings(running, "--only", "unit,door")
    assert status == 1
    assert [(one["check"], one["code"]) for one in found if one["verdict"] == "bad"] == [
        ("unit", "broker_down"),
        ("door", "broker_down"),
    ]
    assert running.machine.show(INSTANCE, "ActiveState") == {"ActiveState": "inactive"}
