"""The page in a real Chromium: with a ticket, with and without JavaScript, and asked for by another page."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

from tests.e2e.conftest import House
from tests.fakes.browsers import CHROMIUM, CHROMIUM_ARGUMENTS, CHROMIUM_TRUST, LOCAL_STATE, chromium

Open = Callable[..., AbstractContextManager[Page]]


@pytest.fixture
def browser(tmp_path: Path) -> Open:
    """Opens a browser with the tickets of somebody."""
    return partial(chromium, tmp_path / "profile")


@pytest.mark.parametrize("java_script", [True, False], ids=["with JavaScript", "without JavaScript"])
def test_with_a_ticket_the_page_shows_who_i_am_what_i_may_have_and_what_to_paste(
    browser: Open,
    house: House,
    alice: dict[str, str],
    java_script: bool,  # noqa: FBT001
) -> None:
    with browser(alice, java_script=java_script) as page:
        response = page.goto(house.broker.url)
        assert response is not None
        assert response.status == 200
        assert page.title() == "AWS roles of alice@EXAMPLE.COM"
        assert page.inner_text("h1") == "alice@EXAMPLE.COM"
        assert page.inner_text("h4") == "developer"
        page.click(".profile summary")
        pasted = page.inner_text(".profile pre")
        assert "[profile developer]" in pasted
        helper = f"zerotrust credential-process --broker {house.broker.url} --role developer"
        assert f"credential_process = {helper}" in pasted
        assert "readonly" not in page.content()
        # The style sheet passed the Content-Security-Policy, and nothing sticks out, on a telephone either.
        assert page.evaluate("getComputedStyle(document.querySelector('.roles')).listStyleType") == "none"
        for width in (1000, 320):
            page.set_viewport_size({"width": width, "height": 700})
            assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_what_the_page_says_to_paste_works_as_it_stands(browser: Open, house: House, alice: dict[str, str]) -> None:
    with browser(alice) as page:
        page.goto(house.broker.url)
        page.click(".profile summary")
        command = page.inner_text(".profile pre").partition("credential_process = ")[2].split()
    done = house.helper(alice, *command[1:])
    assert json.loads(done.stdout)["AccessKeyId"].startswith("ASIA")


def test_somebody_without_roles_is_told_whom_to_ask(browser: Open, house: House, mallory: dict[str, str]) -> None:
    with browser(mallory) as page:
        page.goto(house.broker.url)
        assert page.inner_text("h1") == "mallory@EXAMPLE.COM"
        assert page.inner_text("h2") == "You have no roles"
        assert page.query_selector(".profile") is None


def test_a_link_of_another_site_to_a_request_leads_there_once_its_reader_wishes_so(
    browser: Open, house: House, alice: dict[str, str], tmp_path: Path
) -> None:
    chat = tmp_path / "chat.html"
    chat.write_text(f'<!doctype html><title>chat</title><a href="{house.broker.url}/#request-7">please approve</a>')
    with browser(alice) as page:
        page.goto(chat.as_uri())
        with page.expect_navigation() as asked:
            page.click("a")
        assert asked.value is not None
        assert asked.value.status == 403
        page.click("a.go")
        page.wait_for_selector("h1:text('alice@EXAMPLE.COM')")
        assert page.url == f"{house.broker.url}/?#request-7"


def test_a_page_of_another_origin_makes_the_browser_send_no_ticket_and_gets_nothing(
    browser: Open, house: House, alice: dict[str, str], tmp_path: Path
) -> None:
    before = len(house.broker.records())
    evil = tmp_path / "evil.html"
    url, admin = f"{house.broker.url}/v1/credentials", f"{house.broker.url}/v1/admin"
    evil.write_text(
        f"""<form method=post enctype=text/plain action="{url}"><input name='{{"role":"developer","x":"' value='"}}'></form>
        <img src="{house.broker.url}/v1/whoami"><img src="{admin}/whoami"><iframe src="{house.broker.url}/"></iframe>
        <script>
        const tries = [
          fetch("{url}", {{method: "POST", mode: "no-cors", credentials: "include", body: '{{"role":"developer"}}'}}),
          fetch("{url}", {{method: "POST", credentials: "include", headers: {{"X-Zerotrust-Request": "1"}}, body: "{{}}"}}),
          fetch("{admin}/passes/cancel", {{method: "POST", mode: "no-cors", credentials: "include", body: "{{}}"}}),
        ];
        Promise.allSettled(tries).then(() => document.forms[0].submit());
        </script>"""
    )
    with sync_playwright() as playwright:
        profile = tmp_path / "victim"
        profile.mkdir()
        (profile / "Local State").write_text(json.dumps(LOCAL_STATE))
        context = playwright.chromium.launch_persistent_context(
            str(profile),
            executable_path=CHROMIUM,
            args=[*CHROMIUM_ARGUMENTS, CHROMIUM_TRUST],
            env={"PATH": "/usr/bin:/bin", "HOME": str(profile), **alice},
        )
        try:
            page = context.pages[0]
            with page.expect_response(lambda one: one.request.is_navigation_request() and one.url == url) as posted:
                page.goto(evil.as_uri())
            assert posted.value.status == 403
            assert "www-authenticate" not in posted.value.headers
        finally:
            context.close()
    assert house.sts.calls() == []
    assert len(house.broker.records()) == before, "no ticket was ever sent"
