"""One use of a ticket, across instances: two brokers with a replay file each, and one Redis between them."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from typing import TYPE_CHECKING, Any

import pytest
from redis import asyncio as redis

from broker.authn.replay import SharedGuard
from broker.core.clock import SystemClock
from broker.core.errors import AuthFailed, ReplayGuardUnavailable
from broker.core.replicated import Replicas
from tests.fakes.broker import BrokerProcess, configuration
from tests.fakes.conversation import Conversation, ask
from tests.fakes.realm import Realm
from tests.fakes.redis import RedisServer
from tests.fakes.tokens import authenticator_span, stretched, unwrapped

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NO_STS = "http://127.0.0.1:1"
RAW_KERBEROS = "1.2.840.113554.1.2.2"
REFUSED_SECONDS = 0.5
BACK_SECONDS = 5.0


def instance(
    folder: Path, realm: Realm, *, server: RedisServer | None, replay_file: Path, **kerberos: Any
) -> BrokerProcess:
    """A broker with a replay file of MIT's, which another instance shares only where a test gives both the same."""
    folder.mkdir()
    settings = configuration(folder, keytab=realm.keytab(folder / "http.keytab", "HTTP/localhost"), sts_endpoint=NO_STS)
    settings["kerberos"] |= kerberos
    if server is not None:
        password = folder / "redis_password"
        password.touch(mode=0o600)
        password.write_text(server.password)
        settings["redis"] = {"url": server.url, "password_file": str(password)}
    return BrokerProcess(folder, settings, env={**realm.env, "KRB5RCACHENAME": f"file2:{replay_file}"})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer.start(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture(scope="module")
def pair(
    realm: Realm, server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[BrokerProcess, BrokerProcess]]:
    folder = tmp_path_factory.mktemp("pair")
    first = instance(folder / "first", realm, server=server, replay_file=folder / "replay-1")
    second = instance(folder / "second", realm, server=server, replay_file=folder / "replay-2")
    with first, second:
        yield first, second


@pytest.fixture(scope="module")
def alice(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return realm.kinit("alice", tmp_path_factory.mktemp("alice") / "ccache")


def refused_as_replays(broker: BrokerProcess) -> int:
    return sum(record["reason"] == "ticket_replayed" for record in broker.records())


# ---- one use ----


def test_a_token_used_at_one_instance_is_refused_at_the_other(
    pair: tuple[BrokerProcess, BrokerProcess], realm: Realm, alice: dict[str, str]
) -> None:
    first, second = pair
    token = realm.client_token(alice)
    assert ask(first.url, token).status == 200
    answer = ask(second.url, token)
    assert (answer.status, answer.body["code"]) == (401, "auth_failed")
    assert second.last_record()["reason"] == "ticket_replayed"
    assert "replay" not in str(answer.body)


def test_what_an_emptied_redis_has_forgotten_each_host_remembers_for_itself(
    pair: tuple[BrokerProcess, BrokerProcess], server: RedisServer, realm: Realm, alice: dict[str, str]
) -> None:
    first, _ = pair
    token = realm.client_token(alice)
    assert ask(first.url, token).status == 200
    server.cli("FLUSHALL")
    assert ask(first.url, token).status == 401
    assert first.last_record()["reason"] == "ticket_replayed"
    assert ask(first.url, realm.client_token(alice)).status == 200


def test_a_raw_kerberos_token_is_spent_like_a_wrapped_one(
    pair: tuple[BrokerProcess, BrokerProcess], realm: Realm, alice: dict[str, str]
) -> None:
    first, second = pair
    token = realm.client_token(alice, mechanism=RAW_KERBEROS)
    assert ask(first.url, token).status == 200
    assert ask(second.url, token).status == 401


def test_taking_the_wrapper_off_does_not_make_a_new_token(
    pair: tuple[BrokerProcess, BrokerProcess], realm: Realm, alice: dict[str, str]
) -> None:
    first, second = pair
    token = realm.client_token(alice)
    assert ask(first.url, token).status == 200
    before = refused_as_replays(second)
    assert ask(second.url, unwrapped(token)).status == 401
    # Kerberos had no objection, so what stopped it is the guard and not a broken token.
    assert refused_as_replays(second) == before + 1


def test_lengths_in_another_form_do_not_make_a_new_token(
    pair: tuple[BrokerProcess, BrokerProcess], realm: Realm, alice: dict[str, str]
) -> None:
    first, second = pair
    token = realm.client_token(alice)
    assert ask(first.url, token).status == 200
    before = refused_as_replays(second)
    variants = list(stretched(token))
    assert len(variants) == 12  # one for each element between the header and the authenticator
    for variant in variants:
        assert ask(second.url, variant).status == 401
    assert refused_as_replays(second) > before


def test_no_altered_byte_around_the_authenticator_makes_a_new_token(
    pair: tuple[BrokerProcess, BrokerProcess], realm: Realm, alice: dict[str, str]
) -> None:
    first, second = pair
    token = realm.client_token(alice)
    assert ask(first.url, token).status == 200
    before = refused_as_replays(second)
    span = authenticator_span(token)
    places = [place for place in range(len(token)) if place not in span]
    with Conversation(second.url) as talk:
        for place in places:
            altered = token[:place] + bytes([token[place] ^ 1 << place % 8]) + token[place + 1 :]
            assert talk.ask(altered).status == 401, f"byte {place}"
    # The ones that Kerberos itself would have taken a second time, had nobody remembered the authenticator.
    assert refused_as_replays(second) > before + len(places) // 50


def test_tokens_with_anything_behind_them_are_refused(
    pair: tuple[BrokerProcess, BrokerProcess], realm: Realm, alice: dict[str, str]
) -> None:
    first, second = pair
    token = realm.client_token(alice)
    assert ask(first.url, token).status == 200
    for tail in (b"\0", token, b"\x30\x00"):
        assert ask(second.url, token + tail).status == 401


# ---- Redis fails ----


@pytest.mark.parametrize("fault", ["frozen", "stopped"])
def test_an_unreachable_guard_refuses_quickly_and_serves_again_soon_after(
    fault: str, pair: tuple[BrokerProcess, BrokerProcess], server: RedisServer, realm: Realm, alice: dict[str, str]
) -> None:
    broker = pair[0]
    assert ask(broker.url, realm.client_token(alice)).status == 200
    (server.freeze if fault == "frozen" else server.stop)()
    try:
        for _ in range(5):
            answer = ask(broker.url, realm.client_token(alice))
            assert (answer.status, answer.body["code"]) == (503, "replay_guard_unavailable")
            assert int(answer.headers["retry-after"]) > 0
            assert "www-authenticate" not in answer.headers
            assert answer.seconds < REFUSED_SECONDS
        assert broker.last_record()["reason"] == "replay_guard_unavailable"
        assert ask(broker.url, None, "/healthz").status == 200
        ready = ask(broker.url, None, "/readyz")
        assert ready.status == 503
        assert ready.body["dependencies"]["replay_guard"]["status"] == "degraded"
    finally:
        server.renew()
    deadline = time.monotonic() + BACK_SECONDS
    while ask(broker.url, realm.client_token(alice)).status != 200:
        assert time.monotonic() < deadline, "the guard is not back"
        time.sleep(0.1)
    assert ask(broker.url, None, "/readyz").body["dependencies"]["replay_guard"]["status"] == "ok"


def test_a_token_refused_while_the_guard_was_away_was_not_taken(
    pair: tuple[BrokerProcess, BrokerProcess], server: RedisServer, realm: Realm, alice: dict[str, str]
) -> None:
    first, second = pair
    token = realm.client_token(alice)
    server.freeze()
    try:
        assert ask(first.url, token).status == 503
    finally:
        server.thaw()
    time.sleep(1.5)  # the second instance's breaker never opened; the first one's is closed again by then
    # Nobody was let in with it, so it may still count once, somewhere; never more often.
    assert [ask(broker.url, token).status for broker in (second, second, first)].count(200) <= 1


async def test_two_hundred_tokens_at_once_cost_a_handful_of_round_trips(server: RedisServer) -> None:
    client = redis.Redis.from_url(server.url_with_password)
    guard = SharedGuard(client=client, replicas=Replicas(0), clock=SystemClock())
    await guard.spend(b"the first makes the connection")
    before = _reads(server)
    await asyncio.gather(*(guard.spend(secrets.token_bytes(64)) for _ in range(200)))
    # The second count is a connection and a few reads of its own.
    assert _reads(server) - before <= 20
    await client.aclose()


async def test_of_many_uses_at_once_exactly_one_counts(server: RedisServer) -> None:
    clients = [redis.Redis.from_url(server.url_with_password) for _ in range(2)]
    guards = [SharedGuard(client=client, replicas=Replicas(0), clock=SystemClock()) for client in clients]
    authenticator = secrets.token_bytes(64)
    uses = await asyncio.gather(*(guards[i % 2].spend(authenticator) for i in range(100)), return_exceptions=True)
    assert uses.count(None) == 1
    assert sum(isinstance(use, AuthFailed) for use in uses) == 99
    for client in clients:
        await client.aclose()


async def test_nobody_who_hangs_up_takes_others_with_him(server: RedisServer) -> None:
    client = redis.Redis.from_url(server.url_with_password)
    guard = SharedGuard(client=client, replicas=Replicas(0), clock=SystemClock())
    leaving = [asyncio.ensure_future(guard.spend(secrets.token_bytes(64))) for _ in range(20)]
    staying = [asyncio.ensure_future(guard.spend(secrets.token_bytes(64))) for _ in range(20)]
    await asyncio.sleep(0)
    for task in leaving:
        task.cancel()
    assert await asyncio.gather(*staying) == [None] * 20
    await guard.spend(secrets.token_bytes(64))
    await client.aclose()


def _reads(server: RedisServer) -> int:
    found = re.search(r"total_reads_processed:(\d+)", server.cli("INFO", "stats"))
    assert found is not None
    return int(found[1])


async def test_a_redis_that_evicts_lets_nobody_in(server: RedisServer) -> None:
    client = redis.Redis.from_url(server.url_with_password)
    server.cli("CONFIG", "SET", "maxmemory", "100mb", "maxmemory-policy", "volatile-ttl")
    try:
        guard = SharedGuard(client=client, replicas=Replicas(0), clock=SystemClock())
        with pytest.raises(ReplayGuardUnavailable, match="EvictsKeys"):
            await guard.spend(secrets.token_bytes(64))
        assert await guard.ping() == "EvictsKeys"
        server.cli("CONFIG", "SET", "maxmemory-policy", "noeviction")
        guard = SharedGuard(client=client, replicas=Replicas(0), clock=SystemClock())
        await guard.spend(secrets.token_bytes(64))
    finally:
        server.cli("CONFIG", "SET", "maxmemory", "0", "maxmemory-policy", "noeviction")
    await client.aclose()


# ---- one host ----


def test_local_instances_with_one_replay_file_take_a_token_once(
    realm: Realm, alice: dict[str, str], tmp_path: Path
) -> None:
    shared = tmp_path / "replay"
    first = instance(tmp_path / "first", realm, server=None, replay_file=shared)
    second = instance(tmp_path / "second", realm, server=None, replay_file=shared)
    token = realm.client_token(alice)
    with first, second:
        assert ask(first.url, token).status == 200
        assert ask(second.url, token).status == 401
        assert second.last_record()["reason"] == "ticket_replayed"


def test_local_mode_goes_on_without_redis(
    realm: Realm, server: RedisServer, alice: dict[str, str], tmp_path: Path
) -> None:
    broker = instance(tmp_path / "only", realm, server=server, replay_file=tmp_path / "replay", replay_guard="local")
    with broker:
        server.freeze()
        try:
            assert ask(broker.url, realm.client_token(alice)).status == 200
        finally:
            server.thaw()
