"""The master key changes in the HSM while two brokers serve: no request fails, and what was sealed opens after a restart."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_job_passes import BY_TICKET_ONLY, RULE, Owner
from tests.e2e.test_keys import PATIENCE, ROOT
from tests.e2e.test_revocation import cookie, credentials, status
from tests.fakes.asker import get
from tests.fakes.broker import BrokerProcess, configuration
from tests.fakes.hsm import MODULE, TOKEN, WRAPPING_KEY, SoftHsm
from tests.fakes.operator import Operator
from tests.fakes.realm import Realm
from tests.fakes.redis import RedisServer
from tests.fakes.sts.demo import demo_world
from tests.fakes.sts.process import StrictSts

_COUNT = """
import sys, pkcs11
module, token, pin, label = sys.argv[1:]
with pkcs11.lib(module).get_token(token_label=token).open(user_pin=pin) as session:
    print(len(list(session.get_objects({pkcs11.Attribute.LABEL: label}))))
"""


@dataclass
class Pair:
    hsm: SoftHsm
    brokers: list[BrokerProcess]
    root: Operator
    alice: Owner

    def keys(self, *words: str, of: BrokerProcess) -> dict[str, Any]:
        done = self.root.admin("keys", *words, "--json", "--url", of.url)
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def keks(self, broker: BrokerProcess) -> set[str]:
        return {kek["id"] for kek in self.keys("status", of=broker)["keks"]}

    def keys_in_the_token(self) -> int:
        command = [sys.executable, "-c", _COUNT, str(MODULE), TOKEN, self.hsm.user_pin, WRAPPING_KEY]
        done = subprocess.run(command, env=self.hsm.environment, check=True, capture_output=True, text=True)
        return int(done.stdout)


@pytest.fixture
def pair(realm: Realm, tmp_path: Path) -> Iterator[Pair]:
    hsm = SoftHsm.make(tmp_path / "hsm").make_key().make_wrapping_key()
    keytab = realm.keytab(tmp_path / "broker.keytab", "HTTP/localhost")
    with StrictSts(demo_world()) as sts, RedisServer.start(tmp_path / "redis") as server:
        brokers = []
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            settings = configuration(
                tmp_path,
                keytab=keytab,
                sts_endpoint=sts.url,
                audit={"directory": str(tmp_path / name / "audit")},
                state={"directory": str(tmp_path / name / "state")},
                redis={"url": server.url, "password": server.password},
                rules=[RULE, BY_TICKET_ONLY],
                admin={"principals": [ROOT]},
                encryption={"master": {"provider": "pkcs11"}, "hsm": hsm.section},
            )
            broker = BrokerProcess(tmp_path / name, settings, env={**realm.env, **hsm.environment})
            brokers.append(broker.start())
        root = Operator(realm, "root/admin", tmp_path / "root")
        yield Pair(hsm, brokers, root, Owner(realm, "alice", tmp_path / "alice"))
        for broker in brokers:
            broker.kill()


def test_the_master_key_is_rotated_under_load_from_two_brokers(pair: Pair) -> None:
    one, two = pair.brokers
    stop, answers = threading.Event(), []
    sessions = [cookie(pair.alice, broker) for broker in pair.brokers]
    before = pair.keks(one)
    assert pair.keys_in_the_token() == 1

    def hammer(broker: BrokerProcess, session: dict[str, str]) -> None:
        while not stop.is_set():
            answers.append(status(credentials(broker, session)))
            time.sleep(0.05)

    with ThreadPoolExecutor(4) as threads:
        running = [threads.submit(hammer, broker, session) for broker in pair.brokers for session in sessions]
        try:
            pair.keys("rotate", "master", of=one)
            deadline = time.monotonic() + PATIENCE
            while not pair.keks(two) == pair.keks(one) != before:
                assert time.monotonic() < deadline, (before, pair.keks(one), pair.keks(two))
        finally:
            stop.set()
        for each in running:
            each.result()
    assert len(answers) > 20
    assert {code for code, _ in answers} == {200}
    assert pair.keys_in_the_token() == 2
    assert "key_rotated" in {record["event"] for record in one.records()}
    for broker in pair.brokers:
        assert get(broker.url, "/readyz").body["dependencies"]["keys"] == {"status": "ok"}
        assert broker.stop() == 0
        broker.start()
    # Sessions of before the rotation, at brokers that learned every key from the disk, Redis and the token.
    assert {status(credentials(broker, session))[0] for broker in pair.brokers for session in sessions} == {200}
