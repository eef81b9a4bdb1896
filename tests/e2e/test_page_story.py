"""A day at the page, in real browsers: from signing in to signing out, with a script and without, and axe objects to nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import Page, Route

from tests.e2e.conftest import House, settings_of
from tests.fakes import axe
from tests.fakes.broker import BrokerProcess
from tests.fakes.browsers import chromium, firefox
from tests.fakes.page_forms import Visitor
from tests.fakes.realm import Realm
from tests.fakes.sts import StrictSts

ALICE, MALLORY = "alice@EXAMPLE.COM", "mallory@EXAMPLE.COM"
ASKED = {"approval": 1, "reason": "INC-[0-9]+", "time_box": "2h"}
RULES = [
    {"name": "free", "principals": [ALICE], "roles": ["developer"]},
    {
        "name": "asked",
        "principals": [ALICE],
        "roles": ["readonly"],
        "require": ASKED,
        "approvers": {"principals": [MALLORY]},
    },
    {"name": "broken", "principals": [ALICE], "roles": ["readonly"], "require": {"break_glass": True}},
    {
        "name": "others",
        "principals": [MALLORY],
        "roles": ["developer"],
        "require": ASKED,
        "approvers": {"principals": [ALICE]},
    },
]
SCOPES = {"readonly": {"policy_arns": ["arn:aws:iam::aws:policy/ReadOnlyAccess"]}}


@pytest.fixture(scope="module")
def own_house(realm: Realm, sts_service: StrictSts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("story")
    (folder / "state").mkdir(mode=0o700)
    settings = settings_of(folder, realm, sts_service, rules=RULES, state={"directory": str(folder / "state")})
    settings["aws"] |= {
        "signin_endpoint": f"{sts_service.url}/federation",
        "account_aliases": {"payments-prod": "111122223333"},
        "production_accounts": ["111122223333"],
    }
    settings["roles"]["developer"]["scopes"] = SCOPES
    with BrokerProcess(folder, settings, env=realm.env) as broker:
        yield House(broker, realm, sts_service)


@pytest.fixture
def house(own_house: House, sts: StrictSts) -> House:
    return own_house


@pytest.fixture
def colleague(house: House, mallory: dict[str, str]) -> Visitor:
    """Somebody else at the page at the same time."""
    entered = Visitor(house.broker, house.realm, mallory)
    entered.enter()
    return entered


@contextmanager
def no_way_to_aws(page: Page, house: House) -> Iterator[list[str]]:
    """The sign-in of the local federation really happens; where it would send the browser is noted instead of visited."""
    arrived: list[str] = []

    def sign_in(route: Route) -> None:
        answer = route.fetch(max_redirects=0)
        arrived.append(answer.headers["location"])
        route.fulfill(status=200, content_type="text/html", body="<!doctype html><title>AWS</title>")

    page.context.route(f"{house.sts.url}/federation**", sign_in)
    yield arrived
    page.context.unroute(f"{house.sts.url}/federation**", sign_in)


def words(page: Page, selector: str) -> str:
    """What is written there, however the style shows it: `inner_text` changes in the moment the style sheet arrives."""
    return " ".join((page.text_content(selector) or "").split())


def reads_well(page: Page) -> None:
    """Nothing that axe objects to, light and dark; nothing sticks out on the narrowest telephone."""
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        assert axe.findings(page) == []
    page.set_viewport_size({"width": 320, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    page.set_viewport_size({"width": 1000, "height": 800})


def open_console(page: Page, house: House) -> None:
    with no_way_to_aws(page, house) as arrived, page.expect_popup() as popup:
        page.click("#role-developer .use .main")
        popup.value.wait_for_url(f"{house.sts.url}/**")
        popup.value.close()
    assert arrived == ["https://console.aws.amazon.com/"]
    assert house.sts.calls(action="login")[0]["caller_arn"].endswith(":assumed-role/Developer/alice@EXAMPLE.COM")


def found_by_the_keyboard(page: Page, house: House) -> None:
    """Found by typing, from anywhere on the page, and used by the keyboard alone."""
    page.keyboard.press("/")
    page.keyboard.type("develop 1111")
    assert page.inner_text("[data-found]") == "1 of 2 roles"
    assert page.is_hidden("#role-readonly")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.textContent").startswith("Open console as developer, production")
    page.keyboard.press("/")
    page.keyboard.type("nothing")
    assert page.is_visible("[data-nothing]")
    page.keyboard.press("Escape")
    assert page.is_visible("#role-readonly")
    open_console(page, house)


def keys_are_copied(page: Page, house: House) -> None:
    """Keys: asked for, hidden until they are opened, copied without being seen, and gone when one goes back."""
    page.click("#role-developer .use summary")
    page.select_option("#role-developer\\:scope", "readonly")
    page.click("#role-developer .use .buttons button:not(.main)")
    assert words(page, "h1") == "Keys for developer, readonly Production"
    assert page.is_hidden("#posix")
    page.click(".shell:has(#json) .copy")
    page.wait_for_function("document.querySelector('.shell:has(#json) .copy').innerText.startsWith('Copied')")
    copied = json.loads(page.evaluate("navigator.clipboard.readText()"))
    assert copied["AccessKeyId"] == house.broker.last_record()["access_key_id"]
    page.click("text=bash, zsh")
    assert f"export AWS_ACCESS_KEY_ID={copied['AccessKeyId']}\n" in page.inner_text("#posix")
    reads_well(page)
    assert copied["AccessKeyId"] not in page.url
    page.click("text=All roles")
    with pytest.raises(PlaywrightError, match="ERR_CACHE_MISS"):
        page.go_back()
    page.wait_for_url("chrome-error://**")


def a_request_is_used(page: Page, house: House, colleague: Visitor) -> None:
    """A request: asked for, approved by somebody else, used."""
    page.goto(house.broker.url)
    page.click("#role-readonly .ask summary")
    page.fill("#role-readonly\\:ask", "because")
    page.click("#role-readonly .ask button")
    assert page.evaluate("document.getElementById('role-readonly:ask').validity.patternMismatch")
    page.fill("#role-readonly\\:ask", "INC-7: <script>alert(1)</script>")
    page.click("#role-readonly .ask button")
    waiting = page.locator(".request:target")
    assert "INC-7: <script>alert(1)</script>" in waiting.inner_text()
    identifier = str(waiting.get_attribute("id")).removeprefix("request-")
    reads_well(page)
    assert colleague.post(f"requests/{identifier}/approve").status == 303
    page.reload()
    page.click("#role-readonly .use .buttons button:not(.main)")
    assert words(page, "h1") == "Keys for readonly Production"
    assert house.broker.last_record()["elevation"] == identifier
    page.goto(house.broker.url)
    page.click(f"#request-{identifier} >> text=End now")
    assert "Denied" in page.inner_text(f"#request-{identifier}")


def a_request_is_approved(page: Page, house: House, colleague: Visitor) -> None:
    """Somebody else's request."""
    asked = colleague.post("requests", role="developer", reason="INC-8", duration="30m").headers["Location"]
    page.goto(house.broker.url)
    assert page.inner_text("#to-decide") == "Waiting for you 1"
    reads_well(page)
    page.click(f"{asked[1:]} >> text=Approve")
    assert page.query_selector("#to-decide") is None
    assert "Open for" in colleague.look().body
    assert colleague.post(f"requests/{asked.partition('-')[2]}/deny").status == 303


