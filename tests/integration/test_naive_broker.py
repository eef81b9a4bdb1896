"""The naive broker that ours is measured against does what it says: it decides, seals, signs and records, as a broker must."""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from bench.naive_process import NaiveBroker
from bench.negotiate import WrongWork, begin_session
from tests.fakes.broker import configuration
from tests.fakes.realm import Realm
from tests.fakes.redis import RedisServer
from tests.fakes.sts import StrictSts, demo_world

PASSWORDS = {"alice": "wonderland", "mallory": "mischief"}


@dataclass(frozen=True)
class House:
    naive: NaiveBroker
    sts: StrictSts
    redis: RedisServer
    realm: Realm
    folder: Path

    def ticket(self, who: str) -> bytes:
        token = self.realm.client_token(self.realm.kinit(who, self.folder / who))
        return b"Negotiate " + base64.b64encode(token)

    def ask(self, header: str, value: bytes, body: str = '{"role": "developer"}') -> tuple[int, str]:
        """Status and body."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.naive.port, timeout=60)) as connection:
            connection.request("POST", "/v1/credentials", body, {header: value.decode()})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("naive")
    with (
        Realm.start(folder / "realm", principals=PASSWORDS) as realm,
        StrictSts(demo_world()) as sts,
        RedisServer.start(folder / "redis") as redis,
    ):
        keytab = realm.keytab(folder / "http.keytab", "HTTP/localhost")
        settings = configuration(folder, keytab=keytab, sts_endpoint=sts.url)
        with NaiveBroker(folder / "naive", keytab=keytab, realm=realm.env, redis=redis, settings=settings) as naive:
            yield House(naive, sts, redis, realm, folder)


@pytest.fixture(autouse=True)
def _fresh(house: House) -> None:
    house.redis.cli("FLUSHALL")
    house.sts.clear_calls()


def test_a_ticket_gets_the_credentials_of_the_last_hop_and_the_chain_is_walked_once(house: House) -> None:
    status, body = house.ask("Authorization", house.ticket("alice"))
    assert status == 200
    assert house.ask("Authorization", house.ticket("alice")) == (200, body)
    assert json.loads(body)["AccessKeyId"].startswith("ASIA")
    assert len(house.sts.calls()) == 2


def test_a_session_gets_the_same_as_the_ticket_it_was_begun_with(house: House) -> None:
    cookie = begin_session(house.naive.port, house.ticket("alice"))
    assert house.ask("Cookie", cookie) == house.ask("Authorization", house.ticket("alice"))


def test_every_request_asks_redis_which_holds_nothing_that_can_be_read(house: House) -> None:
    cookie = begin_session(house.naive.port, house.ticket("alice"))
    _, body = house.ask("Cookie", cookie)
    assert json.loads(body)["SecretAccessKey"] not in house.redis.cli("GET", "credentials:developer:alice@EXAMPLE.COM")
    house.redis.cli("FLUSHALL")
    assert house.ask("Cookie", cookie)[1] != body


def test_who_has_no_rule_is_refused(house: House) -> None:
    assert house.ask("Authorization", house.ticket("mallory"))[0] == 403
    assert (
        house.naive.events()[-1] | {"event": "denied", "principal": "mallory@EXAMPLE.COM"} == house.naive.events()[-1]
    )
    assert house.sts.calls() == []


@pytest.mark.parametrize("header", ["Authorization", "Cookie"])
def test_what_is_neither_a_ticket_nor_a_session_is_refused(house: House, header: str) -> None:
    value = {"Authorization": b"Negotiate Zm9v", "Cookie": begin_session(house.naive.port, house.ticket("alice"))[:-3]}
    assert house.ask(header, value[header])[0] == 401


def test_a_ticket_is_good_for_one_request(house: House) -> None:
    ticket = house.ticket("alice")
    assert [house.ask("Authorization", ticket)[0] for _ in range(2)] == [200, 401]


def test_a_request_without_a_role_is_refused(house: House) -> None:
    assert house.ask("Authorization", house.ticket("alice"), "[]")[0] == 400


def test_no_session_is_begun_without_a_ticket(house: House) -> None:
    with pytest.raises(WrongWork, match="401"):
        begin_session(house.naive.port, b"Negotiate Zm9v")


def test_every_answer_has_an_event_with_a_signature_that_holds(house: House) -> None:
    before = len(house.naive.events())
    house.ask("Authorization", house.ticket("alice"))
    assert len(house.naive.events()) == before + 1
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(house.naive.events()[0]["public_key"]))
    for line in house.naive.audit.read_text().splitlines():
        text, signature = line.split("\t")
        key.verify(base64.b64decode(signature), text.encode())
