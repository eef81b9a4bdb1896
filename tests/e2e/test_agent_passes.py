"""``zerotrust serve --pass``: a job that was started with a ticket goes on all night without one, and leaves no pass behind."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import front_door
from tests.fakes.broker import BrokerProcess, configuration
from tests.fakes.front_door import CREDENTIALS, FrontDoor, Visit
from tests.fakes.realm import Realm
from tests.fakes.redis import RedisServer
from tests.fakes.served import ROOT, serving
from tests.fakes.sts.demo import demo_world
from tests.fakes.sts.process import StrictSts
from tests.fakes.until import eventually
from tests.fakes.user_side import zerotrust

RULE = {"name": "engineers", "principals": ["alice@EXAMPLE.COM"], "roles": ["developer"], "job_passes": "8h"}


@pytest.fixture(scope="module")
def _broker(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerProcess]:
    folder = tmp_path_factory.mktemp("passes")
    keytab = realm.keytab(folder / "broker.keytab", "HTTP/localhost")
    with RedisServer.start(folder / "redis") as server, StrictSts(demo_world()) as sts:
        redis = {"url": server.url, "password": server.password}
        settings = configuration(folder, keytab=keytab, sts_endpoint=sts.url, redis=redis, rules=[RULE])
        with BrokerProcess(folder, settings, env=realm.env) as process:
            yield process


@dataclass
class Broker:
    """The one of this file, from a moment on."""

    process: BrokerProcess
    before: int

    @property
    def url(self) -> str:
        return self.process.url

    def events(self) -> list[tuple[str, str]]:
        """What succeeded since, and by what."""
        records = self.process.records()[self.before :]
        return [(record["event"], record.get("via", "")) for record in records if record.get("success")]


@pytest.fixture
def broker(_broker: BrokerProcess) -> Broker:
    return Broker(_broker, len(_broker.records()))


@pytest.fixture
def login(realm: Realm, tmp_path: Path) -> dict[str, str]:
    return {**realm.kinit("alice", tmp_path / "ccache"), "XDG_RUNTIME_DIR": str(tmp_path)}


def test_a_job_goes_on_without_a_ticket_and_its_pass_ends_with_it(
    broker: Broker, login: dict[str, str], tmp_path: Path
) -> None:
    environment = {**login, "ZEROTRUST_BROKER_URL": broker.url}
    with serving(environment, "--role", "developer", "--pass", "8h") as served:
        (tmp_path / "ccache").unlink()
        answer = served.ask()
        assert answer is not None
        assert answer.status == 200
        assert json.loads(answer.body)["AccessKeyId"].startswith("ASIA")
        assert ("pass_issued", "ticket") in broker.events()
        assert ("issued", "job_pass") in broker.events()
    assert broker.events()[-1] == ("pass_cancelled", "job_pass")


def test_a_pass_for_longer_than_the_rule_allows_is_refused_before_the_job_starts(
    broker: Broker, login: dict[str, str]
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "zerotrust_kerberos", "serve", "--role", "developer", "--pass", "9h"],
        env={**login, "ZEROTRUST_BROKER_URL": broker.url},
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert re.search(r"your rule lets jobs go on for (479|480) minutes: --pass \1m\)", done.stderr), done.stderr
    assert broker.events()[-1] == ("pass_cancelled", "job_pass")


def test_a_program_of_exec_goes_on_by_a_pass_which_ends_with_it_however_that_ends(
    broker: Broker, login: dict[str, str], tmp_path: Path
) -> None:
    url = broker.url.replace("127.0.0.1", "localhost")
    environment = {**login, "ZEROTRUST_BROKER_URL": url, "HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true"}
    ask = "import botocore.session as b; print(b.get_session().get_credentials().access_key, flush=True)"
    script = f"import os, signal; os.unlink({str(tmp_path / 'ccache')!r}); {ask}; os.kill(os.getpid(), signal.SIGKILL)"
    done = zerotrust(environment, "exec", "developer", "--pass", "8h", "--", sys.executable, "-c", script)
    assert (done.returncode, done.stderr) == (-signal.SIGKILL, "")
    assert done.stdout.startswith("ASIA")
    eventually(lambda: broker.events()[-1] == ("pass_cancelled", "job_pass"))
    assert ("issued", "job_pass") in broker.events()


# With the hours of a night as seconds: what a job sees of it is the same.
_NIGHT = """
from zerotrust_kerberos.agent import supply
supply.PASS_LIFETIME, supply._PASS_MIN, supply._AGAIN, supply._CLOCKS = 2, 1, 0.2, 1e9
supply.wire.seconds_of = lambda text, member: int(text[:-1])
from zerotrust_kerberos import cli
cli.main()
"""


class Night:
    """A broker whose passes have numbers, and whose credentials are too old to be kept."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.is_down = False

    def __call__(self, visit: Visit) -> None:
        line = " ".join(visit.head.split(" ")[:2])
        self.asked.append((line, visit.headers["authorization"].split(" ")[-1] if not visit.principal else ""))
        if self.is_down:
            front_door.problem(503, "draining")(visit)
        elif "/v1/passes" in line:
            body: dict[str, Any] = {
                "pass": f"ztpass_{len(self.asked)}",
                "id": "i",
                "renewable_until": "2037-01-01T00:00:00Z",
            }
            proof = [visit.negotiate()] if visit.principal else []
            visit.answer(
                204 if "DELETE" in line else 200, b"" if "DELETE" in line else json.dumps(body).encode(), *proof
            )
        else:
            members = {**CREDENTIALS, "expiration": "2020-01-01T00:00:00Z"}
            visit.answer(200, front_door.wire.credentials_body(**members))

    def shown(self, line: str) -> list[str]:
        return [token for asked, token in self.asked if asked == line]


