"""Two instances on one socket of systemd's: nobody notices that they restart. And agents on the same host."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.booted import CONFIG, Host, host
from tests.fakes.until import eventually

# Seconds. Each starts brokers, two or three of them: a machine that does much else takes its time.
pytestmark = pytest.mark.timeout(600)

INSTANCES = ("zerotrust-broker@1", "zerotrust-broker@2")
# Guarantee 14: at most 1.5 of 10; the agent, which is root to become its users, 3.
EXPOSURE_MAX = 1.5
AGENT_EXPOSURE_MAX = 3.0
ADMIN = "/opt/zerotrust/bin/zerotrust-admin"
CLIENT = "/opt/zerotrust/bin/zerotrust"


@pytest.fixture(scope="module")
def running(debian: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """The first instance was started by a connection that waited in the socket; the second is not there yet."""
    with host(debian, tmp_path_factory.mktemp("host")) as booted:
        booted.guard_alone()
        booted.start("zerotrust-broker.socket")
        with booted.machine.network(), contextlib.closing(booted.connect()) as connection:
            assert booted.ask(connection)[0] == 200
        yield booted


def exposure(running: Host, unit: str) -> float:
    """What systemd makes of a unit that runs."""
    lines = running.machine.run("systemd-analyze", "security", "--no-pager", unit).stdout.splitlines()
    return float(lines[-1].rpartition(": ")[2].split()[0])


def test_a_rolling_restart_and_a_reload_under_load_fail_no_request_and_lose_no_record(running: Host) -> None:
    running.start(*INSTANCES)
    with running.machine.network(), running.under_load() as load:
        for unit in INSTANCES:
            eventually(lambda asked=load.done: load.done > asked + 20)
            done = running.machine.run("systemctl", "restart", unit, check=False)
            assert done.returncode == 0, running.log()
        running.machine.run("systemctl", "reload", *INSTANCES)
        eventually(lambda asked=load.done: load.done > asked + 50)
    assert load.failures == []
    served = Counter(record["instance"] for record in running.records() if record["event"] == "issued")
    name = running.machine.run("hostname").stdout.strip()
    assert set(served) == {f"{name}-1", f"{name}-2"}
    assert served.total() >= load.done
    assert "2 instances" in running.machine.run(ADMIN, "audit", "verify", "--config", CONFIG).stdout
    assert [exposure(running, unit) <= EXPOSURE_MAX for unit in INSTANCES] == [True, True]


def test_the_agents_of_a_host_and_of_a_user_are_there_when_somebody_asks(running: Host) -> None:
    machine = running.machine
    machine.run("useradd", "--create-home", "alice")
    tickets = Path(running.alice["KRB5CCNAME"].removeprefix("FILE:")).read_bytes()
    machine.write("/tmp/krb5cc_1000", tickets, mode=0o600, owner="alice:alice")  # noqa: S108  # where a login leaves them
    machine.write(
        "/etc/zerotrust/client.toml", 'broker_url = "https://localhost:8443"\nca_file = "/etc/ssl/broker.crt"\n'
    )
    machine.write("/etc/ssl/broker.crt", running.certificate)
    as_alice = ["runuser", "--user", "alice", "--", "env", "XDG_RUNTIME_DIR=/run/user/1000"]
    machine.run("systemctl", "start", "zerotrust-agent.socket", "user@1000")
    asked = json.loads(machine.run(*as_alice, CLIENT, "credential-process", "--role", "developer").stdout)
    assert asked["AccessKeyId"].startswith("ASIA")
    running.until("zerotrust-agent", ActiveState="active", SubState="running")
    again = json.loads(machine.run(*as_alice, CLIENT, "credential-process", "--role", "developer").stdout)
    assert again == asked
    assert exposure(running, "zerotrust-agent") <= AGENT_EXPOSURE_MAX
    machine.run("systemctl", "stop", "zerotrust-agent.socket", "zerotrust-agent")
    machine.run(*as_alice, "systemctl", "--user", "start", "zerotrust-agent-user.socket")
    asked = json.loads(machine.run(*as_alice, CLIENT, "credential-process", "--role", "developer").stdout)
    assert asked["AccessKeyId"].startswith("ASIA")
    state = machine.run(*as_alice, "systemctl", "--user", "is-active", "zerotrust-agent-user.service").stdout
    assert state == "active\n"
