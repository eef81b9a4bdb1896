"""Two instances that see one person together, through a real Redis that may be gone, forged, rolled back or read by anybody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis import asyncio as redis

from broker.core.clock import SystemClock
from broker.keys.hierarchy import DailyEnvelope, KeyHierarchy, Use
from broker.watch import shared
from broker.watch.anomaly.finding import Kind
from broker.watch.detectors import Alert, Detectors
from broker.watch.shared import Shared
from broker.watch.states import LIFE, Name, Shelf
from tests.fakes.life import ALICE, ELSEWHERE, at, days, kinds, sighting
from tests.fakes.redis import RedisServer

KEYS = KeyHierarchy(master=b"m" * 32)
STATES = "zerotrust:{shared}:watch:*"


class Instance:
    """One of a fleet."""

    def __init__(self, server: RedisServer, *, keys: KeyHierarchy = KEYS) -> None:
        clock = SystemClock()
        self.client = redis.Redis.from_url(
            server.url_with_password, socket_timeout=0.2, socket_connect_timeout=0.2, retry=None
        )
        self.states = Shared(
            client=self.client,
            envelope=DailyEnvelope(hierarchy=keys, use=Use.WATCH_SEAL, clock=clock, days=60),
            name_key=keys.derive(Use.WATCH_NAME),
            clock=clock,
        )
        self.detectors = Detectors(states=self.states)

    async def requests(self, number: int, *, first: int = 0) -> list[Alert]:
        """So many of alice's, on a day that she is known on."""
        return await self.detectors.look([sighting(at(14, 10) + first + each) for each in range(number)])

    async def learned(self) -> None:
        assert await self.detectors.look(days(14)) == []


@pytest.fixture
def server(redis_server: RedisServer) -> RedisServer:
    return redis_server


@pytest.fixture
async def one(server: RedisServer) -> AsyncIterator[Instance]:
    made = Instance(server)
    yield made
    await made.client.aclose()


@pytest.fixture
async def two(server: RedisServer) -> AsyncIterator[Instance]:
    made = Instance(server)
    yield made
    await made.client.aclose()


async def test_two_instances_see_the_volume_of_one_together(one: Instance, two: Instance) -> None:
    await one.learned()
    found = []
    for turn in range(11):
        found += await one.requests(1, first=2 * turn)
        found += await two.requests(1, first=2 * turn + 1)
    assert [(alert.finding.kind, alert.finding.size) for alert in found] == [(Kind.VOLUME, 21)]


async def test_at_the_same_moment_nothing_is_lost_and_one_alert_comes(one: Instance, two: Instance) -> None:
    await one.learned()
    found: list[Alert] = []
    for turn in range(4):
        for alerts in await asyncio.gather(one.requests(3, first=turn * 10), two.requests(3, first=turn * 10 + 5)):
            found += alerts
    assert [alert.finding.kind for alert in found] == [Kind.VOLUME]
    (alert,) = await one.detectors.look([sighting(at(14, 10, 30), number=30)])
    assert alert.finding.size == 54


async def test_a_new_instance_knows_what_the_fleet_knows(one: Instance, two: Instance) -> None:
    await one.learned()
    assert kinds(await two.detectors.look([sighting(at(14, 3), where=ELSEWHERE)])) == [Kind.HOUR, Kind.NETWORK]


async def test_redis_learns_neither_who_nor_what(one: Instance, server: RedisServer) -> None:
    await one.learned()
    keys = server.cli("KEYS", "*").split()
    assert len(keys) == 3
    everything = "".join(server.cli("GET", key) + key for key in keys)
    for secret in ("alice", "EXAMPLE", "dev", "engineers", "10.0.0"):
        assert secret not in everything
    assert 0 < int(server.cli("PTTL", keys[0])) <= LIFE[Shelf.PERSON].total_seconds() * 1000


async def test_what_somebody_else_wrote_there_is_not_believed_and_counted(
    one: Instance, two: Instance, server: RedisServer
) -> None:
    await one.learned()
    keys = server.cli("KEYS", STATES).split()
    stranger = Instance(server, keys=KeyHierarchy(master=b"s" * 32))
    assert await stranger.states.read([Name(Shelf.PERSON, ALICE)]) == {}
    await stranger.client.aclose()
    for key in keys:
        server.cli("SET", key, "quiet" * 20)
    assert kinds(await one.requests(21)) == [Kind.VOLUME]
    assert one.states.forged >= 1
    # Put right by that.
    assert two.states.forged == 0
    assert kinds(await two.requests(21, first=60)) == [Kind.VOLUME]


async def test_a_state_in_anothers_place_does_not_open(one: Instance, server: RedisServer) -> None:
    await one.learned()
    await one.detectors.look(days(14, user="bob@EXAMPLE.COM", where=ELSEWHERE))
    keys = server.cli("KEYS", STATES).split()
    blobs = [await one.client.get(key) for key in keys]
    for key, blob in zip(keys, [*blobs[1:], blobs[0]], strict=True):
        await one.client.set(key, blob)
    fresh = Instance(server)
    assert await fresh.states.read([Name(Shelf.PERSON, ALICE)]) == {}
    assert fresh.states.forged == 1
    await fresh.client.aclose()


async def test_an_old_state_put_back_makes_nobody_quiet(one: Instance, server: RedisServer) -> None:
    await one.learned()
    old = {key: await one.client.get(key) for key in server.cli("KEYS", STATES).split()}
    found = []
    for turn in range(21):
        for key, blob in old.items():
            await one.client.set(key, blob)
        found += await one.requests(1, first=turn)
    assert kinds(found) == [Kind.VOLUME]


async def test_what_was_deleted_is_put_back(one: Instance, two: Instance, server: RedisServer) -> None:
    await one.learned()
    server.cli("FLUSHALL")
    await one.requests(1)
    assert kinds(await two.detectors.look([sighting(at(15, 3))])) == [Kind.HOUR]


async def test_another_type_in_its_place_stops_nobody(one: Instance, server: RedisServer) -> None:
    await one.learned()
    for key in server.cli("KEYS", STATES).split():
        server.cli("DEL", key)
        server.cli("LPUSH", key, "x")
    assert kinds(await one.requests(21)) == [Kind.VOLUME]


@pytest.mark.parametrize("fault", ["stopped", "frozen", "full"])
async def test_without_redis_an_instance_goes_on_by_itself_and_tells_the_others_later(
    one: Instance, two: Instance, server: RedisServer, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared, "_PAUSE", shared._PAUSE / 50)
    await one.learned()
    {
        "stopped": server.stop,
        "frozen": server.freeze,
        "full": lambda: server.cli("CONFIG", "SET", "maxmemory", "1"),
    }[fault]()
    loop = asyncio.get_running_loop()
    begun = loop.time()
    found = []
    for turn in range(21):
        found += await one.requests(1, first=turn)
    assert kinds(found) == [Kind.VOLUME]
    assert loop.time() - begun < 10
    if fault == "full":
        server.cli("CONFIG", "SET", "maxmemory", "0")
    else:
        server.renew()
    await asyncio.sleep(0.3)
    await one.requests(1, first=50)
    # Two of the day were seen by the other one alone: the alert of the first is known to it.
    assert await two.requests(19, first=60) == []
    assert kinds(await two.requests(1, first=90)) == [Kind.VOLUME]
