"""Instances that tell each other what was revoked, through a real Redis that may lose, forge, roll back or keep silent."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Self

import pytest
from redis import asyncio as redis

from broker.core.errors import RevocationsUnavailable, Revoked
from broker.core.principal import Principal
from broker.keys.hierarchy import KeyHierarchy
from broker.revocation import spread
from broker.revocation.epochs import Epochs
from broker.revocation.ledger import EVERY_ROLE, LINGER, Kind, Subject
from tests.fakes.epochs import epochs_beside, ledger_file
from tests.fakes.redis import RedisServer

KEYS = KeyHierarchy(master=b"m" * 32)
STRANGER = KeyHierarchy(master=b"s" * 32)
ALICE, BOB = Principal.parse("alice@R"), Principal.parse("bob@R")
SESSIONS = Subject(Kind.USER, "alice@R")
HOLD = Subject(Kind.CREDENTIALS, "alice@R", EVERY_ROLE)
ENTRIES, BEATS = "zerotrust:{shared}:revocations", "zerotrust:{shared}:instances"
PROMISED = 1.0
# Two looks, and what a busy machine adds to them.
PATIENCE = 3.0

Join = Callable[..., contextlib.AbstractAsyncContextManager[Epochs]]


@pytest.fixture
def server(redis_server: RedisServer) -> RedisServer:
    return redis_server


@pytest.fixture
def join(server: RedisServer, tmp_path: Path) -> Join:
    """An instance that is there for as long as the block lasts; by name, so that it can come again to its own disk."""

    @asynccontextmanager
    async def instance(name: str, *, keys: KeyHierarchy = KEYS) -> AsyncIterator[Epochs]:
        client = redis.Redis.from_url(server.url_with_password, socket_timeout=0.2, socket_connect_timeout=0.2)
        epochs = epochs_beside(client, tmp_path / name, keys)
        await epochs.open()
        task = asyncio.ensure_future(epochs.keep_in_step())
        try:
            yield epochs
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await epochs.close()
            await client.aclose()

    return instance


async def until(condition: Callable[[], bool], *, patience: float = PATIENCE) -> float:
    """Seconds until it holds."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < patience, "it does not come"
        await asyncio.sleep(0.01)
    return time.monotonic() - started


async def revoke(epochs: Epochs, *subjects: Subject) -> bool:
    return await epochs.enter(subjects, by="root/admin@R")


def forged(epochs: Epochs) -> int:
    """How much it found in Redis that none of us wrote."""
    assert epochs._spread is not None
    return epochs._spread.forged


def others(epochs: Epochs) -> int:
    """How many instances it knows of beside itself."""
    assert epochs._spread is not None
    return len(epochs._spread.others)


def is_held(epochs: Epochs) -> bool:
    try:
        epochs.require(ALICE)
    except Revoked:
        return True
    return False


async def test_a_revocation_is_heard_within_a_second_and_concerns_nobody_else(join: Join) -> None:
    async with join("one") as one, join("two") as two:
        await asyncio.sleep(0.1)  # The subscription stands.
        assert await revoke(one, SESSIONS, HOLD)
        assert await until(lambda: two.of(ALICE) > 0 and is_held(two)) < PROMISED
        two.require(BOB)
        assert two.of(BOB) == 0


