"""Keys follow each other at two brokers that serve meanwhile: nobody notices, and everything is sealed anew."""

from __future__ import annotations

import base64
import json
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from broker.assembly.keys import hierarchy_of
from broker.config.load import load
from broker.core.clock import SystemClock
from broker.keys.envelope import CannotOpen, unarmoured
from broker.keys.hierarchy import DailyEnvelope, KeyHierarchy, Use
from tests.e2e.test_job_passes import BY_TICKET_ONLY, RULE, Owner
from tests.e2e.test_revocation import cookie, credentials, status
from tests.fakes.asker import get
from tests.fakes.broker import BrokerProcess, configuration
from tests.fakes.operator import Operator
from tests.fakes.realm import Realm
from tests.fakes.redis import RedisServer
from tests.fakes.sts.demo import demo_world
from tests.fakes.sts.process import StrictSts
from tests.fakes.until import eventually

ROOT = "root/admin@EXAMPLE.COM"
# Sealed anew within seconds; the machine is busy.
PATIENCE = 60.0


@dataclass
class Place:
    server: RedisServer
    brokers: list[BrokerProcess]
    root: Operator
    alice: Owner

    def keys(self, *words: str) -> dict[str, Any]:
        done = self.root.admin("keys", *words, "--json", "--url", self.brokers[0].url)
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def hierarchy(self) -> KeyHierarchy:
        return hierarchy_of(load(self.brokers[0].config, environ=self.brokers[0]._env))

    def blobs(self, use: Use) -> list[bytes]:
        """What is kept and sealed for this use, on both disks and in Redis."""
        if use is Use.WATCH_SEAL:
            keys = self.server.cli("KEYS", "zerotrust:{shared}:watch:*").split()
            return [raw(self.server.cli("--no-raw", "GET", key)) for key in keys]
        files = [unarmoured((state(one) / "revocations").read_bytes()) for one in self.brokers]
        lies = self.server.cli("--no-raw", "HVALS", "zerotrust:{shared}:revocations").splitlines()
        return [*files, *map(raw, lies)]


def raw(text: str) -> bytes:
    """The bytes that redis-cli shows quoted."""
    quoted = text.strip().partition('"')[2].rpartition('"')[0]
    return quoted.encode("latin-1").decode("unicode_escape").encode("latin-1")


def state(broker: BrokerProcess) -> Path:
    return Path(broker.settings["state"]["directory"])


@pytest.fixture(scope="module")
def place(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("keys")
    keytab = realm.keytab(folder / "broker.keytab", "HTTP/localhost")
    with StrictSts(demo_world()) as sts, RedisServer.start(folder / "redis") as server:
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
                admin={"principals": [ROOT]},
            )
            brokers.append(BrokerProcess(folder / name, settings, env=realm.env).start())
        root = Operator(realm, "root/admin", folder / "root")
        yield Place(server, brokers, root, Owner(realm, "alice", folder / "alice"))
        for broker in brokers:
            broker.kill()


def sealing(found: dict[str, Any], kind: str) -> str:
    (one,) = [version["id"] for version in found["kinds"][kind]["versions"] if version["state"] == "seals"]
    return str(one)


def test_under_load_at_two_brokers_no_request_fails_and_everything_is_sealed_anew(place: Place) -> None:
    stop, answers = threading.Event(), []
    sessions = [cookie(place.alice, broker) for broker in place.brokers]
    revoked = place.root.admin("revoke-sessions", "--user", "mallory@EXAMPLE.COM", "--url", place.brokers[0].url)
    assert revoked.returncode == 0, revoked.stderr

    def hammer(broker: BrokerProcess, session: dict[str, str]) -> None:
        while not stop.is_set():
            answers.append(status(credentials(broker, session)))
            time.sleep(0.05)

    with ThreadPoolExecutor(4) as threads:
        # Each session at the broker that did not make it, too.
        running = [threads.submit(hammer, broker, one) for broker in place.brokers for one in sessions]
        try:
            before = place.keys("status")
            for kind in ("data", "session"):
                place.keys("rotate", kind)
            eventually(
                lambda: all(
                    sealing(place.keys("status"), kind) != sealing(before, kind) for kind in ("data", "session")
                )
            )
            newest = cookie(place.alice, place.brokers[1])

            def is_anew(use: Use) -> bool:
                found, hierarchy = place.blobs(use), place.hierarchy()
                assert found
                if use is Use.WATCH_SEAL:
                    daily = DailyEnvelope(hierarchy=hierarchy, use=use, clock=SystemClock(), days=60)
                    return all(daily.now().is_newest(blob) for blob in found)
                return all(hierarchy.envelope(use).is_newest(blob) for blob in found)

            eventually(lambda: is_anew(Use.REVOCATION_SEAL))
            eventually(lambda: is_anew(Use.WATCH_SEAL))
        finally:
            stop.set()
        for one in running:
            one.result()
    assert status(credentials(place.brokers[0], newest))[0] == 200
    assert len(answers) > 50
    assert {code for code, _ in answers} == {200}
    for broker in place.brokers:
        assert get(broker.url, "/readyz").body["dependencies"]["keys"] == {"status": "ok"}
    rotated = [one for one in place.brokers[0].records() if one["event"] == "key_rotated"]
    assert [one["kind"] for one in rotated] == ["data", "session"]
    assert all("root" in json.dumps(one["principal"]) for one in rotated)


