"""An operator at a broker that cannot record, on a real full disk and before a sink that is stuck: what still takes effect."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from broker import wire, wire_operators
from tests.fakes.broker import BrokerProcess, configuration
from tests.fakes.disk import Disk
from tests.fakes.operator import Answer, Operator
from tests.fakes.realm import Realm
from tests.fakes.receivers import Webhook
from tests.fakes.sts import StrictSts, demo_world

ROOT, ALICE = "root/admin@EXAMPLE.COM", "alice@EXAMPLE.COM"
TOKEN, KEY = "revoke-token-canary-77b0", "revoke-hmac-canary-19ce"

StartBroker = Callable[..., BrokerProcess]


@pytest.fixture(scope="module")
def people(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> tuple[Operator, Operator]:
    folder = tmp_path_factory.mktemp("people")
    return Operator(realm, "root/admin", folder / "root"), Operator(realm, "alice", folder / "alice")


@pytest.fixture
def start(realm: Realm, tmp_path: Path) -> Iterator[StartBroker]:
    made: list[BrokerProcess] = []
    with StrictSts(demo_world()) as sts:

        def start(**audit: object) -> BrokerProcess:
            (tmp_path / "state").mkdir(mode=0o700)
            settings = configuration(
                tmp_path,
                keytab=realm.keytab(tmp_path / "http.keytab", "HTTP/localhost"),
                sts_endpoint=sts.url,
                audit=audit,
                state={"directory": str(tmp_path / "state")},
                admin={"principals": [ROOT]},
            )
            made.append(BrokerProcess(tmp_path, settings, env=realm.env))
            return made[-1].start()

        yield start
        for broker in made:
            broker.kill()


def fetched(broker: BrokerProcess, who: Operator) -> int:
    return who.ask(broker.url, "POST", wire.CREDENTIALS_PATH, b'{"role":"developer"}').status


def revoked(broker: BrokerProcess, root: Operator) -> Answer:
    body = json.dumps({"what": "credentials", "user": ALICE}).encode()
    return root.ask(broker.url, "POST", wire_operators.REVOCATIONS_PATH, body)


def restored(broker: BrokerProcess, root: Operator) -> Answer:
    return root.ask(broker.url, "POST", wire_operators.RESTORE_PATH, json.dumps({"user": ALICE}).encode())


def of_root(broker: BrokerProcess) -> list[object]:
    return [record["event"] for record in broker.records() if record["user"] == ROOT]


def test_what_an_operator_takes_on_a_full_disk_is_taken_and_nothing_is_given_back_there(
    start: StartBroker, people: tuple[Operator, Operator], tmp_path: Path
) -> None:
    root, alice = people
    with Disk(tmp_path) as disk:
        broker = start(directory=str(disk.path / "audit"))
        assert fetched(broker, alice) == 200
        disk.fill()
        while fetched(broker, alice) != 503:
            pass
        answer = revoked(broker, root)
        assert (answer.status, answer.code) == (503, "audit_unavailable")
        assert "in force all the same" in answer.json["hint"]
        disk.empty()
        assert fetched(broker, alice) == 403
        disk.fill()
        while root.ask(broker.url).status != 503:
            pass
        answer = restored(broker, root)
        assert (answer.status, answer.code) == (503, "audit_unavailable")
        assert "in force" not in answer.json["hint"]
        disk.empty()
        assert fetched(broker, alice) == 403
        assert restored(broker, root).status == 200
        assert fetched(broker, alice) == 200
        assert of_root(broker)[-2:] == ["intent", "access_restored"]
        assert broker.stop() == 0
        assert broker.admin("audit", "verify").returncode == 0


def test_what_an_operator_takes_while_a_required_sink_is_stuck_is_taken_and_nothing_is_given_back(
    start: StartBroker, people: tuple[Operator, Operator], tmp_path: Path
) -> None:
    root, alice = people
    for name, text in (("token", TOKEN), ("hmac", KEY)):
        (tmp_path / name).touch(mode=0o600)
        (tmp_path / name).write_text(text)
    with Webhook(token=TOKEN, key=KEY) as hook:
        files = {"bearer_token_file": str(tmp_path / "token"), "hmac_key_file": str(tmp_path / "hmac")}
        sink = {"name": "hook", "required": True, "webhook": {"url": f"{hook.url}/hook?sig=in-the-url", **files}}
        broker = start(directory=str(tmp_path / "audit"), sinks=[sink])
        assert fetched(broker, alice) == 200
        hook.answers.clear()
        answer = revoked(broker, root)
        assert (answer.status, answer.code) == (503, "audit_unavailable")
        assert "in force all the same" in answer.json["hint"]
        assert fetched(broker, alice) == 403
        assert restored(broker, root).status == 503
        assert fetched(broker, alice) == 403
        hook.answers.set()
        # The file has it all the same: what was done, what was only meant, and why it was not done.
        assert of_root(broker) == ["access_revoked", "intent", "refused"]
