"""What the forms of the page do, sent just as a test wants: for whom they count, and that another page can send none."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import House, settings_of
from tests.fakes.broker import BrokerProcess
from tests.fakes.page_forms import Visitor
from tests.fakes.realm import Realm
from tests.fakes.sts import StrictSts

ALICE, MALLORY = "alice@EXAMPLE.COM", "mallory@EXAMPLE.COM"
MARKUP = "INC-1 <script>alert(1)</script>\"'&<img src=x onerror=alert(1)>"
RULES = [
    {"name": "free", "principals": [ALICE], "roles": ["developer"]},
    {
        "name": "asked",
        "principals": [ALICE],
        "roles": ["readonly"],
        "require": {"approval": 1, "reason": "INC-[0-9]+", "time_box": "2h"},
        "approvers": {"principals": [MALLORY]},
    },
    {"name": "broken", "principals": [ALICE], "roles": ["readonly"], "require": {"break_glass": True}},
]


@pytest.fixture(scope="module")
def own_house(realm: Realm, sts_service: StrictSts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("forms")
    (folder / "state").mkdir(mode=0o700)
    settings = settings_of(folder, realm, sts_service, rules=RULES, state={"directory": str(folder / "state")})
    settings["aws"]["signin_endpoint"] = f"{sts_service.url}/federation"
    with BrokerProcess(folder, settings, env=realm.env) as broker:
        yield House(broker, realm, sts_service)


@pytest.fixture
def house(own_house: House, sts: StrictSts) -> House:
    return own_house


@pytest.fixture
def visitor(house: House, alice: dict[str, str]) -> Visitor:
    entered = Visitor(house.broker, house.realm, alice)
    entered.enter()
    return entered


@pytest.fixture
def approver(house: House, mallory: dict[str, str]) -> Visitor:
    entered = Visitor(house.broker, house.realm, mallory)
    entered.enter()
    return entered


def deeds(house: House) -> int:
    """How many records there are of what somebody did; what the watch makes of it comes in its own time."""
    return sum(record["event"] != "alert" for record in house.broker.records())


def last_issue(house: House) -> dict[str, Any]:
    return next(record for record in reversed(house.broker.records()) if record["event"] == "issued")


def test_keys_come_for_each_shell_in_an_answer_that_nobody_keeps(visitor: Visitor, house: House) -> None:
    shown = visitor.post("credentials", role="developer", reason='why "so"', destination="")
    assert shown.status == 200, shown.body
    (key,) = set(re.findall(r"ASIA[A-Z0-9]{16}", shown.body))
    for line in (f"export AWS_ACCESS_KEY_ID={key}", f"set -gx AWS_ACCESS_KEY_ID &#39;{key}&#39;"):
        assert line in shown.body
    record = last_issue(house)
    assert (record["access_key_id"], record["via"], record["stated_reason"]) == (key, "cookie", 'why "so"')
    assert shown.headers["Cache-Control"] == "no-store"
    assert shown.headers["Referrer-Policy"] == "same-origin"
    assert shown.headers["X-Frame-Options"] == "DENY"
    assert "frame-ancestors 'none'" in shown.headers["Content-Security-Policy"]
    assert "Location" not in shown.headers
    # A page that shows keys is not one that is looked at again.
    assert key not in visitor.look().body


def test_the_console_is_opened_by_a_refresh_and_no_form_goes_elsewhere(visitor: Visitor, house: House) -> None:
    shown = visitor.post("console", role="developer", destination="https://console.aws.amazon.com/s3/home")
    assert shown.status == 200, shown.body
    wait, _, url = shown.headers["Refresh"].partition("; url=")
    assert (wait, url.startswith(f"{house.sts.url}/federation?Action=login")) == ("0", True)
    assert "Destination=https%3A%2F%2Fconsole.aws.amazon.com%2Fs3%2Fhome" in url
    assert "form-action 'self'" in shown.headers["Content-Security-Policy"]
    assert (last_issue(house)["action"], "Location" in shown.headers) == ("open_console", False)


@pytest.mark.parametrize(
    "bent",
    [
        {"Origin": None},
        {"Origin": "null"},
        {"Origin": "https://evil.example"},
        {"Origin": "http://localhost:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        # What counts for a program's request says nothing of a form.
        {"Origin": None, "X-Zerotrust-Request": "1"},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/json"},
        {"Content-Type": "multipart/form-data; boundary=x"},
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "path", ["credentials", "console", "requests", "sign-out", "end-all", f"passes/{'0' * 32}/cancel"]
)
def test_a_form_that_another_page_could_have_sent_does_nothing_and_nobody_is_challenged(
    visitor: Visitor, house: House, path: str, bent: dict[str, str | None]
) -> None:
    before = deeds(house)
    shown = visitor.post(path, bent, role="developer")
    assert shown.status in (403, 415)
    assert "WWW-Authenticate" not in shown.headers
    assert deeds(house) == before
    assert house.sts.calls() == []


def test_a_form_needs_the_token_of_its_own_session(visitor: Visitor, approver: Visitor, house: House) -> None:
    mine = visitor.form
    earlier = Visitor(house.broker, house.realm, visitor.tickets)
    earlier.enter()
    before = len(house.broker.records())
    for form in ("", "0" * 64, approver.form, earlier.form, mine.upper(), mine + "0", "é"):
        visitor.form = form
        shown = visitor.post("credentials", role="developer")
        assert (shown.status, "WWW-Authenticate" in shown.headers) == (403, False), form
    # Neither where a log would write it down, nor twice.
    visitor.form = ""
    assert visitor.post(f"credentials?form={mine}", role="developer").status == 403
    twice = visitor.send(
        "POST",
        "/page/credentials",
        {"Origin": house.broker.url, "Content-Type": "application/x-www-form-urlencoded"},
        f"form={mine}&form={mine}&role=developer",
    )
    assert twice.status == 400
    assert len(house.broker.records()) == before
    visitor.form = mine
    assert visitor.post("credentials", role="developer").status == 200


def test_a_ticket_beside_a_form_says_nothing_and_none_is_asked_for(visitor: Visitor, house: House) -> None:
    before = len(house.broker.records())
    for cookie in ("", "__Host-zerotrust=x"):
        shown = visitor.post("credentials", {"Authorization": visitor.ticket(), "Cookie": cookie}, role="developer")
        assert (shown.status, "WWW-Authenticate" in shown.headers) == (403, False)
    assert len(house.broker.records()) == before
    # The session is who asks, whoever's ticket the browser would show by now.
    other = Visitor(house.broker, house.realm, visitor.tickets)
    assert visitor.post("credentials", {"Authorization": other.ticket()}, role="developer").status == 200
    assert last_issue(house)["via"] == "cookie"


def test_after_signing_out_the_session_is_over_for_whoever_has_a_copy_and_the_page_says_so(visitor: Visitor) -> None:
    out = visitor.post("sign-out")
    assert (out.status, out.headers["Location"]) == (303, "/signed-out")
    assert "Max-Age=0" in out.headers["Set-Cookie"]
    late = visitor.post("credentials", role="developer")
    assert (late.status, "WWW-Authenticate" in late.headers) == (403, False)
    assert "Your session is over" in late.body
    assert "Max-Age=0" in late.headers["Set-Cookie"]
    visitor.cookie = ""
    after = visitor.look("/signed-out")
    assert (after.status, "WWW-Authenticate" in after.headers) == (200, False)


def test_a_newer_ticket_is_used_by_ending_the_session_of_the_older_one(visitor: Visitor) -> None:
    again = visitor.post("sign-out", again="yes")
    assert (again.status, again.headers["Location"]) == (303, "/")
    assert "Max-Age=0" in again.headers["Set-Cookie"]
    assert "Your session is over" in visitor.post("credentials", role="developer").body


def test_whose_ticket_is_about_to_end_is_told_so_and_not_that_their_session_is_over(
    house: House, tmp_path: Path
) -> None:
    late = Visitor(
        house.broker, house.realm, house.realm.kinit("alice", tmp_path / "cc", lifetime=timedelta(minutes=14))
    )
    late.enter()
    for path in ("credentials", "console"):
        shown = late.post(path, role="developer")
        assert (shown.status, "WWW-Authenticate" in shown.headers) == (403, False)
        assert "ends within 15 minutes (a job: renew its pass): run zerotrust login." in shown.body
        assert "Your session is over" not in shown.body
        # The next look at the page is by the next ticket.
        assert "Max-Age=0" in shown.headers["Set-Cookie"]
    assert house.sts.calls() == []


def test_everything_of_somebody_ends_at_once(visitor: Visitor, house: House) -> None:
    elsewhere = Visitor(house.broker, house.realm, visitor.tickets)
    elsewhere.enter()
    out = visitor.post("end-all")
    assert (out.status, out.headers["Location"]) == (303, "/signed-out")
    for each in (visitor, elsewhere):
        assert "Your session is over" in each.post("credentials", role="developer").body


def test_nothing_is_issued_by_get(visitor: Visitor, house: House) -> None:
    for path in ("credentials", "console", "requests", "sign-out"):
        for method in ("GET", "HEAD", "PUT", "DELETE"):
            shown = visitor.send(method, f"/page/{path}?role=developer&form={visitor.form}", {"Sec-Fetch-Site": "none"})
            assert shown.status in (403, 405), (method, path)
    assert visitor.look("/?role=developer&q=developer").status == 200
    assert house.sts.calls() == []


def test_a_request_goes_from_asking_to_approval_to_keys_to_its_end(
    visitor: Visitor, approver: Visitor, house: House
) -> None:
    refused = visitor.post("requests", role="readonly", reason="because", duration="30m")
    assert refused.status == 403
    assert "a reason that begins like INC-[0-9]+" in refused.body
    asked = visitor.post("requests", role="readonly", reason=MARKUP, duration="30m")
    assert asked.status == 303, asked.body
    identifier = asked.headers["Location"].removeprefix("/#request-")
    mine, theirs = visitor.look().body, approver.look().body
    for page in (mine, theirs):
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "Waiting for approval" in mine
    assert f'action="/page/requests/{identifier}/approve"' in theirs
    assert f'action="/page/requests/{identifier}/approve"' not in mine
    assert visitor.post(f"requests/{identifier}/approve").status == 403, "nobody approves their own"
    assert visitor.post("credentials", role="readonly").status == 403
    assert approver.post(f"requests/{identifier}/approve").headers["Location"] == f"/#request-{identifier}"
    shown = visitor.post("credentials", role="readonly")
    assert shown.status == 200, shown.body
    assert last_issue(house)["elevation"] == identifier
    assert "Open for" in visitor.look().body
    assert approver.post(f"requests/{identifier}/deny", reason="done").status == 303
    assert visitor.post("credentials", role="readonly").status == 403


def test_glass_is_broken_by_a_form_of_its_own(visitor: Visitor, house: House) -> None:
    broken = visitor.post("requests", role="readonly", reason="the site is down", break_glass="yes")
    assert broken.status == 303, broken.body
    identifier = broken.headers["Location"].removeprefix("/#request-")
    alarm = next(record for record in reversed(house.broker.records()) if record["event"] == "alert")
    assert (alarm["reason"], alarm["elevation"]) == ("break_glass", identifier)
    assert visitor.post(f"requests/{identifier}/deny").status == 303


def test_what_a_form_may_not_ask_for_is_refused_in_words(visitor: Visitor) -> None:
    for fields, status in (
        ({}, 400),
        ({"role": "developer", "duration": "12h"}, 400),
        ({"role": "developer", "external_id": "x"}, 400),
        ({"role": "nothing"}, 403),
        ({"role": "readonly"}, 403),
        ({"role": "developer", "scope": "nothing"}, 403),
        ({"role": "developer", "reason": "x" * 201}, 400),
        ({"role": "developer", "reason": "a\u202eb"}, 400),
    ):
        shown = visitor.post("credentials", **fields)
        assert (shown.status, "ASIA" in shown.body) == (status, False), fields
        assert shown.headers["Content-Type"].startswith("text/html")
    wrong = visitor.post("console", role="developer", destination="https://evil.example/")
    assert wrong.status == 400
    assert "evil.example" not in wrong.body


def test_of_a_role_that_is_not_there_the_page_says_what_it_says_of_one_for_others(
    visitor: Visitor, approver: Visitor
) -> None:
    of_none = approver.look("/?role=nothing").body
    of_others = approver.look("/?role=developer").body
    assert "you may not have this role" in of_none
    assert of_none.replace("nothing", "developer") == of_others
    assert "it is among your roles" in visitor.look("/?role=developer").body


def test_what_was_asked_about_and_looked_for_stays_text(visitor: Visitor) -> None:
    body = visitor.look("/?role=%3Cscript%3Ealert(1)%3C/script%3E&q=%22%3E%3Cimg%20src=x%20onerror=alert(1)%3E").body
    assert body.count("<script") == 1
    assert "onerror=alert(1)>" not in body


def test_no_key_and_no_token_is_in_the_log(visitor: Visitor, house: House, tmp_path: Path) -> None:
    shown = visitor.post("credentials", role="developer")
    secret = re.search(r"AWS_SECRET_ACCESS_KEY=(\S+)", shown.body)
    assert secret is not None
    log = house.broker.output.read_text()
    records = "".join(path.read_text() for path in house.broker.audit_directory.glob("audit-*.jsonl"))
    for canary in (secret[1], visitor.form, visitor.cookie.partition("=")[2]):
        assert canary not in log + records
