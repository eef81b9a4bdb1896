"""``zerotrust configure`` as a process: the real file, and the AWS CLI 1 and 2 and boto3 that read it."""

from __future__ import annotations

import fcntl
import json
import os
import re
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from broker import wire
from tests.fakes import front_door
from tests.fakes.front_door import FrontDoor, Visit
from tests.fakes.realm import Realm

PROGRAMS = Path(sys.executable).parent
DEVELOPER = {
    "name": "developer",
    "account": "111122223333",
    "account_alias": "prod",
    "role_arn": "arn:aws:iam::111122223333:role/Developer",
    "scopes": [],
    "needs": [],
}
AUDITOR = DEVELOPER | {"name": "auditor", "role_arn": "arn:aws:iam::111122223333:role/Auditor"}
AWS_CLIS = [str(PROGRAMS / "aws"), "/usr/bin/aws"]


class Desk:
    """A front door that gives credentials and lists roles, and a home folder."""

    def __init__(self, door: FrontDoor, login: dict[str, str], home: Path) -> None:
        self.door = door
        self.roles = [DEVELOPER]
        self.home = home
        self.config = home / ".aws" / "config"
        self.env = {"PATH": "/usr/bin:/bin", "HOME": str(home), "ZEROTRUST_BROKER_URL": door.url, **login}
        door.reply = self._answer

    def _answer(self, visit: Visit) -> None:
        body = (
            wire.roles_body(self.roles)
            if visit.head.startswith(f"GET {wire.ROLES_PATH} ")
            else wire.credentials_body(**front_door.CREDENTIALS)
        )
        visit.answer(200, body, visit.negotiate(), f"Content-Type: {wire.JSON}")

    def run(self, *words: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        command = [str(PROGRAMS / "zerotrust"), "configure", *words]
        return subprocess.run(
            command, env=env or self.env, capture_output=True, text=True, check=False, timeout=60, cwd=self.home
        )

    def write(self, *words: str) -> str:
        done = self.run("--write", *words)
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
        return self.config.read_text()


def names_in(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


@pytest.fixture(scope="module")
def _door(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontDoor]:
    keytab = realm.keytab(tmp_path_factory.mktemp("configure") / "keytab", "HTTP/localhost")
    with FrontDoor.tcp(keytab) as door:
        yield door


@pytest.fixture(scope="module")
def login(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return realm.kinit("alice", tmp_path_factory.mktemp("alice") / "ccache")


@pytest.fixture
def desk(_door: FrontDoor, login: dict[str, str], tmp_path: Path) -> Desk:
    return Desk(_door, login, tmp_path)


# ---- the tools ----


@pytest.mark.parametrize("aws", AWS_CLIS)
def test_the_aws_cli_takes_credentials_through_the_profile(desk: Desk, aws: str) -> None:
    desk.write("--region", "eu-central-1")
    # As from cron: neither our PATH nor our variables, but for the ticket.
    env = {name: desk.env[name] for name in ("HOME", "KRB5_CONFIG", "KRB5CCNAME")} | {"PATH": "/usr/bin:/bin"}
    command = [aws, "configure", "list", "--profile", "developer"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert re.search(rf"access_key +\**{front_door.CREDENTIALS['access_key_id'][-4:]} +custom-process", done.stdout)
    assert re.search(r"region +eu-central-1 ", done.stdout)


@pytest.mark.parametrize("aws", AWS_CLIS)
def test_a_key_that_the_aws_cli_sets_in_our_profile_stays(desk: Desk, aws: str) -> None:
    before = desk.write()
    for profile in ("developer", "mine"):
        command = [aws, "configure", "set", "cli_pager", "cat", "--profile", profile]
        subprocess.run(command, env=desk.env, check=True, timeout=120)
    assert desk.config.read_text() != before
    desk.roles = [DEVELOPER, AUDITOR]
    after = desk.write()
    listed = subprocess.run(
        [aws, "configure", "list-profiles"], env=desk.env, capture_output=True, text=True, check=False
    )
    assert after.count("cli_pager = cat") == 2
    if aws == AWS_CLIS[1]:
        assert listed.stdout.split() == ["auditor", "developer", "mine"]


def test_boto3_takes_credentials_through_the_profile(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.write("--template", "{alias}/{role}", "--region", "eu-central-1")
    for name, value in desk.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("ZEROTRUST_BROKER_URL")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(desk.config))
    session = boto3.Session(profile_name="prod/developer")
    found = session.get_credentials()
    assert found is not None
    assert found.get_frozen_credentials().access_key == front_door.CREDENTIALS["access_key_id"]
    assert session.region_name == "eu-central-1"


# ---- what is shown, and what is done ----


def test_without_write_a_diff_is_shown_and_nothing_is_changed(desk: Desk) -> None:
    desk.config.parent.mkdir()
    desk.config.write_text("[default]\nregion = eu-west-1")
    for words in ([], ["--diff"]):
        done = desk.run(*words)
        assert done.returncode == 0
        assert "+[profile developer]\n" in done.stdout
        assert "\\ No newline at end of file\n" in done.stdout
        assert "--write" in done.stderr
    assert desk.config.read_text() == "[default]\nregion = eu-west-1"
    assert names_in(desk.config.parent) == ["config"]
    desk.write()
    assert desk.run().stdout == ""


def test_print_prints_the_block_and_nothing_else(desk: Desk) -> None:
    done = desk.run("--print")
    assert done.stderr == ""
    desk.write()
    assert desk.config.read_text() == done.stdout


def test_a_second_run_touches_nothing(desk: Desk) -> None:
    desk.write()
    before = desk.config.stat()
    done = desk.run("--write")
    assert "nothing to change" in done.stderr
    assert desk.config.stat() == before


def test_a_program_and_a_broker_are_written_so_that_cron_finds_them(desk: Desk) -> None:
    text = desk.write()
    program = PROGRAMS / "zerotrust"
    assert f"credential_process = {program} credential-process --broker {desk.door.url} --role developer\n" in text


def test_a_broker_that_a_settings_file_names_is_not_written(desk: Desk) -> None:
    folder = desk.home / ".config" / "zerotrust"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(f'broker_url = "{desk.env.pop("ZEROTRUST_BROKER_URL")}"\n')
    assert f"credential_process = {PROGRAMS / 'zerotrust'} credential-process --role developer\n" in desk.write()


def test_a_setting_that_the_line_cannot_carry_is_told(desk: Desk) -> None:
    done = desk.run(env=desk.env | {"ZEROTRUST_SPN": "HTTP@localhost"})
    assert done.returncode == 0
    assert done.stderr.startswith("spn is a variable of this shell: ")


def test_a_vanished_role_goes_with_prune_and_the_file_is_what_it_was(desk: Desk) -> None:
    desk.config.parent.mkdir()
    before = b"[default]\r\nregion = eu-west-1 ; \xff\r\n"
    desk.config.write_bytes(before)
    assert desk.run("--write").returncode == 0
    desk.roles = []
    assert desk.run("--write").returncode == 0
    assert b"[profile developer]" in desk.config.read_bytes()
    assert "removed developer" in desk.run("--write", "--prune").stderr
    assert desk.config.read_bytes() == before


def test_a_tool_s_profiles_are_taken_over_and_what_was_there_is_kept(desk: Desk) -> None:
    desk.config.parent.mkdir()
    old = "[profile prod]\nrole_arn = arn:aws:iam::111122223333:role/Developer\nsource_profile = root\nregion = eu-west-1\n"
    desk.config.write_text(old)
    assert "-role_arn = " in desk.run("--from", "aws-vault").stdout
    done = desk.run("--from", "aws-vault", "--write")
    assert "prod: role developer\n" in done.stderr
    text = desk.config.read_text()
    assert text.count("[profile prod]") == 1
    assert "role_arn" not in text
    assert (desk.config.parent / "config.before-zerotrust").read_text() == old
    assert "nothing to change" in desk.run("--write").stderr


# ---- the file ----


def test_a_link_stays_a_link_and_the_mode_stays(desk: Desk) -> None:
    dotfiles = desk.home / "dotfiles"
    dotfiles.mkdir()
    (dotfiles / "aws").write_text("[default]\n")
    (dotfiles / "aws").chmod(0o640)
    desk.config.parent.mkdir()
    desk.config.symlink_to("../dotfiles/aws")
    desk.write()
    assert desk.config.is_symlink()
    assert stat.S_IMODE((dotfiles / "aws").stat().st_mode) == 0o640
    assert "[profile developer]" in (dotfiles / "aws").read_text()
    assert names_in(dotfiles) == ["aws", "aws.before-zerotrust"]


def test_a_new_file_is_nobody_else_s_to_read(desk: Desk) -> None:
    desk.write()
    assert stat.S_IMODE(desk.config.stat().st_mode) == 0o600
    assert stat.S_IMODE(desk.config.parent.stat().st_mode) == 0o700


def test_a_file_of_another_user_is_left_to_them(desk: Desk) -> None:
    if os.geteuid() != 0:
        pytest.fail("needs root, as CI has")
    desk.write()
    os.chown(desk.config, 65534, -1)
    desk.roles = [DEVELOPER, AUDITOR]
    done = desk.run("--write")
    assert done.returncode == 2
    assert "belongs to uid 65534" in done.stderr
    assert desk.config.stat().st_uid == 65534


def test_aws_config_file_is_where_it_is_written(desk: Desk) -> None:
    elsewhere = desk.home / "new" / "aws-config"
    assert desk.run("--write", env=desk.env | {"AWS_CONFIG_FILE": "~/new/aws-config"}).returncode == 0
    assert "[profile developer]" in elsewhere.read_text()
    assert not desk.config.exists()


def test_runs_at_the_same_time_wait_for_each_other(desk: Desk) -> None:
    folder = desk.config.parent
    folder.mkdir()
    desk.door.visits.clear()
    held = os.open(folder, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    pipe = subprocess.PIPE
    command = [str(PROGRAMS / "zerotrust"), "configure", "--write"]
    running = [subprocess.Popen(command, env=desk.env, stdout=pipe, stderr=pipe, text=True) for _ in range(2)]
    deadline = time.monotonic() + 8
    while len(desk.door.visits) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not desk.config.exists()
    os.close(held)
    said = [process.communicate(timeout=60)[1] for process in running]
    assert sum("added developer" in text for text in said) == 1, said
    assert sum("nothing to change" in text for text in said) == 1, said
    assert names_in(folder) == ["config"]


@pytest.mark.parametrize(
    ("file", "text", "where"),
    [
        ("config", "[default]\n[profile developer]\nregion = x\n", "config:2: "),
        ("credentials", "[developer]\naws_access_key_id = A\naws_secret_access_key = B\n", "credentials:1: "),
        ("config", "[default\n", "config:1: "),
    ],
)
def test_what_would_break_or_shadow_a_profile_is_named_and_nothing_is_written(
    desk: Desk, file: str, text: str, where: str
) -> None:
    desk.config.parent.mkdir()
    (desk.config.parent / file).write_text(text)
    done = desk.run("--write")
    assert (done.returncode, done.stdout) == (2, "")
    assert where in done.stderr
    assert " [configuration] — run: " in done.stderr
    assert names_in(desk.config.parent) == [file]
    assert (desk.config.parent / file).read_text() == text


@pytest.mark.parametrize(
    "words",
    [
        ["--write", "--print"],
        ["--region", "Frankfurt"],
        ["--output", "xml"],
        ["--from", "weep"],
        ["--template", "{nobody}"],
    ],
)
def test_wrong_usage_is_one_line(desk: Desk, words: list[str]) -> None:
    done = desk.run(*words)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert " [usage] — run: zerotrust " in done.stderr


def test_the_lines_of_json_stay_json(desk: Desk) -> None:
    desk.write()
    line = next(line for line in desk.config.read_text().splitlines() if line.startswith("credential_process"))
    done = subprocess.run(
        ["/bin/sh", "-c", line.partition(" = ")[2]],
        env=desk.env,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert json.loads(done.stdout)["AccessKeyId"] == front_door.CREDENTIALS["access_key_id"]
