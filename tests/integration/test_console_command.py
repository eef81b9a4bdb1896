"""``zerotrust console`` as a process: which page it asks for, and that the URL reaches its user's browser and nobody else."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from broker import wire
from tests.fakes import front_door
from tests.fakes.front_door import FrontDoor, Visit
from tests.fakes.user_side import PATIENCE, Terminal, zerotrust
from zerotrust_kerberos.console.command import destination
from zerotrust_kerberos.console.handover import Handover
from zerotrust_kerberos.failures import Failure

if TYPE_CHECKING:
    from tests.fakes.realm import Realm

URL = "https://signin.aws.amazon.com/federation?Action=login&SigninToken=canary-token"
ROLES = [
    {"name": "developer", "role_arn": "arn:aws:iam::111122223333:role/Developer"},
    {"name": "chinese", "role_arn": "arn:aws-cn:iam::111122223333:role/Developer"},
]


def reply(visit: Visit) -> None:
    content = wire.roles_body(ROLES) if visit.head.startswith("GET /v1/roles ") else wire.console_body(URL)
    front_door.body(content)(visit)


@pytest.fixture
def door(_door: FrontDoor) -> FrontDoor:
    _door.reply = reply
    _door.visits.clear()
    return _door


@pytest.fixture(scope="module")
def alice(realm: Realm, tmp_path_factory: pytest.TempPathFactory, _door: FrontDoor) -> dict[str, str]:
    login = realm.kinit("alice", tmp_path_factory.mktemp("alice") / "ccache")
    return {**login, "ZEROTRUST_BROKER_URL": _door.url}


def asked(door: FrontDoor) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(door.visits[-1].body)
    return found


def test_print_gives_the_url_and_asks_for_no_page(door: FrontDoor, alice: dict[str, str]) -> None:
    done = zerotrust(alice, "console", "developer", "--print", "--scope", "readonly", "--reason", "INC-7")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{URL}\n", "")
    assert asked(door) == {"role": "developer", "scope": "readonly", "reason": "INC-7"}
    assert [visit.head.split("\r\n")[0] for visit in door.visits] == ["POST /v1/console HTTP/1.1"]


@pytest.mark.parametrize(
    ("words", "environment", "page"),
    [
        (["--service", "s3"], {}, "https://console.aws.amazon.com/s3/home"),
        (
            ["--service", "s3"],
            {"AWS_REGION": "eu-central-1", "AWS_DEFAULT_REGION": "x"},
            "https://eu-central-1.console.aws.amazon.com/s3/home?region=eu-central-1",
        ),
        (["--region", "eu-west-1"], {}, "https://eu-west-1.console.aws.amazon.com/console/home?region=eu-west-1"),
        (
            ["--service", "s3", "--path", "/buckets/logs?tab=objects#top", "--region", "eu-west-1"],
            {"AWS_REGION": "eu-central-1"},
            "https://eu-west-1.console.aws.amazon.com/s3/buckets/logs?tab=objects&region=eu-west-1#top",
        ),
        (["--path", "https://console.aws.amazon.com/x#y"], {}, "https://console.aws.amazon.com/x#y"),
    ],
)
def test_the_page_to_begin_with_is_made_of_service_region_and_path(
    door: FrontDoor, alice: dict[str, str], words: list[str], environment: dict[str, str], page: str
) -> None:
    assert zerotrust({**alice, **environment}, "console", "developer", "--print", *words).returncode == 0
    assert asked(door)["destination"] == page


def test_the_console_is_that_of_the_roles_partition(door: FrontDoor, alice: dict[str, str]) -> None:
    # The environment's region is of another one, so it is left out.
    elsewhere = {**alice, "AWS_REGION": "eu-central-1"}
    assert zerotrust(elsewhere, "console", "chinese", "--print", "--service", "dynamodb").returncode == 0
    assert asked(door)["destination"] == "https://console.amazonaws.cn/dynamodbv2/home"
    region = "cn-north-1"
    assert destination("aws-cn", {"service": "ec2"}, {"AWS_DEFAULT_REGION": region}) == (
        "https://cn-north-1.console.amazonaws.cn/ec2/home?region=cn-north-1"
    )
    assert destination("aws-us-gov", {"region": "us-gov-west-1", "path": "/a?region=b"}, {}) == (
        "https://us-gov-west-1.console.amazonaws-us-gov.com/a?region=b"
    )


@pytest.mark.parametrize(
    "wanted",
    [
        {"region": "cn-north-1"},
        {"region": "eu.evil/"},
        {"service": "S3"},
        {"service": "../x"},
        {"path": "buckets"},
    ],
)
def test_what_is_no_page_of_a_console_is_a_matter_of_usage(wanted: dict[str, str]) -> None:
    with pytest.raises(Failure) as caught:
        destination("aws", wanted, {})
    assert caught.value.code == "usage"


def test_a_browser_is_sent_on_to_the_url_which_stands_on_no_command_line(
    door: FrontDoor, alice: dict[str, str], tmp_path: Path
) -> None:
    # A browser that shows its own command line and where it was sent to.
    browser = tmp_path / "browser"
    ask = "import sys, urllib.request as u\nclass N(u.HTTPRedirectHandler):\n def redirect_request(*a): return None\n"
    ask += "try: u.build_opener(N).open(sys.argv[2])\nexcept u.HTTPError as e:\n"
    ask += " open(sys.argv[1], 'w').write(sys.argv[2] + ' ' + str(e.code) + ' ' + e.headers['Location'])\n"
    browser.write_text(f"#!{sys.executable}\n{ask}")
    browser.chmod(0o700)
    environment = {**alice, "BROWSER": f"/no/such:{browser} {tmp_path}/seen %s"}
    with Terminal(environment, "console", "developer") as terminal:
        assert terminal.end() == 0
    assert terminal.seen == "the console as developer opens in your browser\r\n"
    address, status, location = until_written(tmp_path / "seen").split(" ")
    assert urlsplit(address).hostname == "127.0.0.1"
    assert (status, location) == ("303", URL)
    assert "canary" not in address


def until_written(path: Path) -> str:
    ends = time.monotonic() + PATIENCE
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < ends
        time.sleep(0.02)
    return path.read_text()


def test_where_no_browser_can_be_opened_nothing_is_issued(door: FrontDoor, alice: dict[str, str]) -> None:
    for environment in ({}, {"BROWSER": "/no/such"}):
        done = zerotrust({**alice, **environment}, "console", "developer")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.endswith("[no_browser] — run: zerotrust console developer --print\n")
    assert door.visits == []


def test_a_refusal_and_an_answer_that_is_no_url_open_nothing(door: FrontDoor, alice: dict[str, str]) -> None:
    environment = {**alice, "BROWSER": "touch /nonexistent/%s"}
    door.reply = front_door.problem(403, "step_up_required", hint="stronger")
    assert zerotrust(environment, "console", "developer").returncode == 7
    for url in ("file:///etc/passwd", "https://x/\r\nSet-Cookie: a=b", 'https://x/"y z"', 7):
        door.reply = front_door.body(json.dumps({"url": url}).encode())
        done = zerotrust(environment, "console", "developer", "--print")
        assert (done.returncode, done.stdout) == (1, "")
        assert "[unexpected_answer]" in done.stderr


# ---- the address that a browser is started with ----


def get(address: str, *, path: str | None = None) -> tuple[int, str | None]:
    where = urlsplit(address)
    connection = http.client.HTTPConnection("127.0.0.1", where.port, timeout=PATIENCE)
    try:
        connection.request("GET", path or where.path)
        answer = connection.getresponse()
        return answer.status, answer.headers["Location"]
    finally:
        connection.close()


def test_the_address_is_good_for_one_visit_and_only_as_it_is() -> None:
    with Handover(URL) as handover:
        assert get(handover.address, path="/") == (404, None)
        # Browsers open connections ahead of need; they keep nobody waiting.
        with socket.create_connection(("127.0.0.1", urlsplit(handover.address).port or 0)):
            assert not handover.wait(0)
            assert get(handover.address) == (303, URL)
        assert handover.wait(PATIENCE)
        assert get(handover.address) == (410, None)


def test_another_user_who_read_the_address_gets_nothing_and_the_owner_still_does() -> None:
    fetch = "import http.client as h, sys; c = h.HTTPConnection('127.0.0.1', int(sys.argv[1])); c.request('GET', sys.argv[2])"
    with Handover(URL) as handover:
        where = urlsplit(handover.address)
        done = subprocess.run(
            ["/usr/bin/python3", "-I", "-c", f"{fetch}; print(c.getresponse().status)", str(where.port), where.path],
            user=65534, extra_groups=[], capture_output=True, text=True, check=False, timeout=PATIENCE, cwd="/",
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (1, "")
        assert "RemoteDisconnected" in done.stderr or "ConnectionResetError" in done.stderr
        assert get(handover.address) == (303, URL)
