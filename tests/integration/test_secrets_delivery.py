"""Secrets on the side of who uses them: `zerotrust exec` and `zerotrust fetch` against a real broker, ticket and all."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from broker import wire_secrets
from tests.fakes.broker import PROGRAMS, BrokerProcess, configuration
from tests.fakes.operator import Operator
from tests.fakes.realm import Realm
from tests.fakes.until import eventually

ALICE = "alice@EXAMPLE.COM"
PATIENCE = 30.0
RULES = [{"name": "all", "paths": ["team/**"], "principals": [ALICE], "actions": ["list", "read", "write"]}]


@pytest.fixture(scope="module")
def broker(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerProcess]:
    folder = tmp_path_factory.mktemp("vault")
    (folder / "state").mkdir(mode=0o700)
    settings = configuration(
        folder,
        keytab=realm.keytab(folder / "http.keytab", "HTTP/localhost"),
        sts_endpoint="http://127.0.0.1:1",
        secrets={"rules": RULES},
        state={"directory": str(folder / "state")},
    )
    with BrokerProcess(folder, settings, env=realm.env) as started:
        yield started


@pytest.fixture(scope="module")
def alice(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Operator:
    return Operator(realm, "alice", tmp_path_factory.mktemp("alice") / "ccache")


@pytest.fixture(scope="module")
def put(broker: BrokerProcess, alice: Operator) -> Callable[..., None]:
    def put(path: str, **fields: str) -> None:
        body = json.dumps({"fields": fields}).encode()
        assert alice.ask(broker.url, "PUT", f"{wire_secrets.PREFIX}{path}", body).status == 200

    put("team/one", value="canary-one")
    put("team/db", user="canary-user", password="canary-100%-pass\nsecond line\n{\n")
    return put


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder in memory."""
    folder = Path(tempfile.mkdtemp(dir="/dev/shm"))
    yield folder / "secrets"
    shutil.rmtree(folder)


