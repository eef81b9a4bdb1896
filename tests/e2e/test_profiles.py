"""A new user's first minutes: the doctor says that all is well, configure writes the profile, and the AWS CLI is the role."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.e2e.conftest import House
from tests.fakes.broker import PROGRAMS
from tests.fakes.sts.demo import DEVELOPER_ROLE


def run(house: House, who: dict[str, str], home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL": house.sts.url,
        "AWS_ENDPOINT_URL_STS": house.sts.url,
        "HOME": str(home),
        "PATH": "/usr/bin:/bin",
        "ZEROTRUST_BROKER_URL": house.broker.url,
        **who,
    }
    command = [str(PROGRAMS / words[0]), *words[1:]]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=120, cwd=home)


def test_from_a_ticket_to_a_profile_that_the_aws_cli_uses(
    house: House, alice: dict[str, str], mallory: dict[str, str], tmp_path: Path
) -> None:
    well = run(house, alice, tmp_path, "zerotrust", "doctor", "--role", "developer", "--json")
    assert well.returncode == 0, well.stdout
    assert {one["verdict"] for one in json.loads(well.stdout)} == {"ok", "unseen"}
    done = run(house, alice, tmp_path, "zerotrust", "configure", "--template", "{account}-{role}", "--write")
    assert done.stderr == f"{tmp_path}/.aws/config: added 111122223333-developer\n"
    named = ("aws", "sts", "get-caller-identity", "--region", "eu-central-1", "--profile", "111122223333-developer")
    identity = run(house, alice, tmp_path, *named)
    assert identity.returncode == 0, identity.stderr
    assert json.loads(identity.stdout)["Arn"].startswith(
        DEVELOPER_ROLE.replace(":iam:", ":sts:").replace(":role/", ":assumed-role/")
    )
    # Whom no rule names has no roles: nothing to write, and the doctor says why.
    nobody = tmp_path / "mallory"
    nobody.mkdir()
    assert "nothing to change" in run(house, mallory, nobody, "zerotrust", "configure", "--write").stderr
    assert not (nobody / ".aws" / "config").exists()
    ill = run(house, mallory, nobody, "zerotrust", "doctor", "--role", "developer")
    assert ill.returncode == 4
    assert "BAD  role " in ill.stdout
