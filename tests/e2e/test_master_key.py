"""A broker whose master key lies elsewhere: it issues, is restarted, goes on without it, and starts no worse than it says."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import ASK, DEVELOPER, House
from tests.fakes.broker import BrokerProcess, configuration
from tests.fakes.hsm import PIN, SoftHsm
from tests.fakes.realm import Realm
from tests.fakes.sts import StrictSts, demo_world

# A busy machine takes several times what it should.
PATIENCE = 120
_IMPATIENT = """
from datetime import timedelta
from broker.assembly import master
from broker.cli import main
master.START = timedelta(seconds=1)
main()
"""


@pytest.fixture
def hsm(tmp_path: Path) -> SoftHsm:
    return SoftHsm.make(tmp_path / "hsm").make_key().make_wrapping_key()


@pytest.fixture
def house(realm: Realm, tmp_path: Path, hsm: SoftHsm) -> Iterator[House]:
    with StrictSts(demo_world()) as sts:
        state = tmp_path / "state"
        state.mkdir(mode=0o700)
        keytab = realm.keytab(tmp_path / "http.keytab", "HTTP/localhost")
        settings = configuration(tmp_path, keytab=keytab, sts_endpoint=sts.url, state={"directory": str(state)})
        settings["encryption"] = {"master": {"provider": "pkcs11"}, "hsm": hsm.section}
        broker = BrokerProcess(tmp_path, settings, env={**realm.env, **hsm.environment})
        yield House(broker, realm, sts)
        broker.kill()


def issued(house: House, alice: dict[str, str]) -> str:
    """The access key that alice gets."""
    headers = [part for name, value in ASK.items() for part in ("-H", f"{name}: {value}")]
    answer = house.curl(alice, *headers, "-d", DEVELOPER, f"{house.broker.url}/v1/credentials")
    key: str = json.loads(answer.stdout)["AccessKeyId"]
    return key


def readiness(house: House) -> dict[str, Any]:
    return house.send("GET", "/readyz").json


def test_it_issues_is_restarted_and_what_was_sealed_opens(
    house: House, hsm: SoftHsm, alice: dict[str, str], tmp_path: Path
) -> None:
    house.broker.start()
    issued(house, alice)
    (first,) = [key["kid"] for key in house.send("GET", "/.well-known/jwks.json").json["keys"] if key["alg"] == "EdDSA"]
    assert house.broker.stop() == 0
    # What lies on the disk is worth nothing without the token.
    lies = b"".join(path.read_bytes() for path in (tmp_path / "state").rglob("*") if path.is_file())
    assert lies
    house.broker.start()
    kids = [key["kid"] for key in house.send("GET", "/.well-known/jwks.json").json["keys"]]
    assert first in kids, "the key that signs records is the one of before"
    issued(house, alice)
    verified = house.broker.admin("audit", "verify")
    assert verified.returncode == 0, verified.stderr


def test_pulled_out_it_goes_on_and_put_back_it_is_well(house: House, hsm: SoftHsm, alice: dict[str, str]) -> None:
    house.broker.start()
    hsm.take_away()
    for _ in range(3):
        issued(house, alice)
    hsm.put_back()
    deadline = time.monotonic() + PATIENCE
    while readiness(house)["dependencies"]["keys"]["status"] != "ok" and time.monotonic() < deadline:
        time.sleep(0.2)
    assert readiness(house)["dependencies"]["keys"] == {"status": "ok"}
    issued(house, alice)
    assert house.broker.stop() == 0
    assert "Traceback" not in house.broker.output.read_text()


def serve(house: House) -> subprocess.CompletedProcess[str]:
    """A start that must not be waited for as long as in real life."""
    command = [sys.executable, "-c", _IMPATIENT, "serve", "--config", str(house.broker.config)]
    return subprocess.run(command, env=house.broker._env, capture_output=True, text=True, check=False, timeout=PATIENCE)


def test_away_at_the_start_it_waits_a_moment_and_ends_with_a_clear_word_that_systemd_tries_again(
    house: House, hsm: SoftHsm
) -> None:
    hsm.take_away()
    assert house.broker.check_config().returncode == 0, "checking asks no HSM"
    ended = serve(house)
    assert ended.returncode == 75, ended.stderr
    assert "cannot serve: the master key: the HSM or its module fails: " in ended.stderr
    assert "Traceback" not in ended.stderr
    threading.Timer(2, hsm.put_back).start()
    house.broker.start()


def test_a_wrong_pin_ends_the_start_for_good_and_is_tried_once(house: House, hsm: SoftHsm, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong-pin"
    wrong.touch(mode=0o600)
    wrong.write_text("999999-canary\n")
    house.broker.settings["encryption"]["hsm"]["config"]["pin_file"] = str(wrong)
    house.broker.write_configuration()
    assert house.broker.check_config().returncode == 0, "checking logs in nowhere"
    ended = serve(house)
    assert ended.returncode == 78, ended.stderr
    assert ended.stderr.count("ERROR master key") == 1, ended.stderr
    assert "cannot serve: the master key: the HSM refused the PIN: PinIncorrect" in ended.stderr
    assert "canary" not in ended.stderr


def test_the_key_of_a_file_is_followed_by_one_in_the_hsm_and_nothing_is_lost(
    house: House, alice: dict[str, str]
) -> None:
    of_before = configuration(house.broker.folder, keytab=Path("/nowhere"), sts_endpoint="")["encryption"]
    in_hsm = house.broker.settings["encryption"]
    house.broker.settings["encryption"] = of_before
    house.broker.write_configuration()
    house.broker.start()
    issued(house, alice)
    (first,) = [key["kid"] for key in house.send("GET", "/.well-known/jwks.json").json["keys"]]
    assert house.broker.stop() == 0
    house.broker.settings["encryption"] = {**in_hsm, **of_before}
    house.broker.write_configuration()
    house.broker.start()
    issued(house, alice)
    assert first in [key["kid"] for key in house.send("GET", "/.well-known/jwks.json").json["keys"]]
    assert house.broker.stop() == 0
    verified = house.broker.admin("audit", "verify")
    assert verified.returncode == 0, verified.stderr
    assert PIN not in house.broker.output.read_text() + json.dumps(house.broker.records())