def test_a_pass_is_renewed_by_itself_again_after_a_failure_and_its_newest_text_is_shown(
    realm: Realm, login: dict[str, str], tmp_path: Path
) -> None:
    night = Night()
    with FrontDoor.tcp(realm.keytab(tmp_path / "keytab", "HTTP/localhost")) as door:
        door.reply = night
        environment = {**login, "ZEROTRUST_BROKER_URL": door.url}
        with serving(environment, "--role", "developer", "--pass", "3600s", program=["-c", _NIGHT]) as served:
            eventually(lambda: len(night.shown("POST /v1/passes/current/renew")) > 1)
            night.is_down = True
            tries = len(night.shown("POST /v1/passes/current/renew"))
            eventually(lambda: len(night.shown("POST /v1/passes/current/renew")) > tries + 1)
            night.is_down = False
            tries = len(night.shown("POST /v1/passes/current/renew"))
            eventually(lambda: len(night.shown("POST /v1/passes/current/renew")) > tries + 1)
            newest = night.shown("POST /v1/passes/current/renew")
            assert len(set(newest)) > 2
            answer = served.ask()
            assert answer is not None
            assert answer.status == 200
            assert night.shown("POST /v1/credentials")[-1] not in newest[:-2]
        assert night.shown("DELETE /v1/passes/current")
        assert len(night.shown("POST /v1/passes")) == 1


def test_when_the_time_of_a_pass_is_over_it_is_given_back_and_gives_nothing(
    realm: Realm, login: dict[str, str], tmp_path: Path
) -> None:
    night = Night()
    with FrontDoor.tcp(realm.keytab(tmp_path / "keytab", "HTTP/localhost")) as door:
        door.reply = night
        environment = {**login, "ZEROTRUST_BROKER_URL": door.url}
        with serving(environment, "--role", "developer", "--pass", "3s", program=["-c", _NIGHT]) as served:
            eventually(lambda: night.shown("DELETE /v1/passes/current") != [])
            answer = served.ask()
            assert answer is not None
            assert answer.status == 401
            assert b"the time of the job pass is over" in answer.body
