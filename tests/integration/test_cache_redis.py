"""The cache in a real Redis: nothing to read there, and nothing lost but time when it is gone."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.fakes.broker import BrokerProcess, configuration
from tests.fakes.realm import Realm
from tests.fakes.redis import RedisServer
from tests.fakes.sts import StrictSts, demo_world

# What one request may cost beyond an ordinary one while Redis hangs: 250 ms are promised, the rest is this machine's.
ONCE_SECONDS = 0.25 + 0.35
BACK_SECONDS = 5.0


@pytest.fixture(scope="module")
def sts() -> Iterator[StrictSts]:
    with StrictSts(demo_world()) as running:
        yield running


@pytest.fixture(scope="module")
def alice(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return realm.kinit("alice", tmp_path_factory.mktemp("alice") / "ccache")


class Caller:
    """alice with curl, at one broker."""

    def __init__(self, broker: BrokerProcess, env: dict[str, str]) -> None:
        self.broker = broker
        self._env = {"PATH": "/usr/bin:/bin", **env}

    def credentials(self) -> tuple[dict[str, Any], float]:
        """The body, and how long it took."""
        command = [
            "curl",
            "-sf",
            "--negotiate",
            "-u",
            ":",
            "-H",
            "X-Zerotrust-Request: 1",
            "-d",
            '{"role":"developer"}',
        ]
        started = time.monotonic()
        done = subprocess.run(
            [*command, f"{self.broker.url}/v1/credentials"], env=self._env, capture_output=True, text=True, check=True
        )
        return json.loads(done.stdout), time.monotonic() - started

    def readiness(self) -> dict[str, Any]:
        done = subprocess.run(["curl", "-s", f"{self.broker.url}/readyz"], capture_output=True, text=True, check=True)
        found: dict[str, Any] = json.loads(done.stdout)
        return found


@contextmanager
def broker_beside(
    server: RedisServer,
    tmp_path: Path,
    realm: Realm,
    sts: StrictSts,
    alice: dict[str, str],
    *,
    password: str,
    replay_guard: str = "local",
) -> Iterator[Caller]:
    """Redis is the cache alone, unless ``replay_guard`` says otherwise: then it must be there for a ticket to count."""
    sts.clear()
    password_file = tmp_path / "redis_password"
    password_file.touch(mode=0o600)
    password_file.write_text(password + "\n")
    settings = configuration(
        tmp_path,
        keytab=realm.keytab(tmp_path / "http.keytab", "HTTP/localhost"),
        sts_endpoint=sts.url,
        redis={"url": server.url, "password_file": str(password_file)},
    )
    settings["kerberos"]["replay_guard"] = replay_guard
    with BrokerProcess(tmp_path, settings, env=realm.env) as broker:
        yield Caller(broker, alice)


@pytest.fixture
def caller(
    redis_server: RedisServer, tmp_path: Path, realm: Realm, sts: StrictSts, alice: dict[str, str]
) -> Iterator[Caller]:
    with broker_beside(redis_server, tmp_path, realm, sts, alice, password=redis_server.password) as made:
        yield made


def wait_until_well(caller: Caller) -> float:
    """Seconds until /readyz says ok."""
    started = time.monotonic()
    while caller.readiness()["status"] != "ok":
        assert time.monotonic() - started < BACK_SECONDS, caller.readiness()
        time.sleep(0.05)
    return time.monotonic() - started


def test_redis_holds_no_plaintext_and_forgets_by_itself(
    redis_server: RedisServer, tmp_path: Path, realm: Realm, sts: StrictSts, alice: dict[str, str]
) -> None:
    # With everything in Redis that can be there.
    with broker_beside(
        redis_server, tmp_path, realm, sts, alice, password=redis_server.password, replay_guard="shared"
    ) as caller:
        body, _ = caller.credentials()
        again, _ = caller.credentials()
    assert again == body
    assert len(sts.calls()) == 2
    with redis.Redis.from_url(redis_server.url_with_password) as client:
        names = sorted(client.scan_iter())
        kinds = [name.rsplit(b":", maxsplit=1)[0] for name in names]
        held = {name: (client.get(name), client.ttl(name)) for name in names}
    assert kinds == [b"zerotrust:credentials", b"zerotrust:replay", b"zerotrust:replay"]
    secrets = [body[name] for name in ("AccessKeyId", "SecretAccessKey", "SessionToken", "AccountId", "RoleArn")]
    dump = b"".join(name + (value or b"") for name, (value, _) in held.items()).lower()
    for plain in (*secrets, body["SessionToken"][:24], "alice", "EXAMPLE.COM", "developer", "engineers"):
        assert plain.lower().encode() not in dump
    credentials, *spent = held.values()
    assert len(credentials[0] or b"") > len(body["SessionToken"])
    # 60 minutes less the 15.5 that nobody may have any more.
    assert 44 * 60 < credentials[1] <= 44.5 * 60
    # Twice the clock skew of Kerberos, and a minute.
    assert all(value == b"" and 10 * 60 < seconds <= 11 * 60 for value, seconds in spent)


def test_two_instances_share_the_cache(
    caller: Caller, redis_server: RedisServer, sts: StrictSts, tmp_path: Path
) -> None:
    first, _ = caller.credentials()
    other = tmp_path / "other"
    other.mkdir()
    settings = {**caller.broker.settings, "audit": {"directory": str(other / "audit")}}
    with BrokerProcess(other, settings, env=caller.broker._env) as second:
        assert Caller(second, caller._env).credentials()[0] == first
    assert len(sts.calls()) == 2


def test_a_hostile_redis_is_a_miss_and_never_an_error(
    caller: Caller, redis_server: RedisServer, sts: StrictSts
) -> None:
    caller.credentials()
    (name,) = redis_server.cli("--scan").split()
    for spoil in (
        ("SET", name, "garbage"),
        ("SETRANGE", name, "0", "\x7f"),
        ("SETRANGE", name, "60", "AAAA"),
        ("SET", name, ""),
    ):
        sts.clear_calls()
        redis_server.cli(*spoil)
        caller.credentials()
        assert len(sts.calls()) == 2, spoil
        assert len(redis_server.cli("GET", name)) > 100, "the good entry is back"
    redis_server.cli("DEL", name)
    redis_server.cli("RPUSH", name, "of another type")
    caller.credentials()
    assert caller.readiness()["status"] == "ok"


def test_a_frozen_redis_costs_one_request_its_timeout_and_the_others_nothing(
    caller: Caller, redis_server: RedisServer, sts: StrictSts
) -> None:
    caller.credentials()
    ordinary = min(caller.credentials()[1] for _ in range(3))
    redis_server.freeze()
    _, first = caller.credentials()
    _, second = caller.credentials()
    assert first < ordinary + ONCE_SECONDS
    assert second < first
    assert second < ordinary + 0.15
    found = caller.readiness()
    assert found["status"] == "degraded"
    assert found["dependencies"]["cache"]["status"] == "degraded"
    redis_server.thaw()
    assert wait_until_well(caller) < BACK_SECONDS
    caller.credentials()
    sts.clear_calls()
    caller.credentials()
    assert sts.calls() == [], "the cache is used again"


def test_a_stopped_redis_is_gone_without_a_failed_request_and_comes_back(
    caller: Caller, redis_server: RedisServer, sts: StrictSts
) -> None:
    caller.credentials()
    redis_server.stop()
    for _ in range(3):
        assert caller.credentials()[0]["AccessKeyId"].startswith("ASIA")
    assert caller.readiness()["status"] == "degraded"
    redis_server.restart()
    assert wait_until_well(caller) < BACK_SECONDS
    caller.credentials()
    assert len(redis_server.cli("--scan").split()) == 1


def test_a_redis_that_takes_no_writes_still_gives_what_it_has(
    caller: Caller, redis_server: RedisServer, sts: StrictSts
) -> None:
    redis_server.cli("CONFIG", "SET", "min-replicas-to-write", "1")
    try:
        caller.credentials()
        assert redis_server.cli("--scan").split() == []
    finally:
        redis_server.cli("CONFIG", "SET", "min-replicas-to-write", "0")
    caller.credentials()
    sts.clear_calls()
    caller.credentials()
    assert sts.calls() == []


def test_a_wrong_password_degrades_the_broker_and_does_not_stop_it(
    redis_server: RedisServer, tmp_path: Path, realm: Realm, sts: StrictSts, alice: dict[str, str]
) -> None:
    with broker_beside(redis_server, tmp_path, realm, sts, alice, password="canary-not-the-password") as caller:
        for _ in range(2):
            assert caller.credentials()[0]["AccessKeyId"].startswith("ASIA")
        assert caller.readiness()["dependencies"]["cache"]["status"] == "degraded"
        assert redis_server.cli("--scan").split() == []
        assert caller.broker.stop() == 0
        assert "canary-not-the-password" not in caller.broker.output.read_text()
        assert redis_server.password not in caller.broker.output.read_text()
