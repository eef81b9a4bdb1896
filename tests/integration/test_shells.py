"""Variables as lines for shells and files, read by the real shells and readers: every value arrives as it was."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.front_door import CREDENTIALS
from zerotrust_kerberos.failures import Failure
from zerotrust_kerberos.running import shells, variables

ROOT = Path(__file__).parents[2]
SHOW = f"{sys.executable} -c 'import json, os; print(json.dumps(dict(os.environ)))'"
# What each of the shells gives a meaning to somewhere, and what AWS really sends.
AWKWARD = {
    "PLAIN": "abc/DEF+012=",
    "SPACES": "  two  words ",
    "SIGNS": "$HOME `id` $(id) !! ~ * ? [a] {b,c} #d ; & | < > ^ %PATH% %",
    "QUOTES": "it's '' ' \\' \\\\ \\",
    "DASH": "-n",
}
KEYS = variables.given(
    {
        "AccessKeyId": CREDENTIALS["access_key_id"],
        "SecretAccessKey": CREDENTIALS["secret_access_key"],
        "SessionToken": CREDENTIALS["session_token"],
        "Expiration": CREDENTIALS["expiration"],
    }
)
OURS = ("HOME", "XDG_RUNTIME_DIR")
SHELLS = [("env", "dash"), ("env", "bash"), ("env", "zsh"), ("fish", "fish")]


def run(command: list[str], **env: str) -> str:
    whole = {"PATH": "/usr/bin:/bin", **{name: os.environ[name] for name in OURS}, **env}
    done = subprocess.run(command, env=whole, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize(("form", "shell"), SHELLS)
def test_a_shell_reads_every_value_as_it_was(form: str, shell: str) -> None:
    lines = shells.setting(form, AWKWARD)
    found = json.loads(run([shell, "-c", f"{lines}\n{SHOW}"]))
    assert {name: found[name] for name in AWKWARD} == AWKWARD


@pytest.mark.parametrize(("form", "shell"), SHELLS)
def test_a_shell_is_rid_of_what_would_stand_beside_and_of_all_when_asked(form: str, shell: str) -> None:
    there = {"AWS_PROFILE": "other", "AWS_SECURITY_TOKEN": "old"}
    lines = shells.setting(form, KEYS, conflicting=variables.beside(there, KEYS))
    assert not there.keys() & json.loads(run([shell, "-c", f"{lines}\n{SHOW}"], **there)).keys()
    gone = shells.unsetting(form, tuple(KEYS))
    # The second time nothing is there to be unset.
    assert not KEYS.keys() & json.loads(run([shell, "-c", f"{lines}\n{gone}\n{gone}\n{SHOW}"])).keys()


@pytest.mark.parametrize("shell", ["dash", "bash", "zsh"])
def test_without_export_they_are_the_shells_own(shell: str) -> None:
    lines = shells.setting("env-no-export", AWKWARD)
    found = run([shell, "-c", f'{lines}\nprintf %s "$SIGNS|$QUOTES"\n{SHOW}'])
    assert found.startswith(f"{AWKWARD['SIGNS']}|{AWKWARD['QUOTES']}")
    assert not AWKWARD.keys() & json.loads(found[found.index('{"') :]).keys()


def test_a_dotenv_file_is_read_alike_by_node_python_and_a_shell(tmp_path: Path) -> None:
    wanted = KEYS | {name: value for name, value in AWKWARD.items() if name != "QUOTES"}
    file = tmp_path / "some.env"
    file.write_text(shells.setting("dotenv", wanted) + "\n")
    show = "process.stdout.write(JSON.stringify(process.env))"
    node = json.loads(run([str(Path(sys.executable).parent / "node"), f"--env-file={file}", "-e", show]))
    python = json.loads(run([sys.executable, "-m", "dotenv", "-f", str(file), "list", "--format=json"]))
    shell = json.loads(run(["dash", "-ac", f". {file}\n{SHOW}"]))
    assert [{name: found[name] for name in wanted} for found in (node, python, shell)] == [wanted] * 3


def test_what_aws_gives_stands_in_a_dotenv_file_without_quotes_which_docker_would_keep() -> None:
    assert shells.setting("dotenv", KEYS).splitlines() == [f"{name}={value}" for name, value in KEYS.items()]


def test_lines_for_windows_are_what_its_manual_says() -> None:
    # Neither shell runs here: about_Quoting_Rules, and `help set` of cmd.exe.
    assert shells.setting("powershell", {"A": "it's $x"}) == "$Env:A = 'it''s $x'"
    assert shells.unsetting("powershell", ("A", "B")) == "Remove-Item Env:A, Env:B -ErrorAction SilentlyContinue"
    assert shells.setting("windows-cmd", {"A": "a b=c"}, conflicting=("B",)) == 'set "B="\nset "A=a b=c"'


@pytest.mark.parametrize(
    ("form", "value"), [("windows-cmd", "%PATH%"), ("windows-cmd", "a&b"), ("dotenv", "it's"), ("dotenv", "\\ ")]
)
def test_what_cannot_be_written_is_refused(form: str, value: str) -> None:
    with pytest.raises(Failure) as caught:
        shells.setting(form, {"A": value})
    assert caught.value.code == "unexpected_answer"
    assert value not in caught.value.detail


def test_json_is_an_object_of_the_variables() -> None:
    assert json.loads(shells.setting("json", KEYS)) == KEYS


def test_every_shell_here_was_asked() -> None:
    assert all(shutil.which(shell) for _, shell in SHELLS)
