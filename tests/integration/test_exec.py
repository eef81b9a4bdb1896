"""``zerotrust exec`` as a process: what the program finds, what it does not find, and what is left when it has ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from broker import wire
from tests.fakes import front_door
from tests.fakes.broker import PROGRAMS
from tests.fakes.front_door import CREDENTIALS, FrontDoor, Visit
from tests.fakes.user_side import PATIENCE, Terminal, zerotrust
from zerotrust_kerberos.running import variables

if TYPE_CHECKING:
    from tests.fakes.realm import Realm

SHOW = "import json, os; print(json.dumps(dict(os.environ)))"
KEYS = {"access_key": CREDENTIALS["access_key_id"], "method": "container-role"}
ASK_BOTO = (
    "import botocore.session, json; found = botocore.session.get_session().get_credentials();"
    "print(json.dumps({'access_key': found.access_key, 'method': found.method}))"
)
ASK_NODE = (
    "require('@aws-sdk/credential-provider-node').defaultProvider()()"
    ".then(found => console.log(JSON.stringify({access_key: found.accessKeyId})))"
)
CONFIG = """\
[default]
region = eu-central-1
credential_process = /bin/false
aws_access_key_id = AKIADEFAULTDEFAULT
aws_secret_access_key = canary-default
s3 =
    max_concurrent_requests = 3

