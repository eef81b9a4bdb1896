"""Sessions and job passes on the page, where instances share them: seen, and ended by whose they are."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.e2e.conftest import House, settings_of
from tests.fakes.broker import BrokerProcess
from tests.fakes.page_forms import Shown, Visitor
from tests.fakes.realm import Realm
from tests.fakes.redis import RedisServer
from tests.fakes.sts import StrictSts

RULES = [{"name": "free", "principals": ["alice@EXAMPLE.COM"], "roles": ["developer"], "job_passes": "1d"}]
# A loaded machine's Redis may miss the broker's quarter of a second; then it is believed again within five.
PATIENCE = 30.0


@pytest.fixture(scope="module")
def house(realm: Realm, sts_service: StrictSts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("belongings")
    settings = settings_of(folder, realm, sts_service, rules=RULES)
    with RedisServer.start(folder / "redis") as redis:
        settings["redis"] = {"url": redis.url, "password": redis.password}
        with BrokerProcess(folder, settings, env=realm.env) as broker:
            yield House(broker, realm, sts_service)


@pytest.fixture
def visitor(house: House, alice: dict[str, str]) -> Visitor:
    return entered(house, alice)


def entered(house: House, who: dict[str, str]) -> Visitor:
    found = Visitor(house.broker, house.realm, who)
    found.enter()
    return found


def eventually(do: Callable[[], Shown], is_right: Callable[[Shown], bool]) -> Shown:
    """An answer as it should be, once Redis answers in time."""
    deadline = time.monotonic() + PATIENCE
    while not is_right(shown := do()):
        assert time.monotonic() < deadline, (shown.status, shown.body)
        time.sleep(0.2)
    return shown


def pass_of(visitor: Visitor) -> dict[str, Any]:
    """A job pass, made with a ticket."""

    def make() -> Shown:
        ask = {"Authorization": visitor.ticket(), "X-Zerotrust-Request": "1", "Content-Type": "application/json"}
        return visitor.send("POST", "/v1/passes", {**ask, "Cookie": ""}, '{"role":"developer"}')

    made: dict[str, Any] = json.loads(eventually(make, lambda shown: shown.status == 200).body)
    return made


def test_a_session_elsewhere_and_a_job_pass_are_seen_and_ended(visitor: Visitor, house: House) -> None:
    elsewhere = entered(house, dict(visitor.tickets))
    made = pass_of(visitor)
    end = re.compile(r"/page/sessions/([0-9a-f]{32})/end")
    listed = eventually(
        visitor.look, lambda shown: "Job pass for developer" in shown.body and bool(end.findall(shown.body))
    ).body
    assert listed.count("This browser") == 1
    assert made["pass"] not in listed
    for other in end.findall(listed):
        assert visitor.post(f"sessions/{other}/end").headers["Location"] == "/#belongings"
    assert "Your session is over" in elsewhere.post("credentials", role="developer").body
    eventually(lambda: visitor.post(f"passes/{made['id']}/cancel"), lambda shown: shown.status == 303)

    def use() -> Shown:
        return visitor.send("GET", "/v1/container/developer", {"Authorization": made["pass"], "Cookie": ""})

    eventually(use, lambda shown: shown.status == 401)
    eventually(visitor.look, lambda shown: "Job pass" not in shown.body and "There may be more" not in shown.body)


def test_nobody_cancels_what_is_not_theirs(visitor: Visitor, house: House, mallory: dict[str, str]) -> None:
    made, other = pass_of(visitor), entered(house, mallory)
    eventually(lambda: other.post(f"passes/{made['id']}/cancel"), lambda shown: shown.status == 404)
    eventually(visitor.look, lambda shown: "Job pass for developer" in shown.body)
    eventually(lambda: visitor.post(f"passes/{made['id']}/cancel"), lambda shown: shown.status == 303)
