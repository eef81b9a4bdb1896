"""TAB in real shells, with the names of roles from a broker that is asked by a real ticket."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from broker import wire
from tests.fakes import front_door
from tests.fakes.broker import PROGRAMS
from tests.fakes.front_door import FrontDoor
from tests.fakes.terminal import Keyboard

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fakes.realm import Realm

ROOT = Path(__file__).parents[2]
SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], "source <(zerotrust completion bash)"),
    "zsh": (["zsh", "-f", "-i"], "source <(zerotrust completion zsh)"),
    "fish": (["fish", "--no-config", "-i"], "zerotrust completion fish | source"),
}
# ``zerotrust`` that leaves the broker more than the second after which a shell goes on without an answer: on a loaded machine the
# start of two interpreters takes longer.
PATIENT = f"""#!{sys.executable}
from zerotrust_kerberos import cli, settings
from zerotrust_kerberos.completion import names
names._TIMEOUT, names._PATIENCE = settings.TIMEOUT_MAX, 60
cli.main()
"""
# What is typed, and what stands there after TAB.
TYPED = {
    "zerotrust who\t": "zerotrust whoami",
    "zerotrust whoami --js\t": "zerotrust whoami --json",
    "zerotrust roles --format c\t": "zerotrust roles --format csv",
    "zerotrust roles --format=c\t": "zerotrust roles --format=csv",
    "zerotrust explain dev\t": "zerotrust explain developer",
    "zerotrust credential-process --role=aud\t": "zerotrust credential-process --role=auditor",
    "zerotrust credential-process --role developer --scope r\t": "zerotrust credential-process --role developer --scope readonly",
    "zerotrust roles --ca-file some.p\t": "zerotrust roles --ca-file some.pem",
    "zerotrust fetch --to fol\t": "zerotrust fetch --to folder",
    "zerotrust help no_t\t": "zerotrust help no_ticket",
    "zerotrust whoami --broker http://x:1 --js\t": "zerotrust whoami --broker http://x:1 --json",
    "zerotrust exec --secret 'A=b c' -- mkfif\t": "zerotrust exec --secret A=b c -- mkfifo",
    "zerotrust exec --secret A=b -- cat some.p\t": "zerotrust exec --secret A=b -- cat some.pem",
}


@pytest.fixture(scope="module")
def door(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontDoor]:
    keytab = realm.keytab(tmp_path_factory.mktemp("completion") / "keytab", "HTTP/localhost")
    with FrontDoor.tcp(keytab) as door:
        door.reply = front_door.body(
            wire.roles_body(
                [{"name": "developer", "scopes": ["readonly"]}, {"name": "auditor"}, {"name": "$(touch x)"}]
            )
        )
        yield door


@pytest.fixture
def home(realm: Realm, door: FrontDoor, tmp_path: Path) -> dict[str, str]:
    """Somebody's environment; their home is ``tmp_path``."""
    (tmp_path / "some.pem").touch()
    (tmp_path / "folder").mkdir()
    # Or fish, at its first start, makes completions of all manual pages of the machine.
    (tmp_path / ".local/share/fish/generated_completions").mkdir(parents=True)
    (tmp_path / ".bin").mkdir()
    (tmp_path / ".bin" / "zerotrust").write_text(PATIENT)
    (tmp_path / ".bin" / "zerotrust").chmod(0o700)
    door.visits.clear()
    return {
        **realm.kinit("alice", tmp_path / ".ccache"),
        "HOME": str(tmp_path),
        "XDG_RUNTIME_DIR": str(tmp_path),
        "PATH": f"{tmp_path}/.bin:{PROGRAMS}:/usr/bin:/bin",
        "TERM": "xterm",
        "LC_ALL": "C.UTF-8",
        "ZEROTRUST_BROKER_URL": door.url,
    }


@pytest.mark.parametrize("shell", SHELLS)
def test_tab_completes_commands_options_roles_files_and_other_programs(
    shell: str, home: dict[str, str], door: FrontDoor, tmp_path: Path
) -> None:
    program, setup = SHELLS[shell]
    keyboard = Keyboard(program, home, cwd=tmp_path)
    try:
        keyboard.types(f"{setup}\n")
        found = {}
        for at, typed in enumerate(TYPED):
            # ^A and ^E: to the beginning and to the end of the line, which is printed instead of run.
            keyboard.types(f"{typed}\x01echo \x05 >.said; mv .said .said{at}\r")
            found[typed] = keyboard.waits_for(tmp_path / f".said{at}").strip().removesuffix("/")
    finally:
        keyboard.close()
    assert found == TYPED
    assert len(door.visits) == 1
    (kept,) = (tmp_path / ".cache" / "zerotrust").iterdir()
    assert kept.read_text().startswith("developer\treadonly\nauditor\t\n")


def test_a_role_that_was_mistyped_is_told_with_the_one_that_was_meant(home: dict[str, str], door: FrontDoor) -> None:
    def zerotrust(*words: str) -> subprocess.CompletedProcess[str]:
        command = [f"{home['HOME']}/.bin/zerotrust", *words]
        return subprocess.run(command, env=home, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)

    said = door.reply
    try:
        assert zerotrust("completion", "zsh", "--", "zerotrust", "explain", "a").stdout == "auditor\trole\n"
        door.reply = front_door.problem(403, "access_denied", hint="no")
        done = zerotrust("credential-process", "--role", "auditr")
        other = zerotrust("credential-process", "--role", "production")
    finally:
        door.reply = said
    assert (done.returncode, done.stdout) == (4, "")
    assert "did you mean auditor?) [access_denied] — run: zerotrust credential-process --role auditor\n" in done.stderr
    assert other.stderr.endswith("[access_denied] — run: zerotrust roles\n")


@pytest.mark.parametrize("missing", ["broker", "ticket", "settings"])
def test_tab_is_silent_where_nobody_can_be_asked(missing: str, home: dict[str, str], tmp_path: Path) -> None:
    match missing:
        case "broker":
            home["ZEROTRUST_BROKER_URL"] = "http://localhost:1"
        case "ticket":
            home["KRB5CCNAME"] = "FILE:/nonexistent/ccache"
        case _:
            del home["ZEROTRUST_BROKER_URL"]
    words = [sys.executable, "-m", "zerotrust_kerberos", "completion", "bash", "--", "zerotrust", "explain", ""]
    done = subprocess.run(words, env=home, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
