"""SDKs and the AWS CLI sign with what the broker gives as long as it lasts: many requests, one question to the broker.

With less than a quarter of an hour left botocore runs its helper again for every signature; nobody ever gets so near.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.e2e.conftest import House
from tests.fakes.broker import PROGRAMS
from tests.fakes.realm import Realm

REQUESTS = 20
BUCKET = "many"
# botocore runs its helper again below this.
CLIFF = timedelta(minutes=15)

BOTOCORE = f"""
import boto3
client = boto3.Session(profile_name="developer").client("sts")
for _ in range({REQUESTS}):
    print(client.get_caller_identity()["Arn"])
"""

JAVASCRIPT = f"""
import {{ GetCallerIdentityCommand, STSClient }} from "@aws-sdk/client-sts";
import {{ fromProcess }} from "@aws-sdk/credential-providers";
const client = new STSClient({{ credentials: fromProcess({{ profile: "developer" }}), region: "eu-central-1" }});
for (let n = 0; n < {REQUESTS}; n++) console.log((await client.send(new GetCallerIdentityCommand({{}}))).Arn);
"""


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The AWS CLI signs many requests in one run where there are many files; STS has no such command."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    boto3.client(
        "s3", region_name="us-east-1", endpoint_url=url, aws_access_key_id="AKIAMADEUP", aws_secret_access_key="made-up"
    ).create_bucket(Bucket=BUCKET)
    yield url
    server.stop()


@pytest.fixture(params=[16, 60], ids=["16 minutes left", "60 minutes left"])
def ticket(request: pytest.FixtureRequest, realm: Realm, tmp_path: Path) -> dict[str, str]:
    """alice's, and credentials made with it live so long: where it ends within the hour they end with it, by the minute."""
    ccache = tmp_path / "ccache"
    if request.param == 60:
        return realm.kinit("alice", ccache)
    soonest = int(time.time()) + 60 * request.param + 5
    return realm.kinit("alice", ccache, lifetime=timedelta(seconds=soonest + -soonest % 60 - int(time.time())))


@pytest.fixture
def surroundings(house: House, ticket: Mapping[str, str], tmp_path: Path, s3: str) -> dict[str, str]:
    """What a user has who wrote one line into the configuration of the AWS CLI."""
    config = tmp_path / "aws-config"
    helper = f"{PROGRAMS / 'zerotrust'} credential-process --broker {house.broker.url} --role developer"
    config.write_text(f"[profile developer]\nregion = eu-central-1\ncredential_process = {helper}\n")
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
        "AWS_CONFIG_FILE": str(config),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_REGION": "eu-central-1",
        "AWS_ENDPOINT_URL_STS": house.sts.url,
        "AWS_ENDPOINT_URL_S3": s3,
        **ticket,
    }


def run(command: list[str], env: Mapping[str, str], folder: Path) -> list[str]:
    done = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def issued_since(house: House, before: int) -> list[timedelta]:
    """For each time that credentials were handed out: how long they had left."""
    return [
        datetime.fromisoformat(record["expiration"]) - datetime.fromisoformat(record["timestamp"])
        for record in house.broker.records()[before:]
        if record["event"] == "issued"
    ]


def assert_one_answer_sufficed(house: House, before: int, request: pytest.FixtureRequest) -> None:
    (left,) = issued_since(house, before)
    if "16" in request.node.callspec.id:
        assert CLIFF < left < timedelta(minutes=18)
    else:
        assert CLIFF < left <= timedelta(minutes=60)


def test_botocore_signs_twenty_requests_with_one_answer(
    house: House, surroundings: dict[str, str], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    before = len(house.broker.records())
    env = surroundings | {"AWS_PROFILE": "developer"}
    assert len(run([str(PROGRAMS / "python"), "-c", BOTOCORE], env, tmp_path)) == REQUESTS
    assert_one_answer_sufficed(house, before, request)


def test_the_aws_cli_signs_twenty_requests_with_one_answer(
    house: House, surroundings: dict[str, str], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    files = tmp_path / "files"
    files.mkdir()
    for number in range(REQUESTS):
        (files / f"{number}.txt").write_text("x")
    aws = [str(PROGRAMS / "aws"), "--profile", "developer", "s3"]
    before = len(house.broker.records())
    uploaded = run([*aws, "cp", "--recursive", "--no-progress", str(files), f"s3://{BUCKET}/"], surroundings, tmp_path)
    assert len(uploaded) == REQUESTS
    assert_one_answer_sufficed(house, before, request)


def test_the_javascript_sdk_signs_twenty_requests_with_one_answer(
    house: House, surroundings: dict[str, str], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    (tmp_path / "node_modules").symlink_to(PROGRAMS.parent / "javascript" / "node_modules")
    (tmp_path / "sign.mjs").write_text(JAVASCRIPT)
    before = len(house.broker.records())
    arns = run([str(PROGRAMS / "node"), "sign.mjs"], surroundings, tmp_path)
    assert len(arns) == REQUESTS
    assert set(arns) == {"arn:aws:sts::111122223333:assumed-role/Developer/alice@EXAMPLE.COM"}
    assert_one_answer_sufficed(house, before, request)
