"""``zerotrust shell`` at a terminal, with the shells that people have: its prompt, the user's own settings, its end."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from broker import wire
from tests.fakes import front_door
from tests.fakes.front_door import FrontDoor, Visit
from tests.fakes.user_side import PATIENCE, Terminal, zerotrust

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fakes.realm import Realm

Environment = dict[str, str]
PROMPT = re.compile(r"\[developer until (\d{4}-\d\d-\d\d )?\d\d:\d\d\] ")
# What each shell reads at its start, and what a user may have in it.
SHELLS = {
    # As prompts of other programs do it: set anew before each line, and a semicolon at the end.
    "/bin/bash": (".bashrc", """PROMPT_COMMAND='PS1="mine> "; MINE=yes;'\n"""),
    "/usr/bin/zsh": (".zshrc", "PROMPT='mine> '; MINE=yes\n"),
    "/usr/bin/fish": (".config/fish/config.fish", "function fish_prompt; echo -n 'mine> '; end; set -g MINE yes\n"),
    "/bin/dash": (".shinit", "PS1='mine> '; MINE=yes\n"),
}


@pytest.fixture(scope="module")
def door(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontDoor]:
    with FrontDoor.tcp(realm.keytab(tmp_path_factory.mktemp("door") / "keytab", "HTTP/localhost")) as door:
        yield door


@pytest.fixture
def alice(realm: Realm, door: FrontDoor, tmp_path: Path) -> Environment:
    door.reply = front_door.credentials
    door.visits.clear()
    (tmp_path / "run").mkdir(mode=0o700)
    return {
        **realm.kinit("alice", tmp_path / "ccache"),
        "ZEROTRUST_BROKER_URL": door.url,
        "XDG_RUNTIME_DIR": str(tmp_path / "run"),
        "HOME": str(tmp_path),
    }


def with_shell(alice: Environment, shell: str) -> Environment:
    # Or fish, at its first start, makes completions of all manual pages of the machine, behind our backs and for half a minute.
    (Path(alice["HOME"]) / ".local/share/fish/generated_completions").mkdir(parents=True)
    file, text = SHELLS[shell]
    path = Path(alice["HOME"]) / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return {**alice, "SHELL": shell, **({"ENV": str(path)} if shell.endswith("dash") else {})}


def left_behind(alice: Environment) -> list[Path]:
    folder, ends = Path(alice["XDG_RUNTIME_DIR"]), time.monotonic() + PATIENCE
    # fish keeps a folder of its own there.
    while (found := list(folder.glob("zerotrust-*"))) and time.monotonic() < ends:
        time.sleep(0.02)
    return found


@pytest.mark.parametrize("shell", SHELLS)
def test_the_users_own_shell_says_before_its_prompt_which_role_it_is_for(alice: Environment, shell: str) -> None:
    with Terminal(with_shell(alice, shell), "shell", "developer") as terminal:
        started = terminal.until("] mine> ")
        assert started.startswith("a shell as developer until ")
        assert len(PROMPT.findall(started)) == 1
        terminal.type("echo $MINE-$AWS_CONTAINER_CREDENTIALS_FULL_URI-\n")
        assert "/v1/container/developer-" in terminal.until("developer-")
        assert "yes-http://127.0.0.1:" in terminal.seen
        # The next prompt has it once too.
        assert len(PROMPT.findall(terminal.until("] mine> "))) == 1
        terminal.type("exit 3\n")
        assert terminal.end() == 3
    assert left_behind(alice) == []


def test_zsh_reads_the_users_files_where_they_are_and_none_of_ours_is_seen(alice: Environment, tmp_path: Path) -> None:
    (tmp_path / "dots").mkdir()
    (tmp_path / "dots" / ".zshenv").write_text("FROM_ENV=there\n")
    (tmp_path / "dots" / ".zshrc").write_text("PROMPT='mine> '\n")
    environment = {**alice, "SHELL": "/usr/bin/zsh", "ZDOTDIR": str(tmp_path / "dots")}
    with Terminal(environment, "shell", "developer") as terminal:
        terminal.until("mine> ")
        terminal.type('echo "<$FROM_ENV|$ZDOTDIR|$ZEROTRUST_ZDOTDIR|$__zerotrust_folder>"\n')
        terminal.until(f"<there|{tmp_path}/dots||>")
        terminal.type("exit\n")
        assert terminal.end() == 0


def test_a_shell_inside_such_a_shell_is_refused_and_other_commands_are_not(alice: Environment) -> None:
    with Terminal(with_shell(alice, "/bin/bash"), "shell", "developer") as terminal:
        terminal.until("] mine> ")
        terminal.type("zerotrust shell other\n")
        terminal.until("wrong usage (this shell is for developer already: leave it first) [usage] — run: exit")
        terminal.until("] mine> ")
        terminal.type("zerotrust exec developer -- true && echo done-$?\n")
        terminal.until("done-0")
        terminal.type("exit\n")
        assert terminal.end() == 0


def test_ctrl_c_and_job_control_are_the_shells(alice: Environment) -> None:
    with Terminal(with_shell(alice, "/bin/bash"), "shell", "developer") as terminal:
        terminal.until("] mine> ")
        terminal.type("sh -c 'echo started; exec sleep 1000'\n")
        terminal.until("started\r\n")
        terminal.type("\x03")
        terminal.until("] mine> ")
        terminal.type("echo status-$?\n")
        terminal.until("status-130")
        terminal.type("exit 0\n")
        assert terminal.end() == 0


def test_with_a_pass_the_prompt_says_how_long_that_is_good_for(alice: Environment, door: FrontDoor) -> None:
    def reply(visit: Visit) -> None:
        given = {"pass": "ztpass_x", "id": "i", "renewable_until": "2037-01-01T00:00:00Z"}
        if "/v1/passes" in visit.head:
            visit.answer(200, json.dumps(given).encode(), *([visit.negotiate()] if visit.principal else []))
        else:
            visit.answer(200, wire.credentials_body(**front_door.CREDENTIALS))

    door.reply = reply
    with Terminal(with_shell(alice, "/bin/dash"), "shell", "developer", "--pass", "6d") as terminal:
        ends = time.strftime("%Y-%m-%d ", time.localtime(time.time() + 6 * 86400))
        assert f"[developer until {ends}" in terminal.until("] mine> ")
        terminal.type("exit\n")
        assert terminal.end() == 0
    # It is given back once the shell has gone.
    ends_at = time.monotonic() + PATIENCE
    while not any(visit.head.startswith("DELETE ") for visit in door.visits):
        assert time.monotonic() < ends_at
        time.sleep(0.02)


@pytest.mark.parametrize("shell", SHELLS)
def test_without_a_terminal_it_reads_commands_as_shells_do(alice: Environment, shell: str) -> None:
    script = "echo $ZEROTRUST_SHELL $AWS_CONTAINER_CREDENTIALS_FULL_URI\nexit 7\n"
    done = zerotrust(with_shell(alice, shell), "shell", "developer", text=script)
    assert (done.returncode, done.stderr) == (7, "")
    assert re.fullmatch(r"developer http://127\.0\.0\.1:\d+/v1/container/developer\n", done.stdout)
    assert left_behind(alice) == []


def test_without_the_role_there_is_no_shell(alice: Environment, door: FrontDoor) -> None:
    door.reply = front_door.problem(403, "access_denied", hint="no")
    with Terminal(alice, "shell", "developer") as terminal:
        assert terminal.end() == 4
    assert "[access_denied] — run: zerotrust roles\r\n" in terminal.seen


def test_a_shell_that_is_not_known_starts_as_it_always_does(alice: Environment, tmp_path: Path) -> None:
    (tmp_path / "mysh").write_text("#!/bin/sh\necho $# $ZEROTRUST_SHELL\n")
    (tmp_path / "mysh").chmod(0o700)
    with Terminal({**alice, "SHELL": str(tmp_path / "mysh")}, "shell", "developer") as terminal:
        assert terminal.end() == 0
    assert terminal.seen.endswith("0 developer\r\n")
