"""A revocation under load at two instances, told from their signed records alone: who got what until when."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from broker import wire
from tests.e2e.test_job_passes import MARK, Answer, Owner, ask, container
from tests.fakes.broker import BrokerProcess, configuration
from tests.fakes.operator import Operator
from tests.fakes.realm import Realm
from tests.fakes.redis import RedisServer
from tests.fakes.sts.demo import demo_world
from tests.fakes.sts.process import StrictSts

ALICE, MALLORY, ROOT = "alice@EXAMPLE.COM", "mallory@EXAMPLE.COM", "root/admin@EXAMPLE.COM"
RULE = {"name": "all", "principals": [ALICE, MALLORY], "roles": ["developer"], "job_passes": "1d"}
PROMISED_SECONDS = 1.0
ROLE = {"role": "developer"}


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer.start(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def brokers(
    realm: Realm, redis: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[BrokerProcess, BrokerProcess]]:
    folder = tmp_path_factory.mktemp("f")
    keytab = realm.keytab(folder / "http.keytab", "HTTP/localhost")

    def instance(name: str, sts: StrictSts) -> BrokerProcess:
        inner = folder / name
        (inner / "state").mkdir(parents=True, mode=0o700)
        settings = configuration(
            folder,
            keytab=keytab,
            sts_endpoint=sts.url,
            audit={"directory": str(inner / "audit")},
            state={"directory": str(inner / "state")},
            redis={"url": redis.url, "password": redis.password},
            rules=[RULE],
            admin={"socket": str(inner / "s"), "principals": [ROOT]},
        )
        return BrokerProcess(inner, settings, env=realm.env)

    with StrictSts(demo_world()) as sts, instance("one", sts) as one, instance("two", sts) as two:
        yield one, two


class Load:
    """Clients that ask as fast as they are answered, until told to stop; what each of somebody's answers was."""

    def __init__(self) -> None:
        self.answers: dict[str, list[int]] = {ALICE: [], MALLORY: []}
        self._stop = threading.Event()
        self._threads = ThreadPoolExecutor(8)
        self._running: list[Any] = []

    def start(self, who: str, way: Callable[[], Answer]) -> None:
        def hammer() -> None:
            while not self._stop.is_set():
                self.answers[who].append(way().status)

        self._running.append(self._threads.submit(hammer))

    def stop(self) -> None:
        self._stop.set()
        for one in self._running:
            one.result()
        self._threads.shutdown()


def cookie(owner: Owner, broker: BrokerProcess) -> dict[str, str]:
    answer = ask(broker, "POST", wire.SESSIONS_PATH, {**owner.ticket(), **MARK})
    assert answer.status == 204, answer.body
    return {"Cookie": answer.headers["Set-Cookie"].partition(";")[0], **MARK}


def issued(brokers: tuple[BrokerProcess, ...], who: str) -> list[datetime]:
    """When somebody was given credentials, at any of the instances."""
    return sorted(
        datetime.fromisoformat(record["timestamp"])
        for broker in brokers
        for record in broker.records()
        if (record["event"], record["user"]) == ("issued", who)
    )


def test_the_records_of_both_say_that_the_last_was_issued_within_a_second_and_no_old_redis_revives_anything(
    brokers: tuple[BrokerProcess, BrokerProcess], redis: RedisServer, realm: Realm, tmp_path: Path
) -> None:
    alice, mallory = Owner(realm, "alice", tmp_path / "alice"), Owner(realm, "mallory", tmp_path / "mallory")
    root = Operator(realm, "root/admin", tmp_path / "root")
    root.env |= {"ZEROTRUST_ADMIN_SOCKET": str(brokers[0].folder / "s"), "ZEROTRUST_HOST": "localhost"}
    load = Load()
    for broker in brokers:
        session, others = cookie(alice, broker), cookie(mallory, broker)
        token = alice.pass_of(broker)["pass"]
        load.start(ALICE, lambda b=broker, s=session: ask(b, "POST", wire.CREDENTIALS_PATH, s, ROLE))
        load.start(ALICE, lambda b=broker, t=token: container(b, t))
        load.start(MALLORY, lambda b=broker, s=others: ask(b, "POST", wire.CREDENTIALS_PATH, s, ROLE))
    try:
        time.sleep(1)
        redis.cli("SAVE")  # in which alice may have everything
        done = root.admin("revoke-credentials", "--user", ALICE, "--json")
        assert (done.returncode, done.stderr) == (0, "")
        receipt = json.loads(done.stdout)
        time.sleep(PROMISED_SECONDS)
        redis.restart(emptied=False)  # with that dump
        time.sleep(1.5)
    finally:
        load.stop()

    assert (receipt["told"], receipt["not_heard"]) == (True, [])
    (revoked,) = [record for record in brokers[0].records() if record["event"] == "access_revoked"]
    acknowledged = datetime.fromisoformat(revoked["timestamp"])
    assert revoked["about"] == ALICE
    written = datetime.fromisoformat(receipt["at"])
    assert abs((acknowledged - written).total_seconds()) < 2, "it tells whole seconds"
    for broker in brokers:
        hers = issued((broker,), ALICE)
        assert len(hers) > 20, "or there was no load"
        assert (hers[-1] - acknowledged).total_seconds() < PROMISED_SECONDS
        theirs = issued((broker,), MALLORY)
        assert (theirs[-1] - acknowledged).total_seconds() > PROMISED_SECONDS + 1, "under the old dump, too"
        assert broker.admin("audit", "verify").returncode == 0
    assert set(load.answers[MALLORY]) == {200}
    # 401: the session and the pass are dead; 403: a request that was under way when they died.
    assert {200, 401} <= set(load.answers[ALICE]) <= {200, 401, 403}
    # Every one that was handed out has its record, and each that came afterwards is a refusal with one.
    assert load.answers[ALICE].count(200) == len(issued(brokers, ALICE))
