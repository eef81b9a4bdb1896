"""The unit as systemd itself judges it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[2] / "systemd" / "zerotrust-broker.service"
# Guarantee 14: at most 1.5 of 10.
EXPOSURE_MAX = 1.5


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with the programs of this environment, because systemd looks whether they exist."""
    installed = tmp_path / UNIT.name
    installed.write_text(UNIT.read_text().replace("/opt/zerotrust/bin", str(Path(sys.executable).parent)))
    return installed


def test_systemd_finds_nothing_wrong_with_the_unit(unit: Path) -> None:
    run = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout + run.stderr) == (0, "")


def test_the_unit_exposes_at_most_what_is_promised() -> None:
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", f"--threshold={EXPOSURE_MAX * 10:.0f}"]
    run = subprocess.run([*command, UNIT], capture_output=True, text=True, check=False)
    found = re.search(r"Overall exposure level for \S+: (\d+\.\d+)", run.stdout)
    assert found is not None, run.stdout + run.stderr
    assert float(found[1]) <= EXPOSURE_MAX
    assert run.returncode == 0


def test_a_configuration_that_must_not_start_is_not_started_again() -> None:
    text = UNIT.read_text()
    assert "RestartPreventExitStatus=78" in text
    assert "check-config" in text
