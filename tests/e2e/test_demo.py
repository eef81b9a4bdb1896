"""`make demo` as its user runs it: a process with an environment of its own, judged by what it prints and what it leaves.

What runs is found from outside, in /proc, and not by the demo's own notes.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ALICE = "arn:aws:sts::111122223333:assumed-role/Developer/alice@EXAMPLE.COM"
PARTS = {"krb5kdc", "redis-server", "zerotrust-broker", "tests.fakes.sts"}
PATIENCE = 60.0

Told = tuple[Path, subprocess.CompletedProcess[str]]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "demo"
    yield folder
    demo("down", folder=folder)


def environment(folder: Path, path: str = "/usr/bin:/bin") -> dict[str, str]:
    """Next to nothing, as on a fresh machine; TMPDIR is handed on to every part and so marks it."""
    return {"PATH": path, "TMPDIR": str(folder.parent)}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """One whole demo: its folder, and what it said."""
    folder = tmp_path_factory.mktemp("told") / "demo"
    return folder, demo(folder=folder)


def demo(*words: str, folder: Path, path: str = "/usr/bin:/bin") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "demo", *words, "--folder", str(folder)],
        cwd=ROOT,
        env=environment(folder, path),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=PATIENCE,
        check=False,
    )


def running(folder: Path) -> set[str]:
    """The parts of the demo in this folder that run, known by command line, by TMPDIR, or by working directory.

    (Redis overwrites its environment with its title, and works in its folder.)
    """
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        words = _read(process / "cmdline")
        known_by = words + _read(process / "environ") + _directory(process)
        if str(folder.parent) in known_by and int(process.name) != os.getpid():
            found |= {part for part in PARTS if part in words} or {words}
    return found


def _read(path: Path) -> str:
    """Empty where the process has ended, is somebody else's, or does not let itself be looked into."""
    try:
        return path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except (FileNotFoundError, PermissionError, ProcessLookupError):
        return ""


def _directory(process: Path) -> str:
    try:
        return str((process / "cwd").readlink())
    except (FileNotFoundError, PermissionError, ProcessLookupError):
        return ""


