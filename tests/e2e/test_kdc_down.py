"""The KDC is down: who has a service ticket goes on working, and the broker neither asks it nor needs it to start."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.conftest import House, settings_of
from tests.fakes.broker import BrokerProcess
from tests.fakes.realm import Realm, RealmError
from tests.fakes.sts import StrictSts


def test_held_service_tickets_work_while_the_kdc_is_down_and_after_a_restart_of_the_broker(
    tmp_path: Path, sts: StrictSts
) -> None:
    users = {"alice": "wonderland"}
    services = ("HTTP/localhost", "HTTP/broker.localhost", "host/localhost")
    with Realm.start(tmp_path / "realm", principals=users, services=services) as realm:
        alice = realm.kinit("alice", tmp_path / "ccache")
        with BrokerProcess(tmp_path, settings_of(tmp_path, realm, sts), env=realm.env) as broker:
            house = House(broker, realm, sts)
            assert house.ask(realm.client_token(alice)).status == 200
            realm.stop()
            with pytest.raises(RealmError):
                realm.kinit("alice", tmp_path / "other")
            assert [house.ask(realm.client_token(alice)).status for _ in range(3)] == [200] * 3
            assert house.send("GET", "/readyz").json["status"] == "ok"
            assert broker.stop() == 0
            broker.start()
            assert house.ask(realm.client_token(alice)).status == 200
