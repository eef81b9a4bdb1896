"""Two instances on one socket of systemd's: nobody notices that they restart."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.booted import CONFIG, Host, host
from tests.fakes.until import eventually

INSTANCES = ("zerotrust-broker@1", "zerotrust-broker@2")
# Guarantee 14: at most 1.5 of 10.
EXPOSURE_MAX = 1.5


@pytest.fixture(scope="module")
def running(debian: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """Both instances; the first was started by a connection that waited in the socket."""
    with host(debian, tmp_path_factory.mktemp("host")) as booted:
        booted.start("zerotrust-broker.socket")
        with booted.machine.network(), contextlib.closing(booted.connect()) as connection:
            assert booted.ask(connection)[0] == 200
        booted.start(*INSTANCES)
        yield booted


def restart(running: Host, unit: str) -> None:
    done = running.machine.run("systemctl", "restart", unit, check=False)
    assert done.returncode == 0, running.log()


def test_a_rolling_restart_and_a_reload_under_load_fail_no_request(running: Host) -> None:
    with running.machine.network(), running.under_load() as load:
        for unit in INSTANCES:
            asked = load.done
            eventually(lambda asked=asked: load.done > asked + 20)
            restart(running, unit)
        running.machine.run("systemctl", "reload", *INSTANCES)
        asked = load.done
        eventually(lambda: load.done > asked + 50)
    assert load.failures == []


def test_each_instance_keeps_records_of_its_own_and_all_of_them_hold(running: Host) -> None:
    served = Counter(record["instance"] for record in running.records() if record["event"] == "issued")
    name = running.machine.run("hostname").stdout.strip()
    assert set(served) == {f"{name}-1", f"{name}-2"}
    verdict = running.machine.run("/opt/zerotrust/bin/zerotrust-admin", "audit", "verify", "--config", CONFIG)
    assert "2 instances" in verdict.stdout


@pytest.mark.parametrize("unit", INSTANCES)
def test_what_runs_exposes_at_most_what_is_promised(running: Host, unit: str) -> None:
    lines = running.machine.run("systemd-analyze", "security", "--no-pager", unit).stdout.splitlines()
    assert float(lines[-1].rpartition(": ")[2].split()[0]) <= EXPOSURE_MAX