@pytest.fixture
def start(broker: BrokerProcess, alice: Operator, put: Callable[..., None]) -> Callable[..., subprocess.Popen[str]]:
    def start(*words: str, **env: str) -> subprocess.Popen[str]:
        url = broker.url.replace("127.0.0.1", "localhost")
        environment = {"PATH": os.environ["PATH"], **alice.env, "ZEROTRUST_BROKER_URL": url, **env}
        return subprocess.Popen(
            [PROGRAMS / "zerotrust", *words],
            env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    return start


@pytest.fixture
def run(start: Callable[..., subprocess.Popen[str]]) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
        with start(*words, **env) as process:
            out, err = process.communicate(timeout=PATIENCE)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    return run


def test_a_program_gets_secrets_in_its_environment_and_its_status_is_ours(run: Any) -> None:
    shown = "import os; print(os.environ['ONE'], repr(os.environ['PW'])); raise SystemExit(41)"
    done = run("exec", "--secret", "ONE=team/one", "--secret=PW=team/db#password", "--", "python3", "-c", shown)
    assert (done.returncode, done.stderr) == (41, "")
    assert done.stdout == "canary-one 'canary-100%-pass\\nsecond line\\n{\\n'\n"


def test_the_program_takes_our_place_and_nobodys_command_line_holds_a_value(run: Any) -> None:
    seen = "tr '\\0' ' ' </proc/$$/cmdline; printenv ONE; echo $PPID"
    done = run("exec", "--secret", "ONE=team/one", "--", "/bin/sh", "-c", seen)
    assert done.stdout == f"/bin/sh -c {seen} canary-one\n{os.getpid()}\n"


def test_what_cannot_be_had_runs_nothing(run: Any, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    for secret, status in (
        ("X=other/one", 4),
        ("X=team/none", 1),
        ("X=team/db#port", 1),
        ("X=team/db", 2),
        ("a-b=team/one", 2),
    ):
        done = run("exec", "--secret", secret, "--", "touch", str(mark))
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (status, "", 1)
    assert not mark.exists()
    assert run("exec", "--secret", "X=team/one", "--", "/no/such/program").returncode == 127
    for words in (
        ("exec", "--", "true"),
        ("exec", "--secret", "X=team/one"),
        ("exec", "--secret", "X=team/one", "--"),
        ("whoami", "--", "x"),
    ):
        assert run(*words).returncode == 2


def test_files_are_in_memory_and_their_owners_alone_to_read(run: Any, memory: Path, put: Any) -> None:
    put("team/one", value="canary-one")
    done = run("fetch", "--to", str(memory), "team/one", "password=team/db#password")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert {path.name: path.read_text() for path in memory.iterdir()} == {
        "one": "canary-one",
        "password": "canary-100%-pass\nsecond line\n{\n",
    }
    assert {path.stat().st_mode & 0o7777 for path in memory.iterdir()} == {0o400}
    assert memory.stat().st_mode & 0o7777 == 0o700


def test_a_folder_on_a_disk_is_refused_unless_that_is_said(run: Any, tmp_path: Path) -> None:
    # A file system of the kernel's own: where the tests run may itself be in memory.
    done = run("fetch", "--to", "/proc/sys", "team/one")
    assert (done.returncode, "is not in memory" in done.stderr) == (2, True)
    assert run("fetch", "--disk", "--to", str(tmp_path / "new"), "team/one").returncode == 0
    assert (tmp_path / "new" / "one").read_text() == "canary-one"


def test_nothing_is_written_where_one_of_several_cannot_be_had(run: Any, memory: Path) -> None:
    assert run("fetch", "--to", str(memory), "team/one", "team/none").returncode == 1
    assert not memory.exists()
    for words in (
        ("team/one",),
        ("--to", str(memory)),
        ("--to", str(memory), "../x=team/one"),
        ("--to", str(memory), "/team/one"),
    ):
        assert run("fetch", *words).returncode == 2
    assert not memory.exists() or not list(memory.iterdir())


def test_a_sidecar_stays_and_brings_what_changed_as_a_whole_file(start: Any, memory: Path, put: Any) -> None:
    put("team/one", value="canary-old")
    with start("fetch", "--renew", "1s", "--to", str(memory), "one=team/one") as sidecar:
        eventually((memory / "one").exists)
        before = (memory / "one").stat().st_ino
        with (memory / "one").open() as opened:
            put("team/one", value="canary-new")
            eventually(lambda: (memory / "one").read_text() == "canary-new")
            assert opened.read() == "canary-old"  # whoever reads the old one reads all of it
        assert (memory / "one").stat().st_ino != before
        sidecar.send_signal(signal.SIGTERM)
        assert sidecar.wait(PATIENCE) == 0


def test_a_sidecar_that_cannot_begin_ends_and_one_that_cannot_go_on_keeps_its_files(
    start: Any, run: Any, memory: Path, broker: BrokerProcess
) -> None:
    assert run("fetch", "--renew", "1s", "--to", str(memory), "team/none").returncode == 1
    with start("fetch", "--renew", "1s", "--timeout", "2", "--to", str(memory), "team/one") as sidecar:
        eventually((memory / "one").exists)
        broker.process.send_signal(signal.SIGSTOP)
        try:
            assert sidecar.stderr is not None
            assert "[broker_timeout]" in sidecar.stderr.readline()
        finally:
            broker.process.send_signal(signal.SIGCONT)
        assert sidecar.poll() is None
        assert (memory / "one").exists()
        sidecar.send_signal(signal.SIGTERM)
        assert sidecar.wait(PATIENCE) == 0


@pytest.mark.parametrize(
    ("runner", "variable", "expected"),
    [
        ("github", "GITHUB_ACTIONS", "::add-mask::canary-100%25-pass\n::add-mask::second line\n"),
        ("gitlab", "GITLAB_CI", "::add-mask::canary-100%-pass\n::add-mask::second line\n"),
        ("azure", "TF_BUILD", "##vso[task.setsecret]canary-100%AZP25-pass\n##vso[task.setsecret]second line\n"),
    ],
)
def test_a_pipeline_is_told_each_line_to_hide_before_anything_can_show_it(
    run: Any, memory: Path, runner: str, variable: str, expected: str
) -> None:
    secret = "PW=team/db#password"
    done = run("exec", "--mask", runner, "--secret", secret, "--", "printenv", "PW", **{variable: "true"})
    assert done.stdout == f"{expected}canary-100%-pass\nsecond line\n{{\n\n"
    done = run("fetch", "--mask", runner, "--to", str(memory), secret, **{variable: "True"})
    assert done.stdout == expected
    # Elsewhere nobody takes the lines out of the log.
    done = run("exec", "--mask", runner, "--secret", secret, "--", "true")
    assert (done.returncode, done.stdout) == (2, "")