[profile other]
output = json
aws_secret_access_key = canary-other
"""

Environment = dict[str, str]


def reply(visit: Visit) -> None:
    secret = visit.head.startswith("GET /v1/secrets/team/db ")
    (front_door.body(b'{"fields":{"value":"canary-secret"}}') if secret else front_door.credentials)(visit)


@pytest.fixture
def door(_door: FrontDoor) -> FrontDoor:
    _door.reply = reply
    _door.visits.clear()
    return _door


@pytest.fixture
def alice(realm: Realm, tmp_path_factory: pytest.TempPathFactory, door: FrontDoor, tmp_path: Path) -> Environment:
    (tmp_path / "run").mkdir(mode=0o700)
    return {
        **realm.kinit("alice", tmp_path_factory.mktemp("alice") / "ccache"),
        "ZEROTRUST_BROKER_URL": door.url,
        "XDG_RUNTIME_DIR": str(tmp_path / "run"),
        "HOME": str(tmp_path),
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def left_behind(alice: Environment) -> list[Path]:
    """What is in the runtime folder, once the endpoint had time to end."""
    folder, ends = Path(alice["XDG_RUNTIME_DIR"]), time.monotonic() + PATIENCE
    while (found := list(folder.iterdir())) and time.monotonic() < ends:
        time.sleep(0.02)
    return found


def shown(done: subprocess.CompletedProcess[str]) -> Any:
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


# ---- credentials ----


def test_a_program_finds_an_endpoint_and_no_keys(door: FrontDoor, alice: Environment) -> None:
    done = zerotrust(alice, "exec", "developer", "--scope", "readonly", "--", sys.executable, "-c", SHOW)
    found = shown(done)
    assert found["AWS_CONTAINER_CREDENTIALS_FULL_URI"].startswith("http://127.0.0.1:")
    assert not variables.KEYS.keys() & found.keys()
    assert CREDENTIALS["secret_access_key"] not in done.stdout
    asked = wire.parse_credentials_request(door.visits[0].body)
    assert (asked.role, asked.scope) == ("developer", "readonly")
    assert left_behind(alice) == []


@pytest.mark.parametrize(
    "program",
    [
        [sys.executable, "-c", ASK_BOTO],
        ["/usr/bin/aws", "configure", "export-credentials"],  # 2.9 of Debian 12: knows no file with a token
        [str(PROGRAMS / "node"), "-e", ASK_NODE],
    ],
)
def test_aws_programs_take_their_credentials_from_it(alice: Environment, program: list[str]) -> None:
    environment = {**alice, "AWS_REGION": "eu-central-1", "NODE_PATH": str(PROGRAMS.parent / "javascript/node_modules")}
    done = zerotrust(environment, "exec", "developer", "--", *program)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found.get("access_key", found.get("AccessKeyId")) == CREDENTIALS["access_key_id"]


def test_the_token_is_in_a_file_for_tools_of_today_and_a_value_for_older_ones(alice: Environment) -> None:
    script = 'stat -c %a "$AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"; cat "$AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"; echo "|"; '
    done = zerotrust(alice, "exec", "developer", "--", "sh", "-c", script + 'echo "$AWS_CONTAINER_AUTHORIZATION_TOKEN"')
    mode, in_file, value = done.stdout.splitlines()
    assert (mode, in_file) == ("600", f"{value}|"), "the SDKs refuse a file with a newline"
    assert len(value) >= 64


def test_whatever_led_to_other_credentials_is_gone(alice: Environment) -> None:
    there = dict.fromkeys(variables.CONFLICTING, "other")
    found = shown(zerotrust({**alice, **there}, "exec", "developer", "--", sys.executable, "-c", SHOW))
    assert {name for name in there if name in found} == {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    }
    assert "other" not in [found[name] for name in there if name in found]


def test_a_default_profile_with_credentials_does_not_go_before_the_endpoint(alice: Environment, tmp_path: Path) -> None:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "config").write_text(CONFIG)
    (tmp_path / ".aws" / "credentials").write_text("[default]\naws_access_key_id = AKIA\naws_secret_access_key = x\n")
    assert shown(zerotrust(alice, "exec", "developer", "--", sys.executable, "-c", ASK_BOTO)) == KEYS
    seen = zerotrust(alice, "exec", "developer", "--", "sh", "-c", 'cat "$AWS_CONFIG_FILE"; ls -l "$AWS_CONFIG_FILE"')
    # Everything else of it is as it was; and no key was copied.
    assert "[default]\nregion = eu-central-1\ns3 =\n    max_concurrent_requests = 3\n\n" in seen.stdout
    assert "[profile other]\noutput = json\n-rw-------" in seen.stdout
    assert "canary" not in seen.stdout
    assert (tmp_path / ".aws" / "config").read_text() == CONFIG
    assert left_behind(alice) == []


def test_a_configuration_that_stands_in_nobodys_way_is_used_as_it_is(alice: Environment, tmp_path: Path) -> None:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "config").write_text("[default]\nregion = eu-central-1\n[profile x]\nrole_arn = y\n")
    found = shown(zerotrust(alice, "exec", "developer", "--", sys.executable, "-c", SHOW))
    assert not {"AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"} & found.keys()


def test_keys_stand_in_the_environment_where_that_is_wanted(alice: Environment) -> None:
    there = {"AWS_PROFILE": "other", "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:1/"}
    found = shown(zerotrust({**alice, **there}, "exec", "developer", "--env", "--", sys.executable, "-c", SHOW))
    assert {name: found[name] for name in variables.KEYS} == {
        "AWS_ACCESS_KEY_ID": CREDENTIALS["access_key_id"],
        "AWS_SECRET_ACCESS_KEY": CREDENTIALS["secret_access_key"],
        "AWS_SESSION_TOKEN": CREDENTIALS["session_token"],
        "AWS_CREDENTIAL_EXPIRATION": CREDENTIALS["expiration"],
    }
    assert not there.keys() & found.keys()


def test_at_a_terminal_it_is_said_when_keys_in_the_environment_end(alice: Environment) -> None:
    with Terminal(alice, "exec", "developer", "--env", "--", "true") as terminal:
        assert terminal.end() == 0
    assert terminal.seen.startswith("developer until 2037-01-01 ")
    assert terminal.seen.endswith(" left); nothing renews keys in the environment\r\n")


def test_credentials_and_secrets_come_together(door: FrontDoor, alice: Environment) -> None:
    script = f"{SHOW}"
    words = ["exec", "developer", "--secret", "DB=team/db", "--", sys.executable, "-c", script]
    found = shown(zerotrust(alice, *words))
    assert found["DB"] == "canary-secret"
    assert "AWS_CONTAINER_CREDENTIALS_FULL_URI" in found
    # Secrets alone ask for no role, whatever the settings say.
    alone = shown(zerotrust({**alice, "ZEROTRUST_ROLE": "developer"}, *words[:1], *words[2:]))
    assert alone["DB"] == "canary-secret"
    assert "AWS_CONTAINER_CREDENTIALS_FULL_URI" not in alone


# ---- the program is in our place ----


def test_the_exit_status_is_the_programs_also_where_a_signal_ended_it(alice: Environment) -> None:
    for script, status in (("exit 41", 41), ("kill -TERM $$", -signal.SIGTERM), ("kill -INT $$", -signal.SIGINT)):
        assert zerotrust(alice, "exec", "developer", "--", "sh", "-c", script).returncode == status
    assert left_behind(alice) == []


def test_what_is_not_there_is_127_and_what_cannot_be_run_126_and_nobody_is_asked(
    door: FrontDoor, alice: Environment, tmp_path: Path
) -> None:
    (tmp_path / "text").write_text("no program")
    for program, status, why in (
        ("/no/such", 127, "not found"),
        ("no-such-program", 127, "not found"),
        (str(tmp_path / "text"), 126, "Permission denied"),
        (str(tmp_path), 126, "Permission denied"),
    ):
        done = zerotrust(alice, "exec", "developer", "--", program)
        assert (done.returncode, done.stdout, done.stderr) == (status, "", f"zerotrust: {program}: {why}\n")
    assert door.visits == []


def test_a_broken_pipe_ends_the_program_as_it_would_without_us(alice: Environment) -> None:
    done = zerotrust(alice, "exec", "developer", "--", "bash", "-c", "yes | head -1; echo ${PIPESTATUS[0]}")
    assert (done.stdout, done.stderr) == ("y\n141\n", "")


def test_ctrl_c_at_the_terminal_is_the_programs(alice: Environment) -> None:
    script = "trap 'echo caught; exit 7' INT; echo ready; while :; do sleep 0.1; done"
    with Terminal(alice, "exec", "developer", "--", "sh", "-c", script) as terminal:
        terminal.until("ready")
        terminal.type("\x03")
        assert terminal.end() == 7
    assert "caught" in terminal.seen
    assert left_behind(alice) == []


def test_what_was_started_in_a_shells_background_stays_deaf_to_ctrl_c(alice: Environment) -> None:
    program = f"{sys.executable} -c 'import signal; print(signal.getsignal(signal.SIGINT) == signal.SIG_IGN)'"
    for more in ("", "--env "):
        command = ["sh", "-c", f"trap '' INT; exec zerotrust exec developer {more}-- {program}"]
        done = subprocess.run(
            command, env={**alice, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}, capture_output=True,
            text=True, check=False, timeout=PATIENCE,
        )  # fmt: skip
        assert (done.stdout, done.stderr) == ("True\n", "")


def test_a_program_that_waits_for_all_its_children_finds_its_own_and_no_other(alice: Environment) -> None:
    script = """
