"""The console, through the whole broker: a URL for whoever may have the role, and on record before it leaves."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest

from tests.e2e.conftest import ASK, House, Reply, settings_of
from tests.fakes.broker import BrokerProcess
from tests.fakes.browsers import CHROMIUM, CHROMIUM_ARGUMENTS
from tests.fakes.realm import Realm
from tests.fakes.sts import StrictSts
from tests.fakes.until import until
from tests.fakes.user_side import zerotrust

LINK = "https://eu-central-1.console.aws.amazon.com/s3/buckets?region=eu-central-1"


@pytest.fixture(scope="module")
def signing_house(realm: Realm, sts_service: StrictSts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("console")
    settings = settings_of(folder, realm, sts_service)
    settings["aws"]["signin_endpoint"] = f"{sts_service.url}/federation"
    with BrokerProcess(folder, settings, env=realm.env) as broker:
        yield House(broker, realm, sts_service)


@pytest.fixture
def house(signing_house: House, sts: StrictSts) -> House:
    return signing_house


Tickets = dict[str, str]


def open_console(house: House, who: Tickets, **members: Any) -> Reply:
    body = json.dumps({"role": "developer", **members})
    token = house.realm.client_token(who)
    return house.send("POST", "/v1/console", headers=ASK, body=body, token=token)


async def test_the_url_opens_the_page_that_was_asked_for_as_the_role(house: House, alice: Tickets) -> None:
    reply = open_console(house, alice, destination=LINK)
    assert (reply.status, list(reply.json)) == (200, ["url"])
    assert "no-store" in reply.headers["Cache-Control"]
    async with aiohttp.ClientSession() as browser, browser.get(reply.json["url"], allow_redirects=False) as page:
        assert (page.status, page.headers["Location"]) == (302, LINK)
    assert house.sts.calls(action="login")[0]["caller_arn"].endswith(":assumed-role/Developer/alice@EXAMPLE.COM")


def test_it_is_on_record_as_issued_and_the_url_is_nowhere(house: House, alice: Tickets) -> None:
    url = open_console(house, alice).json["url"]
    record = house.broker.last_record()
    assert (record["event"], record["action"], record["user"]) == ("issued", "open_console", "alice@EXAMPLE.COM")
    assert record["access_key_id"].startswith("ASIA")
    token = parse_qs(urlsplit(url).query)["SigninToken"][0]
    assert token not in house.broker.output.read_text()
    assert not any(token.encode() in path.read_bytes() for path in house.broker.audit_directory.iterdir())


def test_who_may_not_have_the_role_gets_no_url_and_aws_is_not_asked(
    house: House, alice: Tickets, mallory: Tickets
) -> None:
    before = len(house.sts.calls())
    unknown, forbidden = open_console(house, alice, role="nothing"), open_console(house, mallory)
    assert (unknown.status, forbidden.status) == (403, 403)
    assert (unknown.code, forbidden.code) == ("access_denied", "access_denied")
    assert len(house.sts.calls()) == before


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        ("html", (502, "sts_rejected", "signin_malformed")),
        ("error500", (503, "sts_unavailable", "signin_broken")),
        ("hang", (504, "sts_timeout", "signin_timeout")),
    ],
)
def test_where_aws_does_not_sign_in_nothing_is_on_record_as_issued(
    house: House, alice: Tickets, fault: str, outcome: tuple[int, str, str]
) -> None:
    house.sts.fault(fault, action="getSigninToken")
    reply = open_console(house, alice)
    record = house.broker.last_record()
    assert (reply.status, reply.code, record["reason"]) == outcome
    assert (record["event"], record["access_key_id"]) == ("refused", None)


@pytest.mark.parametrize(
    "members",
    [
        {"destination": "https://example.com/"},
        {"destination": None},
        {"destination": 1},
        {"destination": "https://console.aws.amazon.com/" + "a" * 2048},
        {"duration": "12h"},
    ],
)
def test_what_is_no_page_of_the_console_is_a_400_without_a_ticket_for_aws(
    house: House, alice: Tickets, members: dict[str, Any]
) -> None:
    reply = open_console(house, alice, **members)
    assert (reply.status, reply.code) == (400, "bad_request")
    assert house.sts.calls(action="getSigninToken") == []


def test_another_page_cannot_ask_and_nobody_can_by_get(house: House, alice: Tickets) -> None:
    token = house.realm.client_token(alice)
    crossing = house.send("POST", "/v1/console", headers={"Content-Type": "application/json"}, body="{}", token=token)
    assert (crossing.status, crossing.code, crossing.headers["WWW-Authenticate"]) == (403, "cross_site_blocked", None)
    assert house.send("GET", "/v1/console", token=token).status == 405


def command_lines() -> list[bytes]:
    """Of everything that runs on this machine."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            lines.append(path.read_bytes())
    return lines


@pytest.fixture
def own_chromium(tmp_path: Path) -> Iterator[str]:
    """A BROWSER that starts a Chromium for nothing but loopback, and its end."""
    alone = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"
    words = [CHROMIUM, *CHROMIUM_ARGUMENTS, f"--user-data-dir={tmp_path}/profile", f"'{alone}'"]
    script = tmp_path / "browser"
    script.write_text(f'#!/bin/sh\necho $$ >{tmp_path}/pid\nexec {" ".join(words)} --remote-debugging-port=0 "$1"\n')
    script.chmod(0o700)
    yield str(script)
    os.killpg(int((tmp_path / "pid").read_text()), signal.SIGKILL)


async def test_the_command_signs_a_real_browser_in_and_no_command_line_holds_the_url(
    house: House, alice: Tickets, own_chromium: str, tmp_path: Path
) -> None:
    login = {**alice, "ZEROTRUST_BROKER_URL": f"http://localhost:{house.port}", "BROWSER": own_chromium}
    done = zerotrust({**login, "HOME": str(tmp_path)}, "console", "developer", "--service", "s3")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    await until(lambda: house.sts.calls(action="login") != [], seconds=120)
    (call,) = house.sts.calls(action="login")
    assert call["caller_arn"].endswith(":assumed-role/Developer/alice@EXAMPLE.COM")
    lines = command_lines()
    assert any(str(tmp_path).encode() in line for line in lines)
    assert not any(b"SigninToken" in line for line in lines)
