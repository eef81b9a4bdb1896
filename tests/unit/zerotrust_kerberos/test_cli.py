"""The command line, and what starting it costs."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import broker
import zerotrust_kerberos
from zerotrust_kerberos import cli, watch

ROOT = Path(zerotrust_kerberos.__file__).parents[1]

# Each of these costs between 1 and 30 ms at every start of every helper.
HEAVY = {
    *(
        "argparse",
        "asyncio",
        "base64",
        "ctypes",
        "dataclasses",
        "enum",
        "gssapi",
        "http",
        "inspect",
        "json",
        "logging",
        "pathlib",
    ),
    *("re", "shlex", "signal", "socket", "ssl", "subprocess", "threading", "tomllib", "typing", "urllib"),
}


KERBEROS = {"zerotrust_kerberos.ask", "zerotrust_kerberos.negotiate", "_ctypes", "binascii"}


def loaded_by(modules: str) -> set[str]:
    script = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import {modules}; print(*sys.modules)"
    command = [sys.executable, "-I", "-S", "-c", script]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


def test_starting_the_helper_loads_nothing_heavy_and_without_an_agent_nothing_heavy_either() -> None:
    assert not (HEAVY | KERBEROS) & loaded_by("zerotrust_kerberos.cli")
    loaded = loaded_by("zerotrust_kerberos.cli, zerotrust_kerberos.ask")
    assert loaded >= KERBEROS
    assert not HEAVY & loaded


def test_no_room_is_loaded_by_the_helper_and_what_lies_at_the_top_is_loaded_by_it_or_by_a_slip() -> None:
    package = Path(zerotrust_kerberos.__file__).parent
    loaded = loaded_by("zerotrust_kerberos.cli, zerotrust_kerberos.ask, zerotrust_kerberos.tls")
    ours = {name.partition(".")[2] for name in loaded if name.startswith("zerotrust_kerberos.")}
    assert not {name for name in ours if "." in name or (package / name).is_dir()}
    # What is said to people, in whatever command.
    words = {"answers", "denied", "help", "slips", "tables", "times"}
    assert {path.stem for path in package.glob("*.py")} == ours | words | {"__init__", "__main__"}


def test_the_client_takes_nothing_of_the_broker_but_the_wire() -> None:
    script = (
        "from zerotrust_kerberos import cli, tls; from zerotrust_kerberos.access import questions; print(*sys.modules)"
    )
    command = [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {script}"]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert {name for name in loaded if name.split(".")[0] == "broker"} == {"broker", "broker.wire"}


def test_all_versions_are_one() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert zerotrust_kerberos.__version__ == broker.__version__ == project["version"]


@pytest.mark.parametrize("words", [["version"], ["--version"]])
def test_version_is_data(words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.run(words) == 0
    assert capfd.readouterr() == (f"zerotrust {zerotrust_kerberos.__version__}\n", "")


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["nonsense"],
        ["credential-process"],
        ["credential-process", "--role"],
        ["credential-process", "--role="],
        ["credential-process", "--role", "a b"],
        ["credential-process", "--role", "a", "extra"],
        ["credential-process", "--role", "a", "--json"],
        ["credential-process", "--rol", "a"],
        ["roles", "--role", "a"],
        ["whoami", "--json=yes"],
        ["whoami", "\x1b[2J"],
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(
    words: list[str], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZEROTRUST_BROKER_URL", "http://localhost:1")
    monkeypatch.setattr(watch.Watch, "start", lambda *_: None)  # its thread would outlive the test and end pytest
    assert cli.run(words) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert " [usage] — run: zerotrust " in err
    assert "\x1b" not in err
