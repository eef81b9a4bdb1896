"""The wall clock of the host is set by two hours, ahead and back: nothing lives longer for it, and everybody hears of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import ASK, House, Reply, settings_of
from tests.fakes.broker import BrokerProcess
from tests.fakes.clockwork import clockwork, set_clock
from tests.fakes.realm import Realm
from tests.fakes.sts import StrictSts
from tests.fakes.until import eventually

HOUR = 3600


class Jumping:
    """A broker under a clock of its own, everybody else under the kernel's; and what alice has of it by now."""

    def __init__(self, house: House, clock: Mapping[str, str], alice: Mapping[str, str]) -> None:
        self.house = house
        self.clock = clock
        self.alice = alice
        made = house.send("POST", "/v1/sessions", headers=ASK, token=house.realm.client_token(alice))
        assert made.status == 204, made.body
        self.cookie = {"Cookie": made.headers["Set-Cookie"].partition(";")[0], **ASK}

    def by_cookie(self) -> Reply:
        return self.house.send("POST", "/v1/credentials", headers=self.cookie, body='{"role":"developer"}')

    def by_ticket(self) -> Reply:
        return self.house.ask(self.house.realm.client_token(self.alice))

    def jumps(self) -> list[tuple[str, Any]]:
        records = self.house.broker.records()
        return [(one["reason"], one["seconds"]) for one in records if one["event"] == "clock_jump"]


@pytest.fixture
def jumping(tmp_path: Path, realm: Realm, sts: StrictSts, alice: dict[str, str]) -> Iterator[Jumping]:
    clock = clockwork(tmp_path)
    with BrokerProcess(tmp_path, settings_of(tmp_path, realm, sts), env={**realm.env, **clock}) as broker:
        yield Jumping(House(broker, realm, sts), clock, alice)


def test_a_clock_set_ahead_and_back_gives_nobody_anything_and_is_recorded_counted_and_shown(jumping: Jumping) -> None:
    house = jumping.house
    assert jumping.by_cookie().status == 200
    assert house.send("GET", "/readyz").json["dependencies"]["clock"] == {"status": "ok"}
    set_clock(jumping.clock, wall=2 * HOUR)
    eventually(lambda: len(jumping.jumps()) == 1)
    ahead = [jumping.by_cookie(), jumping.by_ticket()]
    assert not [answer.status for answer in ahead if answer.status == 200], (
        "what is at hand ended, and a ticket is of the past"
    )
    shown = house.send("GET", "/readyz").json
    assert (shown["status"], shown["dependencies"]["clock"]["status"]) == ("degraded", "degraded")
    set_clock(jumping.clock, wall=0)
    eventually(lambda: len(jumping.jumps()) == 2)
    assert jumping.jumps() == [("clock_set_ahead", 2 * HOUR), ("clock_set_back", -2 * HOUR)]
    assert [jumping.by_cookie().status, jumping.by_ticket().status] == [200, 200], "it goes on without a restart"
    metrics = house.send("GET", "/metrics").body.decode()
    assert "broker_clock_jumps_total 2.0" in metrics
    assert "broker_clock_last_jump_seconds -7" in metrics


def test_two_hours_in_which_the_clock_was_set_back_by_two_are_two_hours(jumping: Jumping, sts: StrictSts) -> None:
    first = jumping.by_cookie()
    assert jumping.by_cookie().json == first.json
    sts.clear()
    set_clock(jumping.clock, wall=0, boot=2 * HOUR)
    second = jumping.by_cookie()
    assert second.status == 200
    assert second.json["AccessKeyId"] != first.json["AccessKeyId"], "by the wall clock they have an hour left"
    assert [call["outcome"] for call in sts.calls()] == ["OK", "OK"]
    set_clock(jumping.clock, wall=0, boot=11 * HOUR)
    third = jumping.by_cookie()
    assert (third.status, third.code) == (401, "auth_failed"), "a session of ten hours is over"
    assert house_reason(jumping) == "session_expired"


def house_reason(jumping: Jumping) -> str | None:
    return next(record["reason"] for record in reversed(jumping.house.broker.records()) if record["event"] == "refused")
