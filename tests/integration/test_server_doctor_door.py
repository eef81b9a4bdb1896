"""`zerotrust-admin doctor` at the door of a broker that runs: what it says of itself, and whether it is the one on the disk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from broker.assembly.doctor import door
from tests.fakes.broker import BrokerProcess
from tests.fakes.certificates import server_certificate
from tests.fakes.clockwork import clockwork, set_clock
from tests.fakes.realm import Realm, free_port
from tests.fakes.redis import RedisServer
from tests.fakes.sts import StrictSts, demo_world
from tests.fakes.until import eventually
from tests.fakes.ward import Ward

HOUR = 3600


@dataclass(frozen=True)
class Running:
    """One broker, with and without TLS, under a clock of its own; and its Redis."""

    ward: Ward
    redis: RedisServer
    clock: dict[str, str]
    tls: str
    plain: str
    certificate: Path

    def said(self) -> dict[str, str]:
        """The codes of what is wrong at the door, and what is said of it."""
        return {code: evidence for _, code, evidence in self.ward.ill("door")}

    def listens(self, *listeners: str) -> None:
        """As the doctor reads it."""
        self.ward.settings["server"]["listen"] = list(listeners)
        self.ward.write()


@pytest.fixture(scope="module")
def running(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("door")
    keytab = realm.keytab(folder / "keytab", "HTTP/localhost")
    made = server_certificate(folder / "tls", "ecdsa-sha256", days=90)
    tls, plain = (f"{scheme}://127.0.0.1:{free_port()}" for scheme in ("https", "http"))
    with StrictSts(demo_world()) as sts, RedisServer.start(folder / "redis") as redis, realm.entered():
        ward = Ward(folder / "host", keytab, sts.url)
        password = folder / "password"
        password.touch(mode=0o600)
        password.write_text(redis.password)
        ward.settings["redis"] = {"url": redis.url, "password_file": str(password)}
        ward.settings["tls"] = {"certificate": str(made.certificate), "private_key": str(made.key)}
        found = Running(ward, redis, clockwork(folder), tls, plain, made.certificate)
        found.listens(tls, plain)
        with BrokerProcess(ward.folder, ward.settings, env={**realm.env, **found.clock}):
            yield found


def test_a_broker_that_is_another_than_the_installed_one_is_told_at_each_door(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert running.said() == {}
    monkeypatch.setattr(door, "__version__", "99.0")
    found = running.ward.ill("door")
    assert [(verdict, code) for verdict, code, _ in found] == [("warn", "broker_outdated")] * 2
    assert found[0][2].endswith("runs, and 99.0 is installed")


def test_a_certificate_that_the_broker_did_not_take_is_told_while_the_one_on_the_disk_looks_well(
    running: Running, tmp_path: Path
) -> None:
    """Replaced without its key."""
    before = running.certificate.read_bytes()
    running.certificate.write_bytes(server_certificate(tmp_path / "tls", "ecdsa-sha256", days=90).pem)
    assert running.ward.ill("TLS") == []
    assert str(running.certificate) in running.said()["certificate_not_loaded"]
    running.certificate.write_bytes(before)
    assert "certificate_not_loaded" not in running.said()


def test_a_plain_door_where_tls_is_configured_is_told(running: Running) -> None:
    running.listens(running.plain.replace("http:", "https:"))
    try:
        assert list(running.said()) == ["door_tls"]
    finally:
        running.listens(running.tls, running.plain)


def test_a_broker_that_hands_out_nothing_says_what_it_waits_for(running: Running) -> None:
    running.redis.stop()
    try:
        # A look that was under way when it went still found it well.
        eventually(lambda: "replay_guard: " in running.said().get("broker_not_ready", ""))
    finally:
        running.redis.restart()


def test_a_clock_that_was_set_while_the_broker_ran_is_told_in_its_own_words(running: Running) -> None:
    set_clock(running.clock, wall=2 * HOUR)
    eventually(lambda: "clock_jump" in running.said())
    assert "the wall clock was set ahead by 7200 s, at 2" in running.said()["clock_jump"]
