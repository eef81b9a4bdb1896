"""The daemon with sinks: stuck, gone, slow, and the daemon itself killed; what was handed out, and what the receivers have."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from broker.assembly.sinks import context_for
from tests.fakes.asker import Answer, Asker, get
from tests.fakes.broker import BrokerProcess, configuration
from tests.fakes.certificates import server_certificate
from tests.fakes.journal import Journal
from tests.fakes.realm import Realm
from tests.fakes.receivers import Collector, Webhook
from tests.fakes.sts import StrictSts, demo_world

TOKEN = "sink-token-canary-51d3"
KEY = "sink-hmac-canary-e07c"

StartBroker = Callable[..., BrokerProcess]


@pytest.fixture(scope="module")
def sts() -> Iterator[StrictSts]:
    with StrictSts(demo_world()) as server:
        yield server


@pytest.fixture(scope="module")
def alice(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Asker:
    return Asker(realm, realm.kinit("alice", tmp_path_factory.mktemp("alice") / "ccache"))


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with Webhook(token=TOKEN, key=KEY) as hook:
        yield hook


@pytest.fixture
def prepared(realm: Realm, sts: StrictSts, tmp_path: Path) -> Iterator[StartBroker]:
    made: list[BrokerProcess] = []

    def prepare(*sinks: dict[str, Any]) -> BrokerProcess:
        keytab = realm.keytab(tmp_path / "http.keytab", "HTTP/localhost")
        audit = {"directory": str(tmp_path / "audit"), "sinks": list(sinks)}
        rules = [{"name": "engineers", "principals": ["alice@EXAMPLE.COM"], "roles": ["developer", "readonly"]}]
        settings = configuration(tmp_path, keytab=keytab, sts_endpoint=sts.url, audit=audit, rules=rules)
        made.append(BrokerProcess(tmp_path, settings, env=realm.env))
        return made[-1]

    yield prepare
    for broker in made:
        broker.kill()


def private(path: Path, text: str) -> str:
    path.touch(mode=0o600)
    path.write_text(text)
    return str(path)


def to(hook: Webhook, folder: Path, **settings: Any) -> dict[str, Any]:
    webhook = {
        "url": f"{hook.url}/hook?sig=in-the-url",
        "bearer_token_file": private(folder / "token", TOKEN),
        "hmac_key_file": private(folder / "key", KEY),
    }
    return {"name": "hook", "webhook": webhook, **settings}


def refused(answer: Answer) -> None:
    assert (answer.status, answer.body["code"]) == (503, "audit_unavailable"), answer.text
    assert answer.seconds < 2
    assert "ASIA" not in answer.text


def wait(condition: Callable[[], bool], *, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def whole(hook: Webhook, broker: BrokerProcess) -> bool:
    """Whether the receiver has every record of the file, in order, repetitions aside."""
    first_seen = {record["seq"]: record for record in reversed(hook.taken)}
    return list(dict.fromkeys(hook.numbers)) == [record["seq"] for record in broker.records()] and all(
        first_seen[record["seq"]] == record for record in broker.records()
    )


def test_a_required_sink_that_is_stuck_refuses_within_a_second_then_at_once_and_recovers_by_itself(
    alice: Asker, prepared: StartBroker, hook: Webhook, tmp_path: Path, sts: StrictSts
) -> None:
    broker = prepared(to(hook, tmp_path, required=True)).start()
    assert alice.ask(broker.url).status == 200
    issued = broker.last_record()
    wait(lambda: issued in hook.taken)
    hook.answers.clear()
    calls = len(sts.calls())
    refused(alice.ask(broker.url, role="readonly"))
    # Nothing is handed out on a refusal, so it waits for no sink.
    assert alice.ask(broker.url, role="nobody").status == 403
    for _ in range(3):
        behind = alice.ask(broker.url)
        refused(behind)
        assert behind.seconds < 0.4
    assert len(sts.calls()) == calls
    ready = get(broker.url, "/readyz")
    assert (ready.status, ready.body["status"]) == (503, "degraded")
    assert "does not confirm" in ready.body["dependencies"]["audit_sink_hook"]["reason"]
    assert get(broker.url, "/healthz").seconds < 0.5
    hook.answers.set()
    wait(lambda: alice.ask(broker.url).status == 200)
    assert get(broker.url, "/readyz").status == 200
    assert broker.stop() == 0
    assert whole(hook, broker)


def test_a_required_sink_that_was_never_there_lets_nothing_out_until_it_comes(
    alice: Asker, prepared: StartBroker, hook: Webhook, tmp_path: Path
) -> None:
    sink = to(hook, tmp_path, required=True)
    hook.__exit__(None, None, None)
    broker = prepared(sink).start()
    for _ in range(3):
        refused(alice.ask(broker.url))
    assert get(broker.url, "/readyz").status == 503
    assert not [record for record in broker.records() if record["event"] == "issued"]
    # Each refusal is on record all the same.
    assert [record["reason"] for record in broker.records() if record["event"] == "refused"] == ["sink_unavailable"] * 3


def test_a_sink_that_is_not_required_is_missed_by_nobody_and_catches_up(
    alice: Asker, prepared: StartBroker, hook: Webhook, tmp_path: Path
) -> None:
    hook.scripted += [(503, {}, TOKEN.encode())] * 3
    collector = {"name": "siem", "format": "ocsf", "splunk": {"url": "http://127.0.0.1:9", "token": TOKEN}}
    broker = prepared(to(hook, tmp_path), collector).start()
    assert alice.ask(broker.url).status == 200
    wait(lambda: "HTTP 503" in get(broker.url, "/readyz").text)
    ready = get(broker.url, "/readyz")
    assert (ready.status, ready.body["status"]) == (200, "degraded")
    assert "no connection" in ready.body["dependencies"]["audit_sink_siem"]["reason"]
    metrics = get(broker.url, "/metrics").text
    assert 'broker_audit_sink_behind_records{sink="siem"} 3.0' in metrics
    assert 'broker_audit_sink_failures_total{sink="siem"}' in metrics
    wait(lambda: len(hook.taken) == 3)
    wait(lambda: 'broker_audit_sink_behind_records{sink="hook"} 0.0' in get(broker.url, "/metrics").text)
    said = broker.output.read_text() + metrics + ready.text + str(broker.records())
    for secret in (TOKEN, KEY, "in-the-url"):
        assert secret not in said
    assert broker.stop() == 0


def test_a_daemon_that_is_killed_again_and_again_leaves_nothing_unsent_and_nothing_out_of_order(
    alice: Asker, prepared: StartBroker, hook: Webhook, tmp_path: Path
) -> None:
    broker = prepared(to(hook, tmp_path))
    for unwell in (0, 2, 0, 2):
        hook.scripted += [(500, {}, b"")] * unwell
        broker.start()
        for _ in range(15):
            assert alice.ask(broker.url).status == 200
        broker.kill()
    broker.start()
    wait(lambda: len(set(hook.numbers)) == len(broker.records()))
    assert broker.stop() == 0
    assert whole(hook, broker)
    assert broker.admin("audit", "verify").returncode == 0


def test_journald_and_splunk_get_the_same_record_each_in_its_form(
    alice: Asker, prepared: StartBroker, tmp_path: Path
) -> None:
    with Journal(tmp_path) as journal, Collector(token=TOKEN) as collector:
        broker = prepared(
            {"name": "journal", "required": True, "format": "ecs", "journald": {"socket": str(journal.socket)}},
            {"name": "siem", "splunk": {"url": collector.url, "token_file": private(tmp_path / "hec", TOKEN)}},
        ).start()
        answer = alice.ask(broker.url)
        assert answer.status == 200
        key = answer.body["AccessKeyId"]
        wait(lambda: bool(journal.entries(f"ZEROTRUST_ACCESS_KEY_ID={key}")))
        (entry,) = journal.entries(f"ZEROTRUST_ACCESS_KEY_ID={key}")
        assert '"ecs":{"version":"8.17.0"}' in entry["ZEROTRUST_RECORD"]
        assert broker.stop() == 0
        assert collector.taken == broker.records()


def test_a_client_certificate_with_another_key_is_found_before_the_start(prepared: StartBroker, tmp_path: Path) -> None:
    one, other = (server_certificate(tmp_path / name, "ecdsa-sha256") for name in ("one", "other"))
    pair = {"certificate": str(one.certificate), "private_key": str(other.key)}
    done = prepared({"name": "loghost", "syslog": {"server": "localhost", **pair}}).check_config()
    assert done.returncode == 78
    assert "audit.sinks[0].syslog.private_key: does not belong to the certificate" in done.stderr


def test_receivers_are_asked_for_their_name_and_for_tls_of_today(tmp_path: Path) -> None:
    certificate = server_certificate(tmp_path, "ecdsa-sha256")
    for context in (context_for(None), context_for(certificate.certificate)):
        assert (context.check_hostname, context.verify_mode) == (True, ssl.CERT_REQUIRED)
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context_for(certificate.certificate).cert_store_stats()["x509"] == 1