def everything_ends(page: Page, house: House, alice: dict[str, str]) -> None:
    """Why not, and the end."""
    page.goto(house.broker.url)
    page.click("text=Is a role missing?")
    page.fill("#about", "administrator")
    page.click("text=Why not?")
    assert page.url == f"{house.broker.url}/?role=administrator#why"
    assert "administrator: you may not have this role" in page.inner_text("#why").lower()
    elsewhere = Visitor(house.broker, house.realm, alice)
    elsewhere.enter()
    page.goto(house.broker.url)
    with page.expect_navigation():
        page.click(".request:has(h3:text-is('A browser')) button")
    assert elsewhere.post("credentials", role="developer").status == 403
    older = page.context.cookies()
    page.click(".ticket >> text=Use a newer ticket")
    assert page.inner_text("h1") == "alice@EXAMPLE.COM"
    assert page.context.cookies() != older
    page.click("text=Sign out")
    assert page.url == f"{house.broker.url}/signed-out"
    reads_well(page)
    assert page.context.cookies() == []


def test_a_day_at_the_page(house: House, alice: dict[str, str], colleague: Visitor, tmp_path: Path) -> None:
    with chromium(tmp_path / "profile", alice) as page:
        page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=house.broker.url)
        page.goto(house.broker.url)
        assert words(page, ".account h3") == "payments-prod 111122223333 Production"
        colours = [
            page.evaluate("what => getComputedStyle(document.querySelector(what)).backgroundColor", what)
            for what in ("#role-developer .main", ".account .production")
        ]
        assert colours[0] == colours[1] != "rgba(0, 0, 0, 0)"
        for fold in page.query_selector_all("details"):
            fold.evaluate("fold => fold.open = true")
        reads_well(page)
        page.reload()
        found_by_the_keyboard(page, house)
        keys_are_copied(page, house)
        a_request_is_used(page, house, colleague)
        a_request_is_approved(page, house, colleague)
        everything_ends(page, house, alice)


