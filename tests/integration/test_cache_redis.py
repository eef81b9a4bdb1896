"""The cache in a real Redis, through the whole broker: nothing to read there, and nothing lost but time when it is gone.

What this process has it does not ask Redis for, so each question here is about another of alice's many roles.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.fakes.broker import BrokerProcess, configuration
from tests.fakes.realm import Realm
from tests.fakes.redis import ACCOUNT, RedisServer
from tests.fakes.relay import Relay
from tests.fakes.sts import StrictSts, demo_world

# What one request may cost beyond an ordinary one while Redis hangs: 250 ms are promised, the rest is this machine's.
ONCE_SECONDS = 0.25 + 0.35
BACK_SECONDS = 5.0
HOPS = 2
ROLES = 60
_unasked = iter(range(ROLES))
_INSTANCES = b"zerotrust:{shared}:instances"


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

    def new_role(self) -> str:
        """One that nobody asked for yet."""
        return f"role{next(_unasked)}"

    def something_new(self) -> float:
        """Ask for a role that nobody asked for yet; how long it took."""
        return self.credentials(self.new_role())[1]

    def metric(self, name: str) -> float:
        text = subprocess.run(["curl", "-s", f"{self.broker.url}/metrics"], capture_output=True, text=True, check=True)
        (line,) = [line for line in text.stdout.splitlines() if line.startswith(f"{name} ")]
        return float(line.split(" ")[1])

    def credentials(self, role: str = "developer") -> tuple[dict[str, Any], float]:
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
            json.dumps({"role": role}),
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
    port: int | None = None,
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
        redis={"url": f"redis://{ACCOUNT}@127.0.0.1:{port or server.port}/0", "password_file": str(password_file)},
    )
    settings["kerberos"]["replay_guard"] = replay_guard
    many = {f"role{number}": settings["roles"]["developer"] for number in range(ROLES)}
    settings["roles"] = {"developer": settings["roles"]["developer"], **many}
    settings["rules"][0]["roles"] = list(settings["roles"])
    with BrokerProcess(tmp_path, settings, env=realm.env) as broker:
        yield Caller(broker, alice)


@pytest.fixture(scope="module")
def relay(_session_redis: RedisServer) -> Iterator[Relay]:
    with Relay(_session_redis.port) as running:
        yield running


@pytest.fixture(scope="module")
def first(
    relay: Relay,
    _session_redis: RedisServer,
    tmp_path_factory: pytest.TempPathFactory,
    realm: Realm,
    sts: StrictSts,
    alice: dict[str, str],
) -> Iterator[Caller]:
    folder, password = tmp_path_factory.mktemp("first"), _session_redis.password
    with broker_beside(_session_redis, folder, realm, sts, alice, password=password, port=relay.port) as made:
        yield made


@pytest.fixture(scope="module")
def second(first: Caller, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    """Another instance with the same configuration."""
    folder = tmp_path_factory.mktemp("second")
    settings = {**first.broker.settings, "audit": {"directory": str(folder / "audit")}}
    with BrokerProcess(folder, settings, env=first.broker._env) as broker:
        yield Caller(broker, first._env)


@pytest.fixture
def caller(first: Caller, redis_server: RedisServer, sts: StrictSts) -> Caller:
    """The first instance, well, with calls counted from here on."""
    wait_until_well(first)
    sts.clear()
    return first


def wait_until_well(caller: Caller) -> float:
    """Seconds until /readyz says ok."""
    started = time.monotonic()
    while (found := caller.readiness())["status"] != "ok":
        ill = {name: state for name, state in found["dependencies"].items() if state["status"] != "ok"}
        assert time.monotonic() - started < BACK_SECONDS, ill
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
        shared = {_INSTANCES, b"zerotrust:{shared}:keyring", b"zerotrust:{shared}:keyring:instances"}
        beats = b"".join(part for name in shared for pair in client.hgetall(name).items() for part in pair)
        watched = {name: client.get(name) or b"" for name in client.scan_iter(b"zerotrust:{shared}:watch:*")}
        # What was used lately, for its owner to see: rows in order, written a little later than the answer.
        roll = set(client.scan_iter(b"zerotrust:{shared}:roll:*"))
        for name in roll:
            rows = client.hgetall(name) if name.endswith(b":rows") else dict.fromkeys(client.zrange(name, 0, -1), b"")
            beats += b"".join([name, *itertools.chain(*rows.items())])
        names = sorted(set(client.scan_iter()) - {*shared, b"zerotrust:{shared}:keyring:turn", *watched, *roll})
        kinds = [name.rsplit(b":", maxsplit=1)[0] for name in names]
        held = {name: (client.get(name), client.ttl(name)) for name in names}
    assert kinds == [
        b"zerotrust:{cache}:credentials",
        b"zerotrust:{cache}:turns:zerotrust:{cache}:credentials",
        b"zerotrust:{shared}:replay",
        b"zerotrust:{shared}:replay",
    ]
    secrets = [body[name] for name in ("AccessKeyId", "SecretAccessKey", "SessionToken", "AccountId", "RoleArn")]
    assert watched
    assert roll
    beats += b"".join(itertools.chain(*watched.items()))
    dump = b"".join([beats, *(name + (value or b"") for name, (value, _) in held.items())]).lower()
    for plain in (*secrets, body["SessionToken"][:24], "alice", "EXAMPLE.COM", "developer", "engineers"):
        assert plain.lower().encode() not in dump
    credentials, turns, *spent = held.values()
    assert len(credentials[0] or b"") > len(body["SessionToken"])
    # 60 minutes less the 15.5 that nobody may have any more.
    assert 44 * 60 < credentials[1] <= 44.5 * 60
    # Twice the clock skew of Kerberos, and a minute.
    assert all(value == b"" and 10 * 60 < seconds <= 11 * 60 for value, seconds in spent)
    assert turns[0] == b"1"
    assert 0 < turns[1] <= 12 * 3600


def test_two_instances_share_the_cache_and_a_flushed_redis_costs_the_second_a_chain(
    caller: Caller, second: Caller, redis_server: RedisServer, sts: StrictSts
) -> None:
    here, there = caller.new_role(), caller.new_role()
    made, _ = caller.credentials(here)
    caller.credentials(there)
    assert second.credentials(here)[0] == made
    assert len(sts.calls()) == 2 * HOPS
    redis_server.cli("FLUSHALL")
    assert second.credentials(here)[0] == made, "what is in the process stays there"
    second.credentials(there)
    assert len(sts.calls()) == 3 * HOPS


def test_what_is_in_the_process_is_not_asked_of_redis(
    caller: Caller, redis_server: RedisServer, sts: StrictSts
) -> None:
    made, _ = caller.credentials()
    sts.clear_calls()
    redis_server.freeze()
    for _ in range(3):
        assert caller.credentials()[0] == made
    assert sts.calls() == []


def test_whoever_writes_to_redis_is_on_record_and_gets_nobody_a_wrong_answer(
    caller: Caller, second: Caller, redis_server: RedisServer, sts: StrictSts
) -> None:
    role = caller.new_role()
    caller.credentials(role)
    (entry,) = redis_server.cli("--scan", "--pattern", "zerotrust:{cache}:credentials:*").split()
    redis_server.cli("SETRANGE", entry, "60", "AAAA")
    before = second.metric("broker_cache_tampered_total")
    second.credentials(role)
    assert len(sts.calls()) == 2 * HOPS
    assert second.metric("broker_cache_tampered_total") == before + 1
    (record,) = [record for record in second.broker.records() if record["event"] == "cache_tamper"]
    assert (record["user"], record["role"], record["resource"]) == ("alice@EXAMPLE.COM", role, entry)
    assert (record["success"], record["reason"], record["unrecorded"]) == (False, "entry_altered", 0)
    assert second.broker.admin("audit", "verify").returncode == 0


def goes_on_without(caller: Caller, *, ordinary: float) -> None:
    """One request pays for finding out, and the others nothing."""
    assert caller.something_new() < ordinary + ONCE_SECONDS
    found = caller.readiness()
    assert found["status"] == "degraded"
    assert found["dependencies"]["cache"]["status"] == "degraded"
    # Each of them would take 200 ms longer if it asked.
    assert min(caller.something_new() for _ in range(3)) < ordinary + 0.15


def is_used_again(caller: Caller, redis_server: RedisServer) -> None:
    """Within five seconds."""
    assert wait_until_well(caller) < BACK_SECONDS
    before = entries(redis_server)
    caller.something_new()
    assert entries(redis_server) == before + 1


def entries(redis_server: RedisServer) -> int:
    return len(redis_server.cli("--scan", "--pattern", "zerotrust:{cache}:credentials:*").split())


def test_a_frozen_redis_costs_one_request_its_patience_and_the_others_nothing(
    caller: Caller, redis_server: RedisServer
) -> None:
    ordinary = min(caller.something_new() for _ in range(3))
    redis_server.freeze()
    goes_on_without(caller, ordinary=ordinary)
    redis_server.thaw()
    is_used_again(caller, redis_server)


def test_a_stopped_redis_is_gone_without_a_failed_request_and_comes_back(
    caller: Caller, redis_server: RedisServer
) -> None:
    ordinary = min(caller.something_new() for _ in range(3))
    redis_server.stop()
    goes_on_without(caller, ordinary=ordinary)
    redis_server.restart()
    is_used_again(caller, redis_server)


def test_a_slow_redis_is_left_alone_until_it_is_fast_again(
    caller: Caller, relay: Relay, redis_server: RedisServer
) -> None:
    ordinary = min(caller.something_new() for _ in range(3))
    # Each answer comes, and three of them would be more than a quarter of a second.
    relay.delay = 0.12
    try:
        goes_on_without(caller, ordinary=ordinary)
        # On a busy machine what passes the answers on is later than it was told to be, and one comes not at all in time.
        assert caller.readiness()["dependencies"]["cache"]["reason"] in {"slow", "TimeoutError"}
    finally:
        relay.delay = 0.0
    is_used_again(caller, redis_server)


FAULTS = {
    "full": (["CONFIG SET maxmemory 1"], ["CONFIG SET maxmemory 0"]),
    "without replicas": (["CONFIG SET min-replicas-to-write 1"], ["CONFIG SET min-replicas-to-write 0"]),
    # The address leads to a replica, connections are cut, and later it is promoted.
    "failed over": (
        ["REPLICAOF 127.0.0.1 1", "CLIENT KILL TYPE normal"],
        ["REPLICAOF NO ONE", "CLIENT KILL TYPE normal"],
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_redis_that_takes_no_writes_still_gives_what_it_has_and_misses_coalesce(
    caller: Caller, second: Caller, redis_server: RedisServer, sts: StrictSts, fault: str
) -> None:
    spoil, mend = FAULTS[fault]
    kept, missing = caller.new_role(), caller.new_role()
    made, _ = caller.credentials(kept)
    failures = second.metric("broker_cache_write_failures_total")
    for command in spoil:
        redis_server.cli(*command.split())
    try:
        assert second.credentials(kept)[0] == made
        assert len(sts.calls()) == HOPS, "reads are used"
        with ThreadPoolExecutor(8) as threads:
            bodies = list(threads.map(lambda _: second.credentials(missing)[0], range(8)))
        assert len({body["AccessKeyId"] for body in bodies}) == 1
        assert len(sts.calls()) == 2 * HOPS
        assert second.metric("broker_cache_write_failures_total") == failures + 1
        assert entries(redis_server) == 1
    finally:
        for command in mend:
            redis_server.cli(*command.split())
    is_used_again(second, redis_server)


def test_a_wrong_password_degrades_the_broker_and_does_not_stop_it(
    redis_server: RedisServer, tmp_path: Path, realm: Realm, sts: StrictSts, alice: dict[str, str]
) -> None:
    with broker_beside(redis_server, tmp_path, realm, sts, alice, password="canary-not-the-password") as caller:
        caller.something_new()
        assert caller.readiness()["dependencies"]["cache"]["status"] == "degraded"
        assert redis_server.cli("--scan", "--pattern", "zerotrust:{cache}:credentials:*").split() == []
        assert caller.broker.stop() == 0
        assert "canary-not-the-password" not in caller.broker.output.read_text()
        assert redis_server.password not in caller.broker.output.read_text()