async def test_news_are_pushed_and_not_only_asked_for_even_by_a_redis_that_takes_no_writes(
    join: Join, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.revocation.epochs.LOOK_EVERY", timedelta(hours=1))
    async with join("one") as one, join("two") as two:
        await asyncio.sleep(0.1)
        await revoke(one, SESSIONS)
        assert await until(lambda: two.of(ALICE) > 0) < PROMISED
        server.cli("CONFIG", "SET", "min-replicas-to-write", "1")
        try:
            assert not await revoke(one, HOLD), "it is not left there for those who do not listen"
            assert await until(lambda: is_held(two)) < PROMISED
        finally:
            server.cli("CONFIG", "SET", "min-replicas-to-write", "0")


async def test_a_push_that_is_lost_costs_no_more_than_the_promised_second(
    join: Join, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spread, "_CHANNEL", "nobody-listens-here")
    async with join("one") as one:
        monkeypatch.undo()
        async with join("two") as two:
            monkeypatch.setattr(spread, "_CHANNEL", "nobody-listens-here")
            await asyncio.sleep(0.1)
            await revoke(one, SESSIONS)
            assert await until(lambda: two.of(ALICE) > 0) < PROMISED


async def test_a_restore_is_heard_and_what_was_ended_stays_ended(join: Join) -> None:
    async with join("one") as one, join("two") as two:
        await revoke(one, SESSIONS, HOLD)
        await until(lambda: is_held(two))
        dead = two.of(ALICE)
        await two.enter([HOLD], by="root/admin@R", held=False)
        await until(lambda: not is_held(one))
        assert one.of(ALICE) == dead


async def test_whoever_acknowledges_waits_for_the_others_word(join: Join) -> None:
    async with join("one") as one, join("two"):
        await until(lambda: others(one) == 1)
        await revoke(one, SESSIONS)
        assert await one.heard_everywhere(timedelta(seconds=PATIENCE)) == []


async def test_a_flushed_redis_gets_it_back_and_newcomers_hear_it(join: Join, server: RedisServer) -> None:
    async with join("one") as one:
        await revoke(one, SESSIONS, HOLD)
        server.cli("FLUSHALL")
        await asyncio.sleep(1.0)
        assert server.cli("HLEN", ENTRIES).strip() == "2"
        async with join("newcomer") as newcomer:
            assert is_held(newcomer)
            assert newcomer.of(ALICE) == one.of(ALICE)


async def test_an_old_state_of_redis_revives_nothing(join: Join, server: RedisServer) -> None:
    async with join("one") as one, join("two") as two:
        await revoke(one, HOLD)
        await until(lambda: is_held(two))
        await one.enter([HOLD], by="root/admin@R", held=False)
        await until(lambda: not is_held(two))
        (name,) = server.cli("HKEYS", ENTRIES).split()
        async with redis.Redis.from_url(server.url_with_password) as attacker:
            restored = await attacker.hget(ENTRIES, name)
            await revoke(one, HOLD, SESSIONS)
            await until(lambda: is_held(two))
            # Now it says, in our own hand, that alice was restored.
            await attacker.hset(ENTRIES, name, restored)
            await attacker.hdel(ENTRIES, *(set(await attacker.hkeys(ENTRIES)) - {name.encode()}))
            await attacker.publish(ENTRIES, name.encode() + restored)
            await asyncio.sleep(1.0)
            assert is_held(one)
            assert is_held(two)
            # And soon it says so no more, for whoever comes next.
            assert await attacker.hget(ENTRIES, name) != restored
        async with join("newcomer") as newcomer:
            assert is_held(newcomer)
            assert newcomer.of(ALICE) > 0


async def test_nobody_without_the_key_revokes_or_restores_anybody(join: Join, server: RedisServer) -> None:
    async with join("one") as one, join("stranger", keys=STRANGER) as stranger:
        await revoke(one, HOLD)
        await revoke(stranger, Subject(Kind.EVERYBODY), Subject(Kind.USER, "bob@R"))
        await stranger.enter([HOLD], by="mallory", held=False)
        async with redis.Redis.from_url(server.url_with_password) as attacker:
            found = await attacker.hgetall(ENTRIES)
            for blob in found.values():
                await attacker.hset(ENTRIES, mapping=dict.fromkeys(found, blob))  # each under every name
                await attacker.publish(ENTRIES, b"short")
                await attacker.publish(ENTRIES, b"0" * 32 + blob)
            await attacker.hset(ENTRIES, mapping={"": b"", "x": b"garbage", b"\xff" * 40: b"\x01" * 60})
            await attacker.hset(BEATS, mapping={"": b"", "x": b"garbage"})
        await asyncio.sleep(1.0)
        assert is_held(one)
        assert one.of(BOB) == 0
        assert one._spread is not None
        assert one._spread.forged > 0


async def test_what_others_write_without_end_is_one_line_in_the_log_and_holds_nobody_up(
    join: Join, server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with join("one") as one:
        flood = "for i = 1, 20000 do redis.call('HSET', KEYS[1], string.format('%032d', i), string.rep('x', 80)) end"
        server.cli("EVAL", flood, "1", ENTRIES)
        steps = {0}
        while forged(one) < 20_000:
            await asyncio.sleep(0)
            steps.add(forged(one))
        assert len(steps) > 50  # others had their turn as often as that
        server.cli("PUBLISH", ENTRIES, "x" * 100)
        await until(lambda: forged(one) > 20_000)
        assert [one.name for one in caplog.records if "does not open" in one.message] == ["broker.revocation.spread"]


async def test_nothing_in_redis_tells_who_was_revoked(join: Join, server: RedisServer) -> None:
    async with join("one") as one:
        await revoke(one, SESSIONS, HOLD)
        async with redis.Redis.from_url(server.url_with_password) as reader:
            found = b"".join(part for pair in (await reader.hgetall(ENTRIES)).items() for part in pair)
    assert b"alice" not in found
    assert b"admin" not in found


async def test_without_redis_the_disk_keeps_it_and_redis_gets_it_when_it_is_back(
    join: Join, server: RedisServer
) -> None:
    async with join("one") as one, join("two") as two:
        server.stop()
        assert not await revoke(one, SESSIONS)
        await asyncio.sleep(0.5)
        assert two.of(ALICE) == 0
        assert await two.ping() is not None
        server.restart()
        await until(lambda: two.of(ALICE) > 0, patience=10)
    server.cli("FLUSHALL")
    async with join("two") as again:
        assert again.of(ALICE) > 0


async def test_instances_of_one_host_hear_of_each_other_by_the_disk_alone(join: Join, server: RedisServer) -> None:
    async with join("host") as one, join("host") as two:
        server.stop()
        await revoke(one, SESSIONS)
        assert await until(lambda: two.of(ALICE) > 0) < PROMISED


async def test_a_disk_that_takes_nothing_is_no_acknowledgement_and_a_restore_does_not_count(
    join: Join, tmp_path: Path
) -> None:
    async with join("one") as one:
        await revoke(one, HOLD)
        shutil.rmtree(tmp_path / "one")
        (tmp_path / "one").write_text("a file where the folder was")
        with pytest.raises(RevocationsUnavailable):
            await one.enter([HOLD], by="root/admin@R", held=False)
        assert is_held(one)
        with pytest.raises(RevocationsUnavailable):
            await revoke(one, SESSIONS)
        assert one.of(ALICE) > 0, "it counts here all the same"
        assert await one.ping() is not None
        (tmp_path / "one").unlink()
        await asyncio.sleep(1.0)
        assert await one.ping() is None
    assert len(ledger_file(tmp_path / "one", KEYS).read()) == 2


async def test_whoever_ends_a_thousand_sessions_ends_all_and_fills_no_memory(
    join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.revocation.epochs._ENDED_MAX", 3)
    later = int(time.time()) + 3600
    async with join("one") as one:
        for number in range(3):
            await one.end_session(ALICE, f"s{number}", until=later)
        assert one.is_ended(ALICE, "s1")
        assert one.of(ALICE) == 0
        await one.end_session(ALICE, "s3", until=later)
        assert one.of(ALICE) > 0
        assert len(one.entries) == 4


async def test_an_ended_session_leaves_redis_when_it_is_over(
    join: Join, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spread, "_FULL_EVERY", timedelta(seconds=1))
    async with join("one") as one, join("two") as two:
        await one.end_session(ALICE, "s", until=int(time.time() - LINGER.total_seconds()) + 2)
        await until(lambda: two.is_ended(ALICE, "s"))
        assert server.cli("HLEN", ENTRIES).strip() == "1"
        await until(lambda: not two.is_ended(ALICE, "s"))
        await until(lambda: server.cli("HLEN", ENTRIES).strip() == "0", patience=8)


# ---- silence ----


async def test_an_instance_that_dies_is_missed_and_one_that_says_good_bye_is_not(
    join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spread, "_SILENT_AFTER", timedelta(seconds=1))
    async with join("one") as one:
        async with join("two"):
            await until(lambda: others(one) == 1)
            assert await one.ping() is None
        await asyncio.sleep(1.5)
        assert await one.ping() is None
        async with join("three") as dying:
            await until(lambda: others(one) == 1)
            monkeypatch.setattr(dying._spread, "leave", lambda: asyncio.sleep(0))
        await asyncio.sleep(2.0)
        assert await one.ping() == "an instance is silent"


async def test_who_said_good_bye_before_redis_forgot_everything_is_not_missed(
    join: Join, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spread, "_SILENT_AFTER", timedelta(seconds=1))
    async with join("one") as one:
        async with join("two"):
            await until(lambda: others(one) == 1)
        await until(lambda: others(one) == 0)
        server.cli("FLUSHALL")
        await asyncio.sleep(2.0)
        assert await one.ping() is None


async def test_the_beats_of_those_that_are_long_gone_are_taken_away(
    join: Join, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each start leaves one, and each look reads them all: a broker that fails and is started again all night fills nothing."""
    monkeypatch.setattr(spread, "_FORGOTTEN_AFTER", timedelta(seconds=1))
    async with join("one") as one:
        for _ in range(3):
            async with join("two"):
                await until(lambda: others(one) == 1)
        async with join("three") as dying:
            await until(lambda: others(one) == 1)
            monkeypatch.setattr(dying._spread, "leave", lambda: asyncio.sleep(0))
        async with join("four"):
            await until(lambda: server.cli("HLEN", BEATS).strip() == "2" and others(one) == 1)
            await asyncio.sleep(1.2)
            assert (server.cli("HLEN", BEATS).strip(), others(one), await one.ping()) == ("2", 1, None)


async def test_an_instance_that_is_kept_from_the_news_says_so(
    join: Join, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever controls Redis takes each entry away before others see it, and lets the beats through."""
    monkeypatch.setattr(spread, "_SILENT_AFTER", timedelta(seconds=1))
    async with join("one") as one, join("two") as two:
        await until(lambda: others(one) == 1 and others(two) == 1)

        async def keep_silent(_: object) -> bool:
            return True

        monkeypatch.setattr(one._spread, "tell", keep_silent)
        await revoke(one, SESSIONS)
        assert await one.heard_everywhere(timedelta(seconds=0.2)) != []
        await asyncio.sleep(3.0)
        assert await two.ping() == "an instance knows other revocations"


# ---- death ----


async def test_a_redis_client_that_swallows_the_word_to_end_keeps_no_broker_from_ending(
    join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As redis-py does where one of its timeouts runs out at that very moment."""

    async def deaf(*_: object) -> list[object]:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        return []

    async with join("one") as one:
        monkeypatch.setattr(one._spread, "pull", deaf)
        monkeypatch.setattr(one._spread._client, "pubsub", lambda **_: Deaf())
        task = asyncio.ensure_future(one.keep_in_step())
        await asyncio.sleep(0.6)
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=2)
        assert done


class Deaf:
    """A subscription that takes a cancellation for a timeout of its own."""

    async def __aenter__(self) -> Self:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError as error:
            raise TimeoutError from error
        return self

    async def __aexit__(self, *_: object) -> None: ...


def test_killed_at_any_moment_no_acknowledged_revocation_is_lost(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.fakes.revoke_and_die", str(tmp_path), "20"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    acknowledged = [int(word) for word in done.stdout.split()]
    assert len(acknowledged) == 20
    assert sum(acknowledged) > 20, "or nobody was killed in the middle of anything"