import os
if not os.fork():
    os._exit(5)
status = os.wait()[1] >> 8
try:
    os.wait()
except ChildProcessError:
    print(status)
"""
    done = zerotrust(alice, "exec", "developer", "--", sys.executable, "-c", script)
    assert (done.returncode, done.stdout, done.stderr) == (0, "5\n", "")


def test_when_the_program_is_killed_the_endpoint_goes_with_it(alice: Environment) -> None:
    script = "echo $$ $AWS_CONTAINER_CREDENTIALS_FULL_URI; while :; do sleep 0.1; done"
    with Terminal(alice, "exec", "developer", "--", "sh", "-c", script) as terminal:
        pid = int(terminal.until(" ").strip())
        assert pid == terminal.pid
        os.kill(pid, signal.SIGKILL)
        assert terminal.end() == -signal.SIGKILL
    assert left_behind(alice) == []


# ---- refusals ----


def test_whoever_may_not_have_the_role_runs_nothing(door: FrontDoor, alice: Environment, tmp_path: Path) -> None:
    door.reply = front_door.problem(403, "access_denied", hint="you may not have this role")
    for words in (["developer"], ["developer", "--env"], ["--secret", "DB=team/db"]):
        done = zerotrust(alice, "exec", *words, "--", "touch", str(tmp_path / "mark"))
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (4, "", 1)
        assert "[access_denied] — run: zerotrust roles" in done.stderr
    assert not (tmp_path / "mark").exists()
    assert left_behind(alice) == []


def test_a_secret_that_cannot_be_had_ends_the_endpoint_too(alice: Environment) -> None:
    done = zerotrust(alice, "exec", "developer", "--secret", "DB=team/other", "--", "true")
    assert (done.returncode, done.stdout) == (1, "")
    assert left_behind(alice) == []


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--", "true"], "exec needs ROLE"),
        (["--env", "--secret", "A=b", "--", "true"], "exec --env and --pass need ROLE"),
        (["--pass", "12h", "--secret", "A=b", "--", "true"], "exec --env and --pass need ROLE"),
        (["developer", "--env", "--pass", "12h", "--", "true"], "nothing renews what --env gives"),
        (["developer"], "exec needs -- and a command"),
        (["developer", "--secret", "a-b=c", "--", "true"], "a-b is no name of a variable"),
    ],
)
def test_wrong_usage_says_what_is_wrong(alice: Environment, words: list[str], what: str) -> None:
    done = zerotrust(alice, "exec", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert what in done.stderr