def test_keys_leave_the_page_when_they_have_ended_and_when_it_is_left(
    house: House, alice: dict[str, str], tmp_path: Path
) -> None:
    with chromium(tmp_path / "profile", alice) as page:
        page.clock.install()
        page.goto(house.broker.url)
        page.click("#role-developer .use .buttons button:not(.main)")
        page.wait_for_selector(".copy")  # shown by the script: it runs
        assert "ASIA" in page.content()
        # What a browser does before it keeps a page aside for whoever goes back.
        page.evaluate("dispatchEvent(new PageTransitionEvent('pagehide', {persisted: true}))")
        assert "ASIA" not in page.content()
        page.click("text=Get keys again")
        page.wait_for_selector(".copy")
        page.clock.fast_forward("50:00")
        assert re.fullmatch(r"([1-9]|10) min", page.inner_text("time[data-left]"))
        page.clock.fast_forward("11:00")
        assert page.is_visible("[data-gone]")
        assert "ASIA" not in page.content()


def test_everything_works_without_a_script(
    house: House, alice: dict[str, str], colleague: Visitor, tmp_path: Path
) -> None:
    with chromium(tmp_path / "profile", alice, java_script=False) as page:
        page.goto(house.broker.url)
        page.fill("#find", "developer")
        page.click("[data-find]")
        assert [role.inner_text() for role in page.query_selector_all("h4")][:1] == ["developer"]
        assert page.query_selector("#role-readonly") is None
        page.goto(house.broker.url)
        assert page.query_selector_all("[data-copy]:visible") == []
        open_console(page, house)
        page.click("#role-developer .use .buttons button:not(.main)")
        page.click("text=PowerShell")
        assert re.search(r"\$Env:AWS_ACCESS_KEY_ID = 'ASIA[A-Z0-9]{16}'", page.inner_text("#powershell"))
        page.click("text=All roles")
        page.click("#role-readonly .danger summary")
        page.fill("#role-readonly\\:glass", "the site is down")
        page.check("#role-readonly .danger input[type=checkbox]")
        page.click("#role-readonly .danger button")
        page.click(".request:target >> text=End now")
        asked = colleague.post("requests", role="developer", reason="INC-9", duration="30m").headers["Location"]
        page.goto(house.broker.url)
        page.click(f"{asked[1:]} >> text=Deny")
        assert "Needs approval" in colleague.look().body
        page.click("text=End everything of mine")
        page.click("text=End all my sessions and passes")
        assert page.url == f"{house.broker.url}/signed-out"


def test_firefox_does_the_same(house: House, alice: dict[str, str], tmp_path: Path) -> None:
    with firefox(tmp_path / "profile", alice) as page:
        page.goto(house.broker.url)
        open_console(page, house)
        page.click("#role-developer .use .buttons button:not(.main)")
        page.click("text=fish")
        assert re.search(r"set -gx AWS_ACCESS_KEY_ID 'ASIA[A-Z0-9]{16}'", page.inner_text("#fish"))
        assert axe.findings(page) == []
        page.click("text=All roles")
        page.click("text=Sign out")
        assert page.url == f"{house.broker.url}/signed-out"
