"""Roles and rules change while the broker serves: a good file is taken over at once, a bad one changes nothing but the alarm."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from broker import __version__
from broker.wire_operators import WHOAMI_PATH as OPERATORS_WHOAMI
from tests.fakes.broker import BrokerProcess, configuration
from tests.fakes.conversation import ask
from tests.fakes.realm import Realm
from tests.fakes.until import eventually

NO_STS = "http://127.0.0.1:1"
RELOAD_SECONDS = 15.0
ALICE_ONLY = [{"name": "engineers", "principals": ["alice@EXAMPLE.COM"], "roles": ["developer"]}]
MALLORY_AS_WELL = [*ALICE_ONLY, {"name": "more", "principals": ["mallory@EXAMPLE.COM"], "roles": ["developer"]}]
STRONG = [
    {"name": "strong", "principals": ["alice@EXAMPLE.COM"], "require": {"indicators": ["otp"]}, "roles": ["developer"]}
]


@pytest.fixture
def broker(realm: Realm, tmp_path: Path) -> Iterator[BrokerProcess]:
    keytab = realm.keytab(tmp_path / "http.keytab", "HTTP/localhost")
    with BrokerProcess(tmp_path, configuration(tmp_path, keytab=keytab, sts_endpoint=NO_STS), env=realm.env) as running:
        yield running


def test_start_and_stop_are_on_record_with_version_and_configuration(broker: BrokerProcess) -> None:
    for _ in range(2):
        assert broker.stop() == 0
        broker.start()
    broker.settings["server"] |= {"rate_limit": {"per_principal": "7/minute"}}
    broker.write_configuration()
    assert broker.stop() == 0
    broker.start()
    found = [record for record in broker.records() if record["event"] in {"broker_start", "broker_stop"}]
    assert {record["version"] for record in found} == {__version__}
    assert all(re.fullmatch("[0-9a-f]{64}", record["configuration"]) for record in found)
    *same, last = [record["configuration"] for record in found]
    assert len(set(same)) == 1
    assert last not in same


@pytest.fixture
def alice(realm: Realm, tmp_path: Path) -> dict[str, str]:
    return realm.kinit("alice", tmp_path / "alice")


def _reloads(broker: BrokerProcess) -> list[dict[str, Any]]:
    return [record for record in broker.records() if record["event"].startswith("config_")]


def _reload(broker: BrokerProcess, **sections: Any) -> dict[str, Any]:
    """A changed file, SIGHUP, and the record of what came of it."""
    before = len(_reloads(broker))
    broker.settings |= sections
    broker.write_configuration()
    broker.reload()
    deadline = time.monotonic() + RELOAD_SECONDS
    while len(_reloads(broker)) == before:
        assert time.monotonic() < deadline, broker.output.read_text()
        time.sleep(0.02)
    return _reloads(broker)[-1]


def _explain(broker: BrokerProcess, realm: Realm, login: dict[str, str], role: str = "developer") -> dict[str, Any]:
    answer = ask(broker.url, realm.client_token(login), f"/v1/explain/{role}")
    assert answer.status == 200
    found: dict[str, Any] = answer.body
    return found


def _is_well(broker: BrokerProcess) -> bool:
    text: str = ask(broker.url, None, "/metrics").body
    return "broker_config_last_reload_successful 1.0" in text


def test_a_good_file_is_in_force_at_once_and_a_bad_one_changes_nothing_but_the_alarm(
    broker: BrokerProcess, realm: Realm, alice: dict[str, str], tmp_path: Path
) -> None:
    mallory = realm.kinit("mallory", tmp_path / "mallory")
    assert (_explain(broker, realm, alice)["verdict"], _explain(broker, realm, mallory)["verdict"]) == (
        "allowed",
        "denied",
    )

    taken = _reload(broker, rules=MALLORY_AS_WELL)
    assert (taken["event"], taken["success"], taken["resource"]) == ("config_reloaded", True, "config")
    assert taken["policy_before"] != taken["policy_after"]
    assert (taken["rules_added"], "rules_changed" in taken, "needs_restart" in taken) == (["more"], False, False)
    assert _explain(broker, realm, mallory)["verdict"] == "allowed"

    refused = _reload(broker, rules=[*STRONG, {"name": "broken", "principals": ["*@*"], "roles": ["developr"]}])
    assert (refused["event"], refused["success"], refused["reason"]) == ("config_refused", False, "unusable")
    assert refused["policy_before"] == refused["policy_after"] == taken["policy_after"]
    assert not _is_well(broker)
    assert (_explain(broker, realm, alice)["verdict"], _explain(broker, realm, mallory)["verdict"]) == (
        "allowed",
        "allowed",
    )
    log = broker.output.read_text()
    assert f"ERROR {broker.config}:" in log
    assert "rules[1].principals[0]: '*@*' names no realm" in log
    assert "rules[1].roles[0]: 'developr' is no role of this configuration" in log

    again = _reload(broker, rules=STRONG, aws=broker.settings["aws"] | {"region": "eu-west-1"})
    assert (again["event"], again["rules_removed"], again["rules_added"], again["needs_restart"]) == (
        "config_reloaded",
        ["engineers", "more"],
        ["strong"],
        ["aws.region"],
    )
    assert _is_well(broker)
    hint = "this role needs a ticket obtained with otp: run zerotrust login --step-up developer"
    assert _explain(broker, realm, alice) == {
        "verdict": "step_up",
        "hint": hint,
        "needs": [],
        "step_up": {"indicators": ["otp"], "max_ticket_age": None, "channel_binding": False},
    }
    assert broker.check_config().returncode == 0


def test_who_may_ask_from_where_and_how_often_and_who_operates_change_without_a_restart(
    realm: Realm, alice: dict[str, str], tmp_path: Path
) -> None:
    keytab = realm.keytab(tmp_path / "http.keytab", "HTTP/localhost")
    settings = configuration(
        tmp_path, keytab=keytab, sts_endpoint=NO_STS, admin={"principals": ["mallory@EXAMPLE.COM"]}
    )
    with BrokerProcess(tmp_path, settings, env=realm.env) as broker:
        server = broker.settings["server"]

        def status(path: str) -> int:
            return ask(broker.url, realm.client_token(alice), path).status

        assert status(OPERATORS_WHOAMI) == 403
        taken = _reload(broker, admin={"principals": ["alice@EXAMPLE.COM"]})
        assert (taken["admission_changed"], "needs_restart" in taken) == (["admin.principals"], False)
        assert status(OPERATORS_WHOAMI) == 200
        _reload(broker, admin={"principals": ["alice@EXAMPLE.COM"], "require": {"indicators": ["otp"]}})
        assert status(OPERATORS_WHOAMI) == 403

        taken = _reload(broker, server=server | {"allowed_networks": ["192.0.2.0/24"]})
        assert taken["admission_changed"] == ["server.allowed_networks"]
        assert status("/v1/whoami") == 403
        refused = _reload(broker, server=server | {"allowed_networks": ["everywhere"]})
        assert refused["event"] == "config_refused"
        assert status("/v1/whoami") == 403

        taken = _reload(broker, server=server | {"rate_limit": {"per_principal": "2/hour"}})
        assert taken["admission_changed"] == ["server.allowed_networks", "server.rate_limit"]
        assert [status("/v1/whoami") for _ in range(3)] == [200, 200, 429]
        _reload(broker, server=server)
        assert status("/v1/whoami") == 200
        broker.reload()
        eventually(lambda: "everything is what it was" in broker.output.read_text())


def test_nobody_who_asks_meanwhile_fails_and_what_needs_a_restart_is_said(
    broker: BrokerProcess, realm: Realm, alice: dict[str, str]
) -> None:
    statuses: set[int] = set()
    done = threading.Event()

    def keep_asking() -> None:
        while not done.is_set():
            statuses.add(ask(broker.url, realm.client_token(alice), "/v1/explain/developer").status)

    asking = threading.Thread(target=keep_asking)
    asking.start()
    try:
        _reload(broker, rules=MALLORY_AS_WELL)
        server = {**broker.settings["server"], "hostnames": ["localhost", "other.example.com"]}
        _reload(broker, rules=ALICE_ONLY, server=server)
    finally:
        done.set()
        asking.join()
    assert statuses == {200}
    log = broker.output.read_text()
    assert "server.hostnames differs, and needs a restart" in log
    assert "aws.region differs" not in log
    assert broker.stop() == 0


def test_a_file_that_is_what_it_was_is_neither_a_change_nor_a_record(broker: BrokerProcess) -> None:
    broker.reload()
    deadline = time.monotonic() + RELOAD_SECONDS
    while "everything is what it was" not in broker.output.read_text():
        assert time.monotonic() < deadline, broker.output.read_text()
        time.sleep(0.02)
    assert not _reloads(broker)
    broker.config.unlink()
    broker.reload()
    while not _reloads(broker):
        assert time.monotonic() < deadline, broker.output.read_text()
        time.sleep(0.02)
    assert _reloads(broker)[-1]["event"] == "config_refused"


def test_an_unknown_role_and_one_for_others_are_explained_alike(
    broker: BrokerProcess, realm: Realm, alice: dict[str, str]
) -> None:
    unknown, forbidden = (_explain(broker, realm, alice, role) for role in ("no-such-role", "readonly"))
    assert unknown == forbidden
    assert unknown["verdict"] == "denied"
    shown = [record for record in broker.records() if record["action"] == "explain"]
    assert [(record["event"], record["role"], record["why"]) for record in shown] == [
        ("shown", "no-such-role", "no_rule"),
        ("shown", "readonly", "no_rule"),
    ]
    allowed = _explain(broker, realm, alice)
    assert (allowed["verdict"], allowed["account"]) == ("allowed", "111122223333")
    assert ask(broker.url, None, "/v1/explain/developer").status == 401


def test_the_environment_of_the_reader_holds_no_secret(broker: BrokerProcess) -> None:
    seen: list[bytes] = []
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            for status in Path("/proc").glob("[0-9]*/environ"):
                try:
                    if b"policy_reader" in status.with_name("cmdline").read_bytes():
                        seen.append(status.read_bytes())
                except OSError:
                    continue

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        _reload(broker, rules=MALLORY_AS_WELL)
    finally:
        done.set()
        watching.join()
    assert seen
    assert not any(b"ZEROTRUST" in environ or b"AWS" in environ for environ in seen)
