"""Revoked at one instance, two others under load: what they still serve, for how long, and what no Redis brings back."""

from __future__ import annotations

import asyncio
import base64
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from redis import asyncio as redis

from broker import wire
from broker.keys.hierarchy import KeyHierarchy
from broker.revocation.ledger import EVERY_ROLE, Kind, Subject
from tests.e2e.test_job_passes import BY_TICKET_ONLY, MARK, RULE, Answer, Owner, ask, container
from tests.fakes.broker import BrokerError, BrokerProcess, configuration
from tests.fakes.epochs import epochs_beside
from tests.fakes.realm import Realm
from tests.fakes.redis import RedisServer
from tests.fakes.sts.demo import demo_world
from tests.fakes.sts.process import StrictSts
from tests.fakes.until import eventually

ALICE, ROOT = "alice@EXAMPLE.COM", "root/admin@EXAMPLE.COM"
SESSIONS, EVERYBODY = Subject(Kind.USER, ALICE), Subject(Kind.EVERYBODY)
HOLD = Subject(Kind.CREDENTIALS, ALICE, EVERY_ROLE)
ROLES = {"role": "developer"}
PROMISED = 1.0
# Processes share two cores with other tests.
PATIENCE = 5.0


@dataclass
class Fleet:
    """Two brokers as processes, and a third instance that is there whenever an operator does something."""

    folder: Path
    server: RedisServer
    brokers: list[BrokerProcess]
    keys: KeyHierarchy
    operators: int = field(default=0)

    def operate(self, *subjects: Subject, held: bool = True) -> float:
        """Revoke, or restore; the moment at which it was acknowledged (monotonic)."""
        self.operators += 1

        async def act() -> float:
            client = redis.Redis.from_url(self.server.url_with_password)
            epochs = epochs_beside(client, self.folder / f"operator{self.operators}", self.keys)
            await epochs.open()
            assert await epochs.enter(subjects, by=ROOT, held=held)
            acknowledged = time.monotonic()
            await epochs.close()
            await client.aclose()
            return acknowledged

        return asyncio.run(act())


@pytest.fixture(scope="module")
def sts() -> Iterator[StrictSts]:
    with StrictSts(demo_world()) as running:
        yield running