def test_rotations_commanded_at_both_brokers_at_the_same_moment_lose_nothing_and_agree(place: Place) -> None:
    before = sealing(place.keys("status"), "data")

    def rotate(broker: BrokerProcess) -> str:
        done = place.root.admin("keys", "rotate", "data", "--json", "--url", broker.url)
        assert done.returncode == 0, done.stderr
        return str(done.stdout)

    def seals_at(broker: BrokerProcess) -> str:
        done = place.root.admin("keys", "status", "--json", "--url", broker.url)
        assert done.returncode == 0, done.stderr
        return sealing(json.loads(done.stdout), "data")

    with ThreadPoolExecutor(2) as threads:
        # A process of zerotrust-admin for each.
        assert all(threads.map(rotate, place.brokers))
    eventually(lambda: before not in (found := {seals_at(one) for one in place.brokers}) and len(found) == 1)
    session = cookie(place.alice, place.brokers[0])
    assert {status(credentials(one, session))[0] for one in place.brokers} == {200}
    assert all(get(one.url, "/readyz").body["dependencies"]["keys"] == {"status": "ok"} for one in place.brokers)
    held = {version["id"] for version in place.keys("status")["kinds"]["data"]["versions"]}
    assert seals_at(place.brokers[1]) in held


def test_no_key_lies_in_redis_or_on_a_disk(place: Place) -> None:
    hierarchy = place.hierarchy()
    keys = [version.key for versions in hierarchy._versions.values() for version in versions]
    places = [path.read_bytes() for one in place.brokers for path in state(one).iterdir() if path.is_file()]
    places += [raw(text) for text in place.server.cli("--no-raw", "HVALS", "zerotrust:{shared}:keyring").splitlines()]
    everything = b"".join(places)
    assert b"key/data/" in everything
    for key in keys:
        for shown in (key, base64.b64encode(key), key.hex().encode()):
            assert shown not in everything


def test_status_says_what_is_due_and_what_needs_what(place: Place) -> None:
    done = place.root.admin("keys", "status", "--url", place.brokers[1].url)
    assert done.returncode == 0, done.stderr
    assert "master   local:" in done.stdout
    assert "seals" in done.stdout
    found = place.keys("status")
    assert {one["host"] for one in found["instances"]} == {os.uname().nodename}
    assert len(found["instances"]) == 2
    assert all(found["kinds"][kind]["due"] for kind in ("data", "session"))
    text = get(place.brokers[0].url, "/metrics").text
    assert "broker_data_key_due_seconds 2.59" in text
    assert "broker_session_key_age_seconds" in text
    assert place.keys("rotate", "--due")["done"] == []


def test_a_master_key_in_a_file_is_changed_by_its_operator_and_the_command_says_how(
    place: Place, tmp_path: Path
) -> None:
    here = ("--url", place.brokers[0].url)
    refused = place.root.admin("keys", "rotate", "master", *here)
    assert refused.returncode == 2
    assert "--new-key-file" in refused.stderr
    path = tmp_path / "next_key"
    written = place.root.admin("keys", "rotate", "master", "--new-key-file", str(path))
    assert written.returncode == 0, written.stderr
    assert "previous_key_files" in written.stdout
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(base64.b64decode(path.read_bytes())) == 32
    again = place.root.admin("keys", "rotate", "master", "--new-key-file", str(path))
    assert "is not there yet" in again.stderr


def test_only_operators_see_keys(place: Place) -> None:
    answer = Operator.ask(place.root, place.brokers[0].url, "GET", "/v1/admin/keys")
    assert answer.status == 200
    assert b'"wrapped"' not in answer.body
    stranger = Operator(place.alice.realm, "alice", place.alice.ccache).ask(
        place.brokers[0].url, "GET", "/v1/admin/keys"
    )
    assert stranger.status == 403


def test_a_broker_starts_over_no_keyring_that_is_damaged(place: Place) -> None:
    broker = place.brokers[1]
    assert broker.stop() == 0
    file = state(broker) / "keyring"
    content = file.read_bytes()
    file.write_bytes(content[:-40] + bytes([content[-40] ^ 1]) + content[-39:])
    refused = broker.check_config()
    assert refused.returncode == 78
    assert "keyring was altered or cut short" in refused.stderr
    file.write_bytes(content)
    broker.start()
    with pytest.raises(CannotOpen):
        place.hierarchy().envelope(Use.REVOCATION_SEAL).open(b"", context=b"")
