"""Jobs of three hours with one-hour credentials: nobody ever signs with what has expired, and the broker is hardly asked.

Realm, broker, STS and the job live under one clock that the job itself turns, five minutes before each request.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.conftest import House, settings_of
from tests.fakes.broker import PROGRAMS, BrokerProcess
from tests.fakes.clockwork import TURN, clockwork
from tests.fakes.realm import Realm
from tests.fakes.sts import StrictSts, demo_world

MINUTES, STEP = 180, 5
# A set lasts an hour and is renewed with 20 minutes left: every 40 minutes, and the first one.
SETS_MAX = 1 + MINUTES // 40 + 1
ARN = "arn:aws:sts::111122223333:assumed-role/Developer/alice@EXAMPLE.COM"

SYNC = f"""{TURN}
import zerotrust_kerberos
client = zerotrust_kerberos.boto3_session(role="developer", region_name="eu-central-1").client("sts")
for _ in range({MINUTES // STEP}):
    turn({STEP})
    print(client.get_caller_identity()["Arn"])
"""

# A program that knows nothing of us.
CHILD = f"""{TURN}
import boto3
client = boto3.client("sts", region_name="eu-central-1")
for _ in range({MINUTES // STEP}):
    turn({STEP})
    print(client.get_caller_identity()["Arn"])
"""

# By hand, because no asynchronous SDK can be installed beside this boto3.
ASYNC = f"""{TURN}
import asyncio, os, urllib.request
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from zerotrust_kerberos import AsyncBroker

def identity(keys):
    request = AWSRequest("POST", os.environ["AWS_ENDPOINT_URL_STS"], data="Action=GetCallerIdentity&Version=2011-06-15")
    request.headers["Content-Type"] = "application/x-www-form-urlencoded"
    SigV4Auth(keys, "sts", "eu-central-1").add_auth(request)
    signed = urllib.request.Request(request.url, request.data.encode(), dict(request.headers))
    with urllib.request.urlopen(signed) as answer:
        return answer.read().decode().partition("<Arn>")[2].partition("</Arn>")[0]

async def main():
    async with AsyncBroker() as broker:
        for _ in range({MINUTES // STEP}):
            turn({STEP})
            with await broker.get_credentials("developer") as found:
                keys = Credentials(found.access_key_id, found.secret_access_key, found.session_token)
                print(await asyncio.to_thread(identity, keys))

asyncio.run(main())
"""


@dataclass
class Hours:
    """A house under a clock of its own, and somebody in it whose ticket is always a new one."""

    house: House
    env: dict[str, str]

    def begin(self) -> int:
        """Forget what has been: alice logs in anew. How many records there are."""
        self.house.realm.kinit("alice", Path(self.env["KRB5CCNAME"].removeprefix("FILE:")))
        return len(self.house.broker.records())

    def run(self, *command: str) -> list[str]:
        """What a program printed, a line each."""
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, check=False, timeout=90)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()


@pytest.fixture(scope="module")
def hours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hours]:
    tmp_path = tmp_path_factory.mktemp("hours")
    clock = clockwork(tmp_path)
    with pytest.MonkeyPatch.context() as under:
        for name, value in clock.items():
            under.setenv(name, value)
        with (
            Realm.start(
                tmp_path / "realm",
                principals={"alice": "wonderland"},
                services=("HTTP/localhost", "host/localhost", "HTTP/broker.localhost"),
            ) as realm,
            StrictSts(demo_world()) as sts,
            BrokerProcess(tmp_path, settings_of(tmp_path, realm, sts), env={**realm.env, **clock}) as broker,
        ):
            env = {
                "PATH": f"{PROGRAMS}:/usr/bin:/bin",
                "HOME": str(tmp_path),
                "ZEROTRUST_BROKER_URL": broker.url,
                "AWS_EC2_METADATA_DISABLED": "true",
                "AWS_ENDPOINT_URL_STS": sts.url,
                **realm.kinit("alice", tmp_path / "ccache"),
                **clock,
            }
            yield Hours(House(broker, realm, sts), env)


@pytest.mark.parametrize(
    "command",
    [
        ("python", "-c", SYNC),
        ("python", "-c", ASYNC),
        ("zerotrust", "exec", "developer", "--", "python", "-c", CHILD),
    ],
    ids=["boto3_session", "AsyncBroker", "exec"],
)
def test_a_program_signs_for_three_hours(hours: Hours, command: tuple[str, ...]) -> None:
    before = hours.begin()
    assert hours.run(*command) == [ARN] * (MINUTES // STEP)
    issued = [record for record in hours.house.broker.records()[before:] if record["event"] == "issued"]
    sets = {record["access_key_id"] for record in issued}
    assert MINUTES // 60 < len(sets) <= SETS_MAX
    # The broker answers with what it has and renews meanwhile, so each new set is there for the second question.
    assert len(issued) <= 2 * len(sets)
