"""New service keys while the broker serves: nobody notices a good keytab, and a bad one changes nothing but the alarm."""

from __future__ import annotations

import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.broker import BrokerProcess, configuration
from tests.fakes.conversation import ask
from tests.fakes.realm import Realm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NO_STS = "http://127.0.0.1:1"
SERVICE = "HTTP/localhost"
# A second where nothing else runs: it starts a process that reads the configuration.
RELOAD_SECONDS = 30.0


@pytest.fixture
def own_realm(tmp_path: Path) -> Iterator[Realm]:
    with Realm.start(tmp_path / "realm", principals={"alice": "wonderland"}, services=(SERVICE,)) as realm:
        yield realm


@pytest.fixture
def keytab(own_realm: Realm, tmp_path: Path) -> Path:
    return own_realm.keytab(tmp_path / "http.keytab", SERVICE)


@pytest.fixture
def broker(own_realm: Realm, keytab: Path, tmp_path: Path) -> Iterator[BrokerProcess]:
    settings = configuration(tmp_path, keytab=keytab, sts_endpoint=NO_STS)
    with BrokerProcess(tmp_path, settings, env=own_realm.env) as running:
        yield running


@pytest.fixture
def alice(own_realm: Realm, tmp_path: Path) -> dict[str, str]:
    """Has a ticket for the service already, as people have in the middle of the day."""
    login = own_realm.kinit("alice", tmp_path / "ccache")
    own_realm.client_token(login)
    return login


def reloads(broker: BrokerProcess) -> list[dict[str, Any]]:
    return [record for record in broker.records() if record["event"] == "reload"]


def reload(broker: BrokerProcess) -> dict[str, Any]:
    """SIGHUP, and the record of what came of it."""
    before = len(reloads(broker))
    broker.reload()
    deadline = time.monotonic() + RELOAD_SECONDS
    while len(reloads(broker)) == before:
        assert time.monotonic() < deadline, "no record of a reload"
        time.sleep(0.01)
    return reloads(broker)[-1]


def metric(broker: BrokerProcess, name: str) -> float:
    text: str = ask(broker.url, None, "/metrics").body
    (line,) = [line for line in text.splitlines() if line.startswith(f"{name} ")]
    return float(line.split(" ")[1])


def test_a_rotation_under_load_fails_nobody(
    broker: BrokerProcess, own_realm: Realm, keytab: Path, alice: dict[str, str], tmp_path: Path
) -> None:
    statuses: list[int] = []
    done = threading.Event()

    def keep_asking() -> None:
        while not done.is_set():
            statuses.append(ask(broker.url, own_realm.client_token(alice)).status)

    old_kvno = metric(broker, "broker_keytab_kvno")
    asking = threading.Thread(target=keep_asking)
    asking.start()
    try:
        # The keys are in the keytab before anybody can have a ticket with them: here nobody new logs in in between.
        own_realm.rotate(SERVICE, keepold=True)
        own_realm.keytab(keytab, SERVICE)
        record = reload(broker)
    finally:
        time.sleep(0.1)
        done.set()
        asking.join()
    assert record["success"] is True
    assert record["resource"] == "keytabs"
    assert metric(broker, "broker_keytab_kvno") == old_kvno + 1
    # Who comes with a ticket of the new version is served, and so is who still has the old one.
    fresh = own_realm.kinit("alice", tmp_path / "fresh")
    assert ask(broker.url, own_realm.client_token(fresh)).status == 200
    assert ask(broker.url, own_realm.client_token(alice)).status == 200
    assert len(statuses) > 5
    assert set(statuses) == {200}


def test_a_ticket_with_a_key_that_was_dropped_is_refused(
    broker: BrokerProcess, own_realm: Realm, keytab: Path, alice: dict[str, str]
) -> None:
    assert ask(broker.url, own_realm.client_token(alice)).status == 200
    own_realm.rotate(SERVICE, keepold=False)
    own_realm.keytab(keytab, SERVICE)
    assert reload(broker)["success"] is True
    assert ask(broker.url, own_realm.client_token(alice)).status == 401
    assert broker.last_record()["reason"] == "ticket_kvno_unknown"


def halved(keytab: Path) -> None:
    keytab.write_bytes(keytab.read_bytes()[:-10])


def emptied(keytab: Path) -> None:
    keytab.write_bytes(b"")


def gone(keytab: Path) -> None:
    keytab.unlink()


def opened_to_others(keytab: Path) -> None:
    keytab.write_bytes(keytab.read_bytes())
    keytab.chmod(0o644)


def replaced_by_a_symlink(keytab: Path) -> None:
    keytab.rename(keytab.with_suffix(".real"))
    keytab.symlink_to(keytab.with_suffix(".real"))


def with_an_rc4_key(keytab: Path) -> None:
    entry = f"addent -password -p {SERVICE}@EXAMPLE.COM -k 9 -e arcfour-hmac -s salt"
    words = f"{entry}\nsecret\nwkt {keytab}\nquit\n"
    subprocess.run(["ktutil"], input=words, text=True, check=True, capture_output=True, timeout=20)


FAULTS = [halved, emptied, gone, opened_to_others, replaced_by_a_symlink, with_an_rc4_key]


def test_what_cannot_be_used_keeps_the_last_good_keys_and_says_so_everywhere(
    broker: BrokerProcess, own_realm: Realm, keytab: Path, alice: dict[str, str]
) -> None:
    for spoil in FAULTS:
        logged = len(broker.output.read_text())
        spoil(keytab)
        record = reload(broker)
        assert (record["success"], record["reason"]) == (False, "unusable"), spoil.__name__
        assert record["fault"].startswith(str(keytab))
        assert ask(broker.url, own_realm.client_token(alice)).status == 200
        assert metric(broker, "broker_keytabs_last_reload_successful") == 0
        ready = ask(broker.url, None, "/readyz")
        assert "degraded" in str(ready.body["dependencies"]["files"])
        assert ready.body["status"] == "degraded"
        log = broker.output.read_text()[logged:]
        assert f"ERROR keytabs: changed files cannot be used, the old stay in force: {keytab}" in log
        keytab.unlink(missing_ok=True)
        own_realm.keytab(keytab, SERVICE)
        assert reload(broker)["success"] is True
        assert metric(broker, "broker_keytabs_last_reload_successful") == 1
        assert ask(broker.url, None, "/readyz").body["dependencies"]["files"] == {"status": "ok"}


def test_the_alarm_is_raised_once_and_not_at_every_look(broker: BrokerProcess, own_realm: Realm, keytab: Path) -> None:
    halved(keytab)
    reload(broker)
    for _ in range(3):
        broker.reload()
        time.sleep(0.05)
    assert len(reloads(broker)) == 1


@pytest.mark.parametrize("spoil", FAULTS)
def test_a_keytab_that_must_not_be_used_does_not_start(
    spoil: Callable[[Path], None], own_realm: Realm, keytab: Path, tmp_path: Path
) -> None:
    spoil(keytab)
    broker = BrokerProcess(tmp_path, configuration(tmp_path, keytab=keytab, sts_endpoint=NO_STS), env=own_realm.env)
    done = broker.check_config()
    assert done.returncode == 78
    assert "kerberos.keytabs" in done.stderr
    assert "fix:" in done.stderr
