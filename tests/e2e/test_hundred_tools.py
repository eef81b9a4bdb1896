"""A hundred AWS tools at once on a machine with an agent: the broker hears one question, and AWS one role chain."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import House, settings_of
from tests.fakes import users
from tests.fakes.broker import BrokerProcess
from tests.fakes.realm import Realm
from tests.fakes.sts import StrictSts
from tests.fakes.users import ALICE, PYTHON

CALLS = 100
ARN = "arn:aws:sts::111122223333:assumed-role/Developer/alice@EXAMPLE.COM"

# Debian's AWS CLI 2.9, a process for each call. Its modules are read once, by the process that all of them are forked from, so
# that they ask at the same moment, and not one after the other as two cores get through with a minute of imports, which would
# leave helpers waiting for a core until their ten seconds are over.
HUNDRED = f"""
import json, os, sys
import awscli.clidriver
driver = awscli.clidriver.create_clidriver()
driver.session.get_service_model("sts")
driver.session.get_component("endpoint_resolver")
go, ready = os.pipe()
children = []
for _ in range({CALLS}):
    out, into = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(ready)
        os.read(go, 1)
        os.dup2(into, 1)
        os.dup2(into, 2)
        status = 99
        try:
            status = driver.main()
        finally:
            sys.stdout.flush()
            os._exit(status)
    os.close(into)
    children.append((pid, out))
os.close(ready)
said = []
for pid, out in children:
    with os.fdopen(out) as pipe:
        text = pipe.read()
    said.append([os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), text.strip()])
print(json.dumps(said))
"""


PROGRAM = """
import asyncio
from zerotrust_kerberos import AsyncBroker, SecretManager
print(SecretManager().get_aws_credentials(role="developer").access_key_id)
async def main():
    async with AsyncBroker() as broker:
        print((await broker.get_credentials("developer")).access_key_id)
asyncio.run(main())
"""


@pytest.fixture
def everybodys() -> Iterator[Path]:
    """A folder that all users can read."""
    with tempfile.TemporaryDirectory(prefix="zerotrust-hundred-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.fixture
def house(realm: Realm, sts: StrictSts, tmp_path: Path) -> Iterator[House]:
    """With a cold cache."""
    with BrokerProcess(tmp_path, settings_of(tmp_path, realm, sts), env=realm.env) as broker:
        yield House(broker, realm, sts)


def machine(house: House, folder: Path, library: Path) -> dict[str, str]:
    """A realm as a machine has it, with alice's login where it keeps them, and a profile."""
    conf = (house.realm.folder / "krb5.conf").read_text().replace("default_ccache_name", "#")
    (folder / "krb5.conf").write_text(f"[libdefaults]\n    default_ccache_name = FILE:{folder}/krb5cc_%{{uid}}\n{conf}")
    cache = folder / f"krb5cc_{ALICE}"
    house.realm.kinit("alice", cache)
    os.chown(cache, ALICE, 0)
    helper = f"{PYTHON} -m zerotrust_kerberos credential-process --role developer"
    (folder / "aws-config").write_text(f"[default]\ncredential_process = {helper}\n")
    return {
        "PYTHONPATH": str(library),
        "KRB5_CONFIG": str(folder / "krb5.conf"),
        "ZEROTRUST_BROKER_URL": house.broker.url,
        "ZEROTRUST_AGENT": str(folder / "agent.sock"),
        "HOME": str(folder),
        "AWS_CONFIG_FILE": str(folder / "aws-config"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_DEFAULT_REGION": "eu-central-1",
    }


def test_a_hundred_aws_calls_on_a_cold_cache_are_one_question_and_one_role_chain(
    house: House, everybodys: Path
) -> None:
    with users.installed() as library:
        subprocess.run([PYTHON, "-m", "compileall", "-q", library], check=True, timeout=120)
        subprocess.run(["chmod", "-R", "a+rX", library], check=True, timeout=120)
        surroundings = machine(house, everybodys, library)
        command = ["--endpoint-url", house.sts.url, "sts", "get-caller-identity", "--query", "Arn", "--output", "text"]
        with users.agent(surroundings, path=Path(surroundings["ZEROTRUST_AGENT"])):
            done = users.run(ALICE, [PYTHON, "-c", HUNDRED, *command], surroundings)
            program = users.run(ALICE, [PYTHON, "-c", PROGRAM], surroundings)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[0, ARN]] * CALLS
    (issued,) = (record for record in house.broker.records() if record["event"] == "issued")
    assert program.stdout.split() == [issued["access_key_id"]] * 2, "programs have it from the agent too"
    assert len(house.sts.calls(action="AssumeRole")) == 2, "a chain of two roles"