def start(folder: Path) -> subprocess.Popen[str]:
    """A demo that has told its first step."""
    process = subprocess.Popen(
        [sys.executable, "-m", "demo", "--folder", str(folder)],
        cwd=ROOT,
        env=environment(folder),
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("$ klist"):
            return process
    raise AssertionError("the demo ended before its first step")


def test_the_demo_shows_the_whole_way_and_leaves_nothing_running(
    told: Told,
) -> None:
    folder, done = told
    said = done.stdout
    assert done.returncode == 0, said + done.stderr
    assert said.count(f'"Arn": "{ALICE}"') == 2, "both runs of the AWS CLI"
    assert "# AssumeRole calls before: 2, after: 2" in said
    assert re.search(
        r"Error when retrieving credentials from custom-process: .*\[access_denied\] — run: zerotrust", said
    )
    assert re.search(r"^good: [0-9]+ records", said, re.MULTILINE)
    assert "first bad sequence number" in said
    assert re.search(r"s  all together$", said, re.MULTILINE), "the table of times"
    assert running(folder) == set()


def test_the_transcript_of_the_readme_is_what_the_demo_says(told: Told) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    transcript = readme.partition("```console\n")[2].partition("```")[0].splitlines()
    said = {_made_comparable(line) for line in told[1].stdout.splitlines()}
    assert len(transcript) > 8, "otherwise the README is not read rightly"
    # The password is typed there, and piped here, where nobody sits to be told how long the ticket is good for.
    transcript = [line for line in transcript if not re.search(r"^\$ zerotrust login|, by password$", line)]
    assert [line for line in transcript if _made_comparable(line) not in said] == []


def _made_comparable(line: str) -> str:
    """Without what differs from run to run: ids, request ids, ports, whose home it is."""
    return re.sub(r"AROA[A-Z0-9]{17}|[0-9a-f]{24}|(?<=localhost:)[0-9]+|^\S+(?=: added )", "...", line).rstrip()


def test_the_demo_prints_no_secret_that_it_handed_out(
    told: Told,
) -> None:
    [body] = re.findall(r'^\{"Version":1.*$', told[1].stdout, re.MULTILINE)
    members = json.loads(body)
    assert {members[name] for name in ("SecretAccessKey", "SessionToken", "Token")} == {"(masked)"}


def test_its_configuration_keytab_and_secrets_are_private_files(
    told: Told,
) -> None:
    folder = told[0]
    private = [folder / "run" / name for name in ("config.yaml", "http.keytab")]
    private += (folder / "run" / "secrets").iterdir()
    assert len(private) == 6
    assert {path.stat().st_mode & 0o777 for path in private} == {0o600}


def test_a_broken_step_ends_the_demo_with_its_output_and_nothing_running(folder: Path, tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    klist = programs / "klist"
    # The login asks klist too, with options.
    klist.write_text('#!/bin/sh\n[ $# = 0 ] || exec /usr/bin/klist "$@"\necho Ticket cache: of somebody else\n')
    klist.chmod(0o755)
    done = demo(folder=folder, path=f"{programs}:/usr/bin:/bin")
    assert done.returncode == 1
    assert "BROKEN" in done.stderr
    assert "Ticket cache: of somebody else" in done.stderr
    assert "== 2." not in done.stdout, "no step after the broken one"
    assert running(folder) == set()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_demo_leaves_nothing_running(folder: Path, number: signal.Signals) -> None:
    with start(folder) as process:
        process.send_signal(number)
        assert process.wait(PATIENCE) == 130
    assert running(folder) == set()


def test_what_a_killed_demo_left_is_ended_by_the_next_one(folder: Path) -> None:
    with start(folder) as process:
        process.kill()
    assert running(folder) >= PARTS, "otherwise this test shows nothing"
    assert demo(folder=folder).returncode == 0
    assert running(folder) == set()


def test_a_demo_beside_a_running_one_in_the_same_folder_is_refused_and_harms_nothing(folder: Path) -> None:
    with start(folder) as process:
        second = demo(folder=folder)
        said = process.communicate(timeout=PATIENCE)[0]
        assert second.returncode == 1
        assert "already — run: make demo-down" in second.stderr
        assert process.returncode == 0, said


def test_up_keeps_running_until_down_and_its_recipe_works_as_printed(folder: Path) -> None:
    up = demo("up", folder=folder)
    assert up.returncode == 0, up.stderr
    assert running(folder) >= PARTS
    assert demo("up", folder=folder).stdout == up.stdout, "the second up finds the first"
    recipe = "\n".join(line for line in up.stdout.splitlines()[1:] if not line.startswith("chromium"))
    tried = subprocess.run(
        ["bash", "-e", "-c", recipe],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ALICE in tried.stdout, tried.stderr
    assert demo("down", folder=folder).returncode == 0
    assert running(folder) == set()


def test_down_ends_what_a_killed_holder_left_and_up_starts_anew(folder: Path) -> None:
    assert demo("up", folder=folder).returncode == 0
    holder = int((folder / "up" / "processes").read_text().split()[0])
    os.kill(holder, signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE
    while Path(f"/proc/{holder}/cwd").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert running(folder) >= PARTS
    assert demo("up", folder=folder).returncode == 0
    assert demo("down", folder=folder).returncode == 0
    assert running(folder) == set()


def test_down_ends_no_process_that_has_got_a_recorded_number(folder: Path) -> None:
    (folder / "up").mkdir(parents=True)
    with subprocess.Popen(["sleep", str(PATIENCE)]) as stranger:
        (folder / "up" / "processes").write_text(f"{stranger.pid} 1\n")
        assert demo("down", folder=folder).stdout == "no demo was running\n"
        assert stranger.poll() is None
        stranger.kill()
