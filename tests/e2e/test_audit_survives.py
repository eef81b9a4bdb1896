"""kill -9 at any moment: every access key that a client ever saw has its record, and the chain stays whole."""

from __future__ import annotations

import http.client
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.audit.verify import verify
from tests.fakes.asker import Asker, get
from tests.fakes.broker import BrokerProcess, configuration
from tests.fakes.realm import Realm
from tests.fakes.sts import StrictSts, demo_world

# As many as there is time for: each costs a start. By hand 200 (docs/audit.md).
KILLS = int(os.environ.get("KILLS", "20"))
LOOKS = 20
CLIENTS = 3
# Seconds of load before a kill: from before the first answer to well into the stream of them.
LOAD = [0.05 + 0.4 * number / KILLS for number in range(KILLS)]


@pytest.fixture(scope="module")
def sts() -> Iterator[StrictSts]:
    with StrictSts(demo_world()) as server:
        yield server


@pytest.fixture
def broker(realm: Realm, sts: StrictSts, tmp_path: Path) -> Iterator[BrokerProcess]:
    keytab = realm.keytab(tmp_path / "http.keytab", "HTTP/localhost")
    rules = [{"name": "engineers", "principals": ["alice@EXAMPLE.COM"], "roles": ["developer", "readonly"]}]
    settings = configuration(tmp_path, keytab=keytab, sts_endpoint=sts.url, rules=rules)
    process = BrokerProcess(tmp_path, settings, env=realm.env)
    yield process
    process.kill()


@pytest.fixture
def alice(realm: Realm, tmp_path: Path) -> Asker:
    return Asker(realm, realm.kinit("alice", tmp_path / "ccache"))


def ask_until_it_dies(broker: BrokerProcess, alice: Asker, seen: list[tuple[str, str]]) -> None:
    url = broker.url
    while True:
        for role in ("developer", "readonly", "nobody"):
            try:
                answer = alice.ask(url, role)
            except (OSError, http.client.HTTPException):
                return
            if answer.status == 200:
                seen.append((answer.body["AccessKeyId"], role))
            else:
                assert answer.status == 403


def verified(broker: BrokerProcess, jwks: dict[str, object]) -> None:
    """In this process, because forty program starts take a minute."""
    assert verify([broker.audit_directory], jwks=jwks).findings == []


def test_kills_under_load_lose_no_record_of_a_key_that_somebody_got(broker: BrokerProcess, alice: Asker) -> None:
    seen: list[tuple[str, str]] = []
    for number, load_seconds in enumerate(LOAD):
        broker.start()
        jwks = get(broker.url, "/.well-known/jwks.json").body
        clients = [threading.Thread(target=ask_until_it_dies, args=(broker, alice, seen)) for _ in range(CLIENTS)]
        for client in clients:
            client.start()
        time.sleep(load_seconds)
        broker.kill()
        for client in clients:
            client.join()
        # Of many kills only some are looked at by themselves: the log grows with each, and the end shows all.
        if number % max(1, KILLS // LOOKS) == 0:
            verified(broker, jwks)
            everything_is_on_record(broker, seen)
    everything_is_on_record(broker, seen)
    assert len({key for key, _ in seen}) > KILLS, "the clients got too little for this to mean anything"
    broker.start()
    verified(broker, jwks)
    assert broker.stop() == 0
    done = broker.admin("audit", "verify")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("good: ")


def everything_is_on_record(broker: BrokerProcess, seen: list[tuple[str, str]]) -> None:
    """As many records of each key as it was handed out, or more: of whom died with the answer on its way nobody can tell."""
    issued = Counter((record["access_key_id"], record["role"]) for record in whole_records(broker) if record["success"])
    assert not Counter(seen) - issued


def whole_records(broker: BrokerProcess) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for path in sorted(broker.audit_directory.glob("audit-*.jsonl")):
        found += [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]
    return found


def test_a_write_that_a_kill_cut_short_is_sealed_at_the_next_start(broker: BrokerProcess, alice: Asker) -> None:
    broker.start()
    answer = alice.ask(broker.url)
    assert answer.status == 200
    broker.kill()
    path = next(broker.audit_directory.glob("audit-*"))
    with path.open("ab") as file:
        file.write(path.read_bytes().split(b"\n")[0][:77])
    before = broker.admin("audit", "verify")
    assert before.returncode == 0, before.stderr
    assert "half a record" in before.stderr
    broker.start()
    assert alice.ask(broker.url).status == 200
    assert broker.stop() == 0
    recovery = [record for record in broker.records() if record["event"] == "recovery"]
    assert [record["torn_bytes"] for record in recovery] == [77]
    after = broker.admin("audit", "verify")
    assert (after.returncode, after.stderr) == (0, "")


def test_two_brokers_share_one_audit_directory(broker: BrokerProcess, alice: Asker, realm: Realm) -> None:
    folder = broker.folder / "second"
    folder.mkdir()
    other = BrokerProcess(folder, broker.settings, env=realm.env)
    with broker, other:
        for one in (broker, other, broker, other):
            assert alice.ask(one.url).status == 200
        assert len(list(broker.audit_directory.glob("audit-*-[12].jsonl"))) == 2
        during = broker.admin("audit", "verify")
        assert during.returncode == 0, during.stderr
    done = broker.admin("audit", "verify")
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 instances" in done.stdout


def test_an_auditor_verifies_with_the_published_keys_and_nothing_of_the_brokers(
    broker: BrokerProcess, alice: Asker, tmp_path: Path
) -> None:
    with broker:
        assert alice.ask(broker.url).status == 200
        (tmp_path / "jwks.json").write_text(get(broker.url, "/.well-known/jwks.json").text)
    broker.config.unlink()
    path = next(broker.audit_directory.glob("audit-*"))
    good = broker.admin("audit", "verify", "--jwks", str(tmp_path / "jwks.json"), str(path))
    assert (good.returncode, good.stderr) == (0, "")
    path.write_bytes(path.read_bytes().replace(b'"role":"developer"', b'"role":"superuser"', 1))
    bad = broker.admin("audit", "verify", "--jwks", str(tmp_path / "jwks.json"), str(path))
    assert bad.returncode == 1
    assert bad.stdout.startswith("BAD: ")
    assert "first bad sequence number 2:" in bad.stderr