@pytest.fixture(scope="module")
def fleet(realm: Realm, sts: StrictSts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("fleet")
    keytab = realm.keytab(folder / "broker.keytab", "HTTP/localhost")
    with RedisServer.start(folder / "redis") as server:
        brokers = []
        for name in ("one", "two"):
            (folder / name).mkdir()
            settings = configuration(
                folder,
                keytab=keytab,
                sts_endpoint=sts.url,
                audit={"directory": str(folder / name / "audit")},
                state={"directory": str(folder / name / "state")},
                redis={"url": server.url, "password": server.password},
                rules=[RULE, BY_TICKET_ONLY],
            )
            brokers.append(BrokerProcess(folder / name, settings, env=realm.env).start())
        keys = KeyHierarchy(master=base64.b64decode((folder / "encryption_key").read_bytes()))
        yield Fleet(folder, server, brokers, keys)
        for broker in brokers:
            broker.kill()


@pytest.fixture(scope="module")
def alice(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Owner:
    return Owner(realm, "alice", tmp_path_factory.mktemp("alice") / "ccache")


@pytest.fixture(scope="module")
def root(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Owner:
    return Owner(realm, "root/admin", tmp_path_factory.mktemp("root") / "ccache")


def cookie(owner: Owner, broker: BrokerProcess) -> dict[str, str]:
    answer = ask(broker, "POST", wire.SESSIONS_PATH, {**owner.ticket(), **MARK})
    assert answer.status == 204, answer.body
    return {"Cookie": answer.headers["Set-Cookie"].partition(";")[0], **MARK}


def credentials(broker: BrokerProcess, headers: dict[str, str]) -> Answer:
    return ask(broker, "POST", wire.CREDENTIALS_PATH, headers, ROLES)


def status(answer: Answer) -> tuple[int, str]:
    return answer.status, "" if answer.status == 200 else answer.json["code"]


def test_under_load_at_two_instances_the_last_credential_goes_out_within_a_second(
    fleet: Fleet, alice: Owner, root: Owner
) -> None:
    """Three ways of asking at each of two instances; somebody else's go on without a failure."""
    stop, served, others = threading.Event(), [], []

    def hammer(broker: BrokerProcess, way: Callable[[], Answer], *, mine: bool) -> None:
        while not stop.is_set():
            answer = way()
            (served if mine else others).append((time.monotonic(), broker, status(answer)))

    with ThreadPoolExecutor(8) as threads:
        for broker in fleet.brokers:
            session, other = cookie(alice, broker), cookie(root, broker)
            token = alice.pass_of(broker)["pass"]
            threads.submit(hammer, broker, lambda b=broker, s=session: credentials(b, s), mine=True)
            threads.submit(hammer, broker, lambda b=broker, t=token: container(b, t), mine=True)
            threads.submit(hammer, broker, lambda b=broker: credentials(b, {**alice.ticket(), **MARK}), mine=True)
            threads.submit(hammer, broker, lambda b=broker, s=other: credentials(b, s), mine=False)
        time.sleep(1.0)
        acknowledged = fleet.operate(HOLD, SESSIONS)
        time.sleep(1.5)
        stop.set()
    last = {broker.folder.name: at for at, broker, (code, _) in served if code == 200}
    assert len(last) == 2, "or nothing was served before"
    assert max(last.values()) - acknowledged < PROMISED, last
    after = {outcome for at, _, outcome in served if at - acknowledged > PROMISED}
    assert after == {(401, "auth_failed"), (403, "revoked")}
    assert {outcome for _, _, outcome in others} == {(200, "")}
    issued = [record for broker in fleet.brokers for record in broker.records() if record["reason"] == "revoked"]
    assert {record["user"] for record in issued} == {ALICE}

    fleet.operate(HOLD, held=False)
    for broker in fleet.brokers:
        eventually(lambda b=broker: credentials(b, {**alice.ticket(), **MARK}).status == 200)


def test_sessions_and_passes_die_everywhere_and_a_new_ticket_works_at_once(fleet: Fleet, alice: Owner) -> None:
    one, two = fleet.brokers
    session, token = cookie(alice, one), alice.pass_of(one)["pass"]
    assert (credentials(two, session).status, container(two, token).status) == (200, 200)
    cached = credentials(one, session).json["AccessKeyId"]
    assert credentials(two, session).json["AccessKeyId"] == cached
    fleet.operate(SESSIONS)
    for broker in fleet.brokers:
        assert eventually(lambda b=broker: credentials(b, session).status == 401) < PROMISED
        assert container(broker, token).status == 401
        fresh = credentials(broker, {**alice.ticket(), **MARK})
        assert fresh.status == 200
        assert fresh.json["AccessKeyId"] != cached, "what was kept before is dead too"
        assert credentials(broker, cookie(alice, broker)).status == 200


def test_a_chain_that_began_before_the_revocation_hands_out_nothing(fleet: Fleet, alice: Owner, sts: StrictSts) -> None:
    one, _ = fleet.brokers
    cached = credentials(one, {**alice.ticket(), **MARK}).json["AccessKeyId"]
    fleet.operate(SESSIONS)
    eventually(lambda: credentials(one, {**alice.ticket(), **MARK}).json["AccessKeyId"] != cached)
    fleet.operate(SESSIONS)
    time.sleep(0.5)  # heard, and nothing is cached under what came of it: AWS is asked
    sts.clear_calls()
    sts.fault("latency", seconds=0.8, count=2)
    with ThreadPoolExecutor(1) as thread:
        under_way = thread.submit(credentials, one, {**alice.ticket(), **MARK})
        time.sleep(0.3)
        fleet.operate(SESSIONS)
        answer = under_way.result()
    assert len(sts.calls()) == 2
    assert status(answer) == (401, "auth_failed")
    assert one.last_record()["reason"] == "ended_meanwhile"


def test_one_session_ends_alone_at_every_instance(fleet: Fleet, alice: Owner) -> None:
    one, two = fleet.brokers
    ended, other = cookie(alice, one), cookie(alice, one)
    answer = ask(one, "DELETE", wire.CURRENT_SESSION_PATH, ended)
    assert answer.status == 204
    assert "Max-Age=0" in answer.headers["Set-Cookie"]
    assert eventually(lambda: credentials(two, ended).status == 401) < PROMISED
    assert credentials(one, ended).status == 401
    assert credentials(two, other).status == 200
    assert ask(two, "DELETE", wire.CURRENT_SESSION_PATH, ended).status == 204, (
        "a dead cookie is taken away all the same"
    )
    record = next(record for record in reversed(one.records()) if record["event"] == "session_ended")
    assert (record["user"], record["success"]) == (ALICE, True)


def test_an_old_dump_of_redis_revives_nothing_and_a_new_instance_hears_it_all_the_same(
    fleet: Fleet, alice: Owner
) -> None:
    one, two = fleet.brokers
    session, token = cookie(alice, one), alice.pass_of(one)["pass"]
    assert container(two, token).status == 200
    fleet.server.cli("SAVE")
    fleet.operate(SESSIONS)
    eventually(lambda: container(two, token).status == 401)
    fleet.server.restart()  # with the dump, in which the pass is in force and nobody is revoked
    time.sleep(1.5)
    for broker in fleet.brokers:
        assert (credentials(broker, session).status, container(broker, token).status) == (401, 401)
    one.kill()
    (fleet.folder / "one" / "state" / "revocations").unlink()  # as on a new machine
    one.start()
    assert (credentials(one, session).status, container(one, token).status) == (401, 401)


def test_killed_and_started_with_an_empty_redis_an_instance_knows_what_its_disk_knows(
    fleet: Fleet, alice: Owner
) -> None:
    one, two = fleet.brokers
    session = cookie(alice, one)
    fleet.operate(EVERYBODY)
    eventually(lambda: credentials(one, session).status == 401)
    eventually(lambda: one.output.exists() and two.output.exists())
    time.sleep(1.0)
    for broker in fleet.brokers:
        broker.kill()
    fleet.server.cli("FLUSHALL")
    for broker in fleet.brokers:
        broker.start()
        assert credentials(broker, session).status == 401


def test_a_file_that_was_tampered_with_does_not_start_and_says_what_to_do(fleet: Fleet) -> None:
    one, _ = fleet.brokers
    file = fleet.folder / "one" / "state" / "revocations"
    one.stop()
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    with pytest.raises(BrokerError, match="altered or cut short, so nobody knows what was revoked"):
        one.start()
    assert one.check_config().returncode == 78
    file.write_bytes(whole)
    one.start()


def test_a_broker_that_was_told_of_no_folder_keeps_it_beside_its_records(
    realm: Realm, sts: StrictSts, tmp_path: Path, alice: Owner
) -> None:
    keytab = realm.keytab(tmp_path / "http.keytab", "HTTP/localhost")
    settings = configuration(tmp_path, keytab=keytab, sts_endpoint=sts.url)
    with BrokerProcess(tmp_path, settings, env=realm.env) as broker:
        session = cookie(alice, broker)
        assert credentials(broker, session).status == 200
        ended = ask(broker, "DELETE", wire.CURRENT_SESSION_PATH, session)
        assert ended.status == 204
        broker.kill()
        broker.start()
        assert credentials(broker, session).status == 401
        assert "revocations" in {path.name for path in broker.audit_directory.iterdir()}
        assert broker.admin("audit", "verify").returncode == 0
