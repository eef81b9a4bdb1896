"""Two brokers as processes with one Redis: one role chain for whoever asks both, and no answer lost with one of them."""

from __future__ import annotations

import base64
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bench.load import CONNECTIONS, fire
from tests.fakes.broker import BrokerProcess, configuration
from tests.fakes.realm import Realm
from tests.fakes.redis import RedisServer
from tests.fakes.sts import StrictSts, demo_world

PEOPLE = [f"user{number}" for number in range(50)]
LATECOMER = "latecomer"
REQUESTS = 1000
HOPS = 2
PROMISED_SECONDS = 5.0


@dataclass(frozen=True)
class Fleet:
    """Two brokers, and everybody's tickets."""

    brokers: tuple[BrokerProcess, BrokerProcess]
    sts: StrictSts
    realm: Realm
    tickets: dict[str, dict[str, str]]

    def request(self, who: str, broker: BrokerProcess) -> bytes:
        """With a token of its own."""
        token = base64.b64encode(self.realm.client_token(self.tickets[who])).decode()
        body = '{"role":"developer"}'
        return (
            f"POST /v1/credentials HTTP/1.1\r\nHost: localhost:{port_of(broker)}\r\nX-Zerotrust-Request: 1\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            f"Authorization: Negotiate {token}\r\n\r\n{body}"
        ).encode()

    def ask(self, requests: list[bytes], broker: BrokerProcess) -> None:
        """Send them, sixteen at a time; anything but 200 raises."""
        assert broker.process is not None
        fire(requests, port=port_of(broker), server=broker.process.pid)


def port_of(broker: BrokerProcess) -> int:
    return int(broker.url.rpartition(":")[2])


@pytest.fixture(scope="module")
def fleet(_session_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("fleet")
    password = folder / "redis_password"
    password.touch(mode=0o600)
    password.write_text(_session_redis.password)
    people = dict.fromkeys([*PEOPLE, LATECOMER], "one password for all")
    with Realm.start(folder / "realm", principals=people) as realm, StrictSts(demo_world(), latency_ms=60) as sts:
        tickets = {who: realm.kinit(who, folder / f"{who}.ccache") for who in people}
        settings = configuration(
            folder,
            keytab=realm.keytab(folder / "http.keytab", "HTTP/localhost"),
            sts_endpoint=sts.url,
            redis={"url": _session_redis.url, "password_file": str(password)},
            rules=[{"name": "everybody", "principals": ["*@EXAMPLE.COM"], "roles": ["developer"]}],
        )
        with broker_in(folder / "a", settings, realm) as a, broker_in(folder / "b", settings, realm) as b:
            yield Fleet(brokers=(a, b), sts=sts, realm=realm, tickets=tickets)


def broker_in(folder: Path, settings: dict[str, Any], realm: Realm) -> BrokerProcess:
    folder.mkdir()
    return BrokerProcess(folder, {**settings, "audit": {"directory": str(folder / "audit")}}, env=realm.env)


def test_a_thousand_requests_of_fifty_people_at_two_instances_cost_one_chain_for_each_of_them(fleet: Fleet) -> None:
    # Both instances hear of everybody at about the same time.
    each = REQUESTS // 2 // len(PEOPLE)
    requests = [[fleet.request(who, broker) for _ in range(each) for who in PEOPLE] for broker in fleet.brokers]
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(fleet.ask, requests, fleet.brokers))
    assert len(fleet.sts.calls()) == len(PEOPLE) * HOPS
    keys = defaultdict(set)
    issued = [one for broker in fleet.brokers for one in broker.records() if one["event"] == "issued"]
    for record in issued:
        keys[record["user"]].add(record["access_key_id"])
    assert len(issued) == REQUESTS
    assert {len(of_one) for of_one in keys.values()} == {1}
    assert sum(record["origin"] == "sts" for record in issued) == len(PEOPLE)


def test_an_instance_that_is_killed_with_a_chain_under_way_is_followed_by_the_other(fleet: Fleet) -> None:
    dying, living = fleet.brokers
    fleet.sts.clear()
    fleet.sts.fault("hang", count=1)
    lost, asked = ([fleet.request(LATECOMER, broker) for _ in range(CONNECTIONS)] for broker in fleet.brokers)
    with ThreadPoolExecutor(2) as threads:
        gone = threads.submit(fleet.ask, lost, dying)
        while not fleet.sts.calls():
            time.sleep(0.01)
        answered = threads.submit(fleet.ask, asked, living)
        time.sleep(0.1)
        dying.kill()
        started = time.monotonic()
        answered.result()
        assert time.monotonic() - started < PROMISED_SECONDS
        assert gone.exception() is not None
    records = [one for one in living.records() if one["user"] == f"{LATECOMER}@EXAMPLE.COM"]
    assert sum(one["event"] == "issued" for one in records) == CONNECTIONS
    assert sum(one["event"] == "intent" for one in records) == 1
