"""``zerotrust doctor`` on what goes before a profile of ours, on the agent, and what ``--fix`` does: faults made for real."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from tests.fakes.clinic import PROGRAM, Clinic
from tests.fakes.front_door import FrontDoor
from tests.fakes.realm import Realm


@pytest.fixture
def clinic(realm: Realm, _door: FrontDoor, tmp_path: Path) -> Clinic:
    return Clinic(realm, _door, tmp_path, realm.kinit("alice", tmp_path / "ccache", options=["-r", "2d"]))


# ---- what goes before us ----


def test_a_proxy_is_told_without_its_password(clinic: Clinic) -> None:
    done = clinic.run("--json", http_proxy="http://user:hunter2@proxy.example:3128")
    found = {one["check"]: one for one in json.loads(done.stdout)}["proxies"]
    assert found["verdict"] == "warn"
    assert "http_proxy is proxy.example:3128" in found["evidence"]
    assert "hunter2" not in done.stdout
    assert found["fix"] == 'export NO_PROXY="${NO_PROXY:+$NO_PROXY,}localhost"'
    again = clinic.findings(http_proxy="http://proxy.example:3128", NO_PROXY="example.com,localhost")
    assert again["proxies"]["verdict"] == "ok"


def profile(clinic: Clinic, text: str = "") -> None:
    folder = clinic.home / ".aws"
    folder.mkdir(exist_ok=True)
    (folder / "config").write_text(
        f"[profile developer]\ncredential_process = {PROGRAM} credential-process --role developer\n{text}"
    )


def provider(clinic: Clinic, **more: str) -> str:
    """Where the AWS CLI takes credentials from."""
    env = {**clinic.env, "AWS_PROFILE": "developer", **more}
    done = subprocess.run(
        ["/usr/bin/aws", "configure", "list"], env=env, capture_output=True, text=True, check=False, timeout=120
    )
    found = re.search(r"^\s*access_key +\S+ +(\S+)", done.stdout, re.MULTILINE)
    return found[1] if found else done.stderr


def test_keys_in_variables_go_before_a_profile_as_the_aws_cli_shows(clinic: Clinic) -> None:
    profile(clinic)
    keys = {"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY": "x"}
    assert provider(clinic, **keys) == "env"
    found = clinic.findings(**keys)["AWS variables"]
    assert (found["verdict"], found["fix"]) == ("warn", "unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY")


def test_keys_in_the_credentials_file_go_before_a_profile_as_the_aws_cli_shows(clinic: Clinic) -> None:
    profile(clinic)
    text = "[other]\n[developer]\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = x\n"
    (clinic.home / ".aws" / "credentials").write_text(text)
    assert provider(clinic) == "shared-credentials-file"
    check, code, said = clinic.first()
    assert (check, code) == ("AWS files", "configuration")
    assert "credentials:2: " in said


def test_a_role_arn_in_a_profile_of_ours_is_named_with_its_line(clinic: Clinic) -> None:
    profile(clinic, "region = x\nrole_arn = arn:aws:iam::111122223333:role/A\nsource_profile = developer\n")
    check, _, said = clinic.first()
    assert check == "AWS files"
    assert "config:4: role_arn goes before the credential_process of developer" in said


def test_a_program_that_moved_is_named(clinic: Clinic) -> None:
    profile(clinic)
    config = clinic.home / ".aws" / "config"
    config.write_text(config.read_text().replace(PROGRAM, "/gone/zerotrust"))
    assert "runs /gone/zerotrust, which is not there — run: zerotrust configure --write" in clinic.first()[2]


def test_a_profile_that_does_not_exist(clinic: Clinic) -> None:
    profile(clinic)
    found = clinic.findings(AWS_PROFILE="develper")["AWS variables"]
    assert (found["verdict"], found["evidence"]) == ("warn", "AWS_PROFILE is develper, and there is no such profile")
    assert clinic.findings(AWS_PROFILE="developer")["AWS variables"]["verdict"] == "ok"


def test_an_agent_is_found_and_a_dead_or_foreign_one_is_told(clinic: Clinic) -> None:
    path = clinic.home / "zerotrust" / "agent.sock"
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as agent:
        agent.bind(str(path))
        agent.listen()
        found = clinic.findings(XDG_RUNTIME_DIR=str(clinic.home))["agent"]
        assert (found["verdict"], str(path) in found["evidence"]) == ("ok", True)
    found = clinic.findings(XDG_RUNTIME_DIR=str(clinic.home))["agent"]
    assert (found["verdict"], "Connection refused" in found["evidence"]) == ("warn", True)
    path.unlink()
    script = (
        "import os, socket, sys; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]);"
        "os.setuid(65534); s.listen(); print(flush=True); s.accept(); s.accept()"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE) as stranger:
        assert stranger.stdout is not None
        stranger.stdout.readline()
        found = clinic.findings(XDG_RUNTIME_DIR=str(clinic.home))["agent"]
        stranger.send_signal(signal.SIGKILL)
    assert (found["verdict"], "belongs to uid 65534" in found["evidence"]) == ("warn", True)


# ---- --fix ----


def test_fix_makes_a_ticket_private_and_nothing_does_without_it(clinic: Clinic) -> None:
    ccache = clinic.home / "ccache"
    ccache.chmod(0o644)
    found = clinic.findings()["ticket"]
    assert (found["verdict"], found["fix"]) == ("warn", f"chmod 600 '{ccache}'")
    assert stat.S_IMODE(ccache.stat().st_mode) == 0o644
    assert clinic.findings("--fix")["ticket"]["fixed"] == "done"
    assert stat.S_IMODE(ccache.stat().st_mode) == 0o600


def test_fix_makes_keys_private(clinic: Clinic) -> None:
    profile(clinic)
    credentials = clinic.home / ".aws" / "credentials"
    credentials.write_text("[other]\n")
    credentials.chmod(0o640)
    assert clinic.findings("--fix")["AWS files"]["fixed"] == "done"
    assert stat.S_IMODE(credentials.stat().st_mode) == 0o600


def test_what_is_no_file_of_ones_own_stays_as_it_is(clinic: Clinic) -> None:
    profile(clinic)
    device, others = clinic.home / "null", clinic.home / "others"
    os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    device.chmod(0o666)
    others.touch()
    os.chown(others, 65534, 65534)
    for path in (device, others):
        before = path.stat().st_mode
        found = clinic.findings("--fix", AWS_SHARED_CREDENTIALS_FILE=str(path))["AWS files"]
        assert (found["verdict"], path.stat().st_mode) == ("ok", before)


def test_fix_renews_a_ticket_that_ends_soon(clinic: Clinic) -> None:
    ccache = clinic.home / "ccache"
    clinic.realm.kinit("alice", ccache, lifetime=timedelta(minutes=10), options=["-r", "2d"])
    before = ccache.read_bytes()
    found = clinic.findings()["ticket"]
    assert (found["verdict"], found["fix"]) == ("warn", "kinit -R")
    # A renewed ticket is as long as the first one was, so this one ends soon again.
    assert clinic.findings("--fix")["ticket"]["fixed"].startswith("no help: alice@EXAMPLE.COM in ")
    assert ccache.read_bytes() != before


def test_fix_leaves_alone_what_is_somebody_s_decision(clinic: Clinic) -> None:
    found = clinic.findings("--fix", AWS_ACCESS_KEY_ID="AKIA", KRB5CCNAME=f"FILE:{clinic.home}/none")
    assert not any("fixed" in one for one in found.values())
    assert not (clinic.home / "none").exists()
