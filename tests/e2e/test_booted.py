"""What systemd makes of the units, in a machine that it has booted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.machine import Machine, programs_shown


@pytest.fixture(scope="module")
def machine(debian: Path) -> Iterator[Machine]:
    with Machine.start(debian, shown=programs_shown()) as machine:
        machine.install_programs()
        yield machine


def test_the_programs_run_in_a_machine_without_a_network(machine: Machine) -> None:
    assert machine.run("/opt/zerotrust/bin/zerotrust-broker", "version").stdout
    assert machine.run("systemctl", "is-system-running", "--wait").stdout == "running\n"
