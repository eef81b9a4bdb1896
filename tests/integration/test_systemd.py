"""The unit as systemd itself judges it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "systemd"
UNIT = FOLDER / "zerotrust-broker.service"
INSTANCE = FOLDER / "zerotrust-broker@.service"
SOCKET = FOLDER / "zerotrust-broker.socket"
PROBE = [FOLDER / "zerotrust-probe.service", FOLDER / "zerotrust-probe.timer"]
AGENT = [FOLDER / f"zerotrust-agent{of}.{kind}" for of in ("", "-user") for kind in ("service", "socket")]
# Guarantee 14: at most 1.5 of 10.
EXPOSURE_MAX = 1.5
# Who becomes each user in turn is root, and sees the network, /tmp and homes.
AGENT_EXPOSURE_MAX = 3.0


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units with the programs of this environment, because systemd looks whether they exist."""
    for unit in (UNIT, INSTANCE, SOCKET, *PROBE, *AGENT):
        text = unit.read_text().replace("/opt/zerotrust/bin", str(Path(sys.executable).parent))
        (tmp_path / unit.name).write_text(text)
    return tmp_path


@pytest.mark.parametrize("unit", [UNIT, INSTANCE, SOCKET, *PROBE, *AGENT], ids=lambda unit: unit.name)
def test_systemd_finds_nothing_wrong_with_the_unit(installed: Path, unit: Path) -> None:
    command = ["systemd-analyze", "verify", "--man=no", installed / unit.name]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout + run.stderr) == (0, "")


@pytest.mark.parametrize(
    ("unit", "most"),
    [(UNIT, EXPOSURE_MAX), (INSTANCE, EXPOSURE_MAX), (PROBE[0], EXPOSURE_MAX), (AGENT[0], AGENT_EXPOSURE_MAX)],
    ids=lambda value: value.name if isinstance(value, Path) else str(value),
)
def test_the_unit_exposes_at_most_what_is_promised(unit: Path, most: float) -> None:
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", f"--threshold={most * 10:.0f}"]
    run = subprocess.run([*command, unit], capture_output=True, text=True, check=False)
    found = re.search(r"Overall exposure level for \S+: (\d+\.\d+)", run.stdout)
    assert found is not None, run.stdout + run.stderr
    assert float(found[1]) <= most
    assert run.returncode == 0


DROP_INS = sorted((FOLDER / "drop-ins").glob("*.conf"))
# Its service type is of a later systemd than Debian 12's.
LATER = {"notify-reload.conf"}


@pytest.mark.parametrize("drop_in", [each for each in DROP_INS if each.name not in LATER], ids=lambda path: path.name)
def test_a_drop_in_fits_the_unit_that_it_names_and_keeps_it_closed(installed: Path, drop_in: Path) -> None:
    unit = installed / re.findall(r"To (\S+)\.d/", drop_in.read_text())[0]
    folder = unit.with_name(f"{unit.name}.d")
    folder.mkdir()
    (folder / drop_in.name).write_text(drop_in.read_text())
    env = {"PATH": "/usr/bin:/bin", "SYSTEMD_UNIT_PATH": f"{installed}:"}
    run = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False, env=env
    )
    assert (run.returncode, run.stdout + run.stderr) == (0, "")
    if unit.suffix == ".service":
        most = f"--threshold={EXPOSURE_MAX * 10:.0f}"
        command = ["systemd-analyze", "security", "--offline=true", "--no-pager", most, unit]
        run = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
        assert run.returncode == 0, run.stdout[-300:]


def test_a_configuration_that_must_not_start_is_not_started_again() -> None:
    text = UNIT.read_text()
    assert "RestartPreventExitStatus=78" in text
    assert "check-config" in text


def test_an_instance_differs_from_a_broker_alone_in_its_socket_and_nothing_else() -> None:
    alone, instance = ([line for line in unit.read_text().splitlines() if "=" in line] for unit in (UNIT, INSTANCE))
    assert [line for line in alone if line not in instance] == [
        "Description=Kerberos to AWS credential broker",
        "RuntimeDirectory=zerotrust",
        "RuntimeDirectoryMode=0755",
    ]
    assert [line for line in instance if line not in alone] == [
        "Description=Kerberos to AWS credential broker, instance %i",
        "Requires=zerotrust-broker.socket",
        "After=zerotrust-broker.socket",
        "Conflicts=zerotrust-broker.service",
        "Before=zerotrust-broker.service",
        "Sockets=zerotrust-broker.socket",
        "NonBlocking=yes",
    ]


def test_the_socket_and_a_broker_alone_have_an_order_so_that_the_port_is_free_before_it_is_taken() -> None:
    """Without one systemd binds while the other still drains, and neither serves."""
    lines = (FOLDER / "zerotrust-broker.socket").read_text().splitlines()
    assert {"Conflicts=zerotrust-broker.service", "Before=zerotrust-broker.service"} <= {*lines}


def test_users_of_the_brokers_host_reach_client_toml_and_no_folder_beside_it() -> None:
    folders = re.findall(
        r"^d (\S+) +(\d+) root zerotrust", (FOLDER / "zerotrust.tmpfiles.conf").read_text(), re.MULTILINE
    )
    modes = dict(folders)
    assert modes.pop("/etc/zerotrust") == "0751"
    assert modes == {f"/etc/zerotrust/{name}": "0750" for name in ("keytabs", "secrets", "tls")}
    for unit in (UNIT, PROBE[0]):
        assert re.findall(r"^ConfigurationDirectoryMode=(.*)$", unit.read_text(), re.MULTILINE) == ["0751"]


def test_the_probe_runs_as_the_broker_and_finds_what_the_broker_finds() -> None:
    """Another account would leave records that lock the broker out; other variables, other AWS keys."""
    broker, probe = (unit.read_text().splitlines() for unit in (UNIT, PROBE[0]))
    shared = ("User=", "Group=", "EnvironmentFile=", "LogsDirectory", "ConfigurationDirectory")
    assert [line for line in probe if line.startswith(shared)] == [line for line in broker if line.startswith(shared)]


def test_the_agents_unit_leaves_root_nothing_but_to_become_somebody_else() -> None:
    text = AGENT[0].read_text()
    assert "\nCapabilityBoundingSet=CAP_SETUID CAP_SETGID\n" in text
    assert "\nNoNewPrivileges=yes\n" in text
