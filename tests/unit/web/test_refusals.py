"""Refusals as pages, and the files of /setup: what stands in them, and what never does."""

from __future__ import annotations

import json
import plistlib
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any, cast

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from broker.core import errors
from broker.web import problems
from broker.web.portal import setup
from broker.web.portal.refusals import Refusals
from broker.web.portal.render import Templates
from broker.web.portal.visitor import Browser, Platform, visitor_of

MARKUP = "<script>alert(1)</script>\"'&<img src=x onerror=alert(1)>"
NAME = "broker.example.com"
WINDOWS = "Mozilla/5.0 (Windows NT 10.0; Win64; x64)"
MACOS = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)"
LINUX = "Mozilla/5.0 (X11; Linux x86_64)"
CHROME = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36"
CHROMIUM_ON_LINUX = {"User-Agent": f"{LINUX} {CHROME}"}


class StoppedClock:
    def now(self) -> datetime:
        return datetime(2026, 1, 31, 12, 34, tzinfo=UTC)

    def boottime(self) -> float:
        return 0.0


class Page(HTMLParser):
    """What a browser would make of it."""

    def __init__(self, response: web.Response) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.refresh: str | None = None
        self.text = ""
        self.feed(cast("bytes", response.body).decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        given = dict(attrs)
        if tag == "a":
            self.links.append(given["href"] or "")
        if given.get("http-equiv") == "refresh":
            self.refresh = given["content"]

    def handle_data(self, data: str) -> None:
        self.text += data


def request_of(path: str = "/", *, method: str = "GET", host: str = NAME, **headers: str) -> web.Request:
    given = {"Host": host, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return make_mocked_request(method, path, headers=given)


def refused(
    error: errors.BrokerError, request: web.Request, *, names: tuple[str, ...] = ("10.0.0.1", NAME, "other.example.com")
) -> Page:
    templates = Templates()
    refusals = Refusals(setup=setup.Setup(names=names, templates=templates), templates=templates, clock=StoppedClock())
    response = refusals.page(request, error, headers={"Retry-After": "5"}, request_id="0123")
    assert response.status == problems.TABLE[type(error)].status
    assert response.headers["Retry-After"] == "5"
    assert "script-src 'self'" in response.headers["Content-Security-Policy"]
    return Page(response)


def made(kind: type[errors.BrokerError]) -> errors.BrokerError:
    more: dict[str, Any] = {"retry_after": 3} if kind is errors.RateLimited else {}
    return kind(**more)


@pytest.mark.parametrize("error", [made(kind) for kind in problems.TABLE], ids=lambda error: type(error).__name__)
def test_every_error_is_a_page_with_something_to_do_and_what_to_tell_the_administrator(
    error: errors.BrokerError,
) -> None:
    page = refused(error, request_of(User_Agent=f"{WINDOWS} {CHROME}"))
    assert any(link.startswith("/") for link in page.links)
    assert f"{error.code}, request 0123" in page.text
    assert "None" not in page.text
    assert "{" not in page.text


@pytest.mark.parametrize("error", [errors.AuthRequired, errors.AuthFailed, errors.AccessDenied, errors.PassRefused])
def test_whatever_a_client_sends_or_is_told_stays_text(error: type[errors.BrokerError]) -> None:
    request = request_of("/?q=%3Cscript%3E", host=f"{MARKUP}.example", User_Agent=f"Chrome/ {MARKUP}", Referer=MARKUP)
    page = refused(error(hint=MARKUP), request)
    assert (page.tags.count("script"), page.tags.count("img")) == (1, 1), "ours, and the mark"
    assert ".example" not in page.text.replace(NAME, "")


def test_what_was_wrong_with_a_ticket_is_not_told_but_the_brokers_time_is() -> None:
    pages = {
        refused(errors.AuthFailed(reason=reason), request_of()).text for reason in ("clock_skew", "ticket_expired")
    }
    assert len(pages) == 1
    assert "2026-01-31 12:34 UTC" in pages.pop()


def test_ntlm_has_a_page_of_its_own_with_the_command_that_finds_out_why() -> None:
    error = errors.AuthFailed(reason="ntlm_offered", hint="the client offered NTLM")
    assert f"klist get HTTP/{NAME}" in refused(error, request_of(User_Agent=f"{WINDOWS} {CHROME}")).text
    assert f"kvno HTTP/{NAME}" in refused(error, request_of(User_Agent=f"{LINUX} {CHROME}")).text


@pytest.mark.parametrize(
    ("headers", "browser", "platform"),
    [
        (CHROMIUM_ON_LINUX, Browser.CHROME, Platform.LINUX),
        (
            {**CHROMIUM_ON_LINUX, "Sec-CH-UA": '"Chromium";v="156", "Not A Brand";v="24"'},
            Browser.CHROMIUM,
            Platform.LINUX,
        ),
        (
            {"User-Agent": f"{WINDOWS} {CHROME} Edg/156", "Sec-CH-UA": '"Microsoft Edge";v="156", "Chromium";v="156"'},
            Browser.EDGE,
            Platform.WINDOWS,
        ),
        ({"User-Agent": f"{WINDOWS} {CHROME} Edg/156"}, Browser.EDGE, Platform.WINDOWS),
        ({**CHROMIUM_ON_LINUX, "Sec-CH-UA-Platform": '"macOS"'}, Browser.CHROME, Platform.MACOS),
        ({"User-Agent": f"{LINUX[:-1]}; rv:153.0) Gecko/20100101 Firefox/153.0"}, Browser.FIREFOX, Platform.LINUX),
        ({"User-Agent": f"{MACOS} AppleWebKit/605 Version/26.0 Safari/605"}, Browser.SAFARI, Platform.MACOS),
        ({"User-Agent": f"Mozilla/5.0 (Linux; Android 16) {CHROME}"}, Browser.CHROME, Platform.PHONE),
        ({"User-Agent": "curl/7.88"}, Browser.OTHER, Platform.LINUX),
        ({}, Browser.OTHER, Platform.LINUX),
    ],
)
def test_a_browser_is_known_by_what_it_says_of_itself(
    headers: dict[str, str], browser: Browser, platform: Platform
) -> None:
    visitor = visitor_of(headers)
    assert (visitor.browser, visitor.platform) == (browser, platform)
    expected = browser in (Browser.CHROME, Browser.CHROMIUM, Browser.EDGE) and platform is Platform.LINUX
    assert visitor.learns_negotiate is expected


def test_the_page_begins_with_the_readers_own_browser_and_has_every_other_below() -> None:
    for agent, first in (
        (f"{LINUX} {CHROME}", "Let Chrome show it"),
        (f"{WINDOWS} {CHROME} Edg/156", "Let Edge show it"),
        (f"{MACOS} Version/26.0 Safari/605", "Let Safari show it"),
        (f"{LINUX} Firefox/153.0", "Let Firefox show it"),
    ):
        text = refused(errors.AuthRequired(), request_of("/?again=1", User_Agent=agent)).text
        own, _, others = text.partition("Another browser")
        assert first in own
        for way in ("AuthServerAllowlist", "trusted-uris", "intranet", "defaults write", "Safari needs no setting"):
            assert way in own + others
        assert others.count(" on ") >= 8


def test_no_step_is_empty_whoever_reads() -> None:
    for system in (
        LINUX,
        WINDOWS,
        MACOS,
        "Mozilla/5.0 (Linux; Android 16)",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 26_0)",
    ):
        for agent in (f"{system} {CHROME}", f"{system} Firefox/153.0", f"{system} Version/26.0 Safari/605", system):
            text = refused(errors.AuthRequired(), request_of("/?again=1", User_Agent=agent)).text
            _, ticket, way, _ = re.split(r"Have a ticket|Let .{3,20} show it|Come in", text.partition("Another")[0])
            assert min(len(ticket.strip()), len(way.strip())) > len("Type kinit"), agent


AGAIN = "0; url=/?again=1"


@pytest.mark.parametrize(
    ("error", "request_", "refresh"),
    [
        (errors.AuthRequired(), request_of(**CHROMIUM_ON_LINUX), AGAIN),
        (errors.AuthRequired(), request_of("/?again=1", **CHROMIUM_ON_LINUX), None),
        (errors.AuthRequired(), request_of("/?again=", **CHROMIUM_ON_LINUX), None),
        (errors.AuthRequired(), request_of("/", User_Agent=f"{WINDOWS} {CHROME}"), None),
        (errors.AuthRequired(), request_of("/", User_Agent=f"{LINUX} Firefox/153.0"), None),
        (errors.AuthRequired(), request_of("/v1/whoami", **CHROMIUM_ON_LINUX), None),
        (errors.AuthRequired(), request_of("/", method="POST", **CHROMIUM_ON_LINUX), None),
        (errors.AuthFailed(), request_of(Authorization="Negotiate AA==", **CHROMIUM_ON_LINUX), None),
        (errors.AuthRequired(), request_of(Authorization="Negotiate AA==", **CHROMIUM_ON_LINUX), None),
        (errors.AccessDenied(), request_of(**CHROMIUM_ON_LINUX), None),
    ],
)
def test_only_a_browser_that_may_have_failed_its_first_challenge_is_asked_again_and_only_once(
    error: errors.BrokerError, request_: web.Request, refresh: str | None
) -> None:
    assert refused(error, request_).refresh == refresh


def test_asking_again_stays_on_this_page_whatever_was_in_the_address() -> None:
    path = "/?q=%22%3E%3Cscript%3E&role=a;url=//evil.example"
    refresh = refused(errors.AuthRequired(), request_of(path, **CHROMIUM_ON_LINUX)).refresh
    assert refresh == "0; url=/?q=%22%3E%3Cscript%3E&role=a%3Burl%3D%2F%2Fevil.example&again=1"


def test_a_wrong_name_is_answered_with_a_configured_one_and_the_port_that_was_asked_for() -> None:
    error = errors.HostNotAllowed()
    assert f"//{NAME}:8443/" in refused(error, request_of(host="evil.example:8443")).links
    assert f"//{NAME}/" in refused(error, request_of(host="evil.example")).links
    assert f"//{NAME}/" in refused(error, request_of(host="a@evil.example:1/..")).links
    assert f"//{NAME}:8443/" in refused(errors.AuthRequired(), request_of(host="10.0.0.1:8443")).links
    there = refused(errors.AuthRequired(), request_of(host="other.example.com"))
    nowhere = refused(error, request_of(host="evil.example"), names=("10.0.0.1",))
    assert not any(link.startswith("//") for page in (there, nowhere) for link in page.links)


async def fetched(file: str, *, host: str = NAME, names: tuple[str, ...] = (NAME, "other.example.com")) -> web.Response:
    request = make_mocked_request("GET", f"/setup/{file}", headers={"Host": host}, match_info={"file": file})
    response = await setup.Setup(names=names, templates=Templates()).file(request)
    assert response.headers["Content-Disposition"] == f'attachment; filename="{file}"'
    return response


async def body_of(file: str, **more: Any) -> bytes:
    return cast("bytes", (await fetched(file, **more)).body)


async def test_each_file_says_what_its_browser_reads_and_nothing_of_delegation() -> None:
    assert json.loads(await body_of("zerotrust.json")) == {"AuthServerAllowlist": NAME}
    assert json.loads(await body_of("policies.json")) == {
        "policies": {"Authentication": {"SPNEGO": [f"https://{NAME}"]}}
    }
    registry = (await body_of("zerotrust.reg")).decode("utf-16").split("\r\n")
    assert registry[0] == "Windows Registry Editor Version 5.00"
    for vendor in (r"Google\Chrome", "Chromium", r"Microsoft\Edge"):
        at = registry.index(rf"[HKEY_LOCAL_MACHINE\SOFTWARE\Policies\{vendor}]")
        assert registry[at + 1] == f'"AuthServerAllowlist"="{NAME}"'
    zone = (await body_of("zerotrust-intranet.reg")).decode("utf-16").split("\r\n")
    assert zone[2].startswith("[HKEY_CURRENT_USER\\")
    assert zone[2].endswith(rf"\ZoneMap\Domains\{NAME}]")
    assert zone[3] == '"https"=dword:00000001'
    for file in setup.FILES:
        assert b"delegat" not in (await body_of(file)).lower()


async def test_the_profile_for_macos_is_one_and_the_same_for_a_name_and_complete() -> None:
    body = await body_of("zerotrust.mobileconfig")
    assert body == await body_of("zerotrust.mobileconfig")
    profile = plistlib.loads(body)
    assert (profile["PayloadType"], profile["PayloadVersion"]) == ("Configuration", 1)
    parts = {part["PayloadType"]: part for part in profile["PayloadContent"]}
    for name in ("com.google.Chrome", "org.chromium.Chromium", "com.microsoft.Edge"):
        assert parts[name]["AuthServerAllowlist"] == NAME
    assert parts["org.mozilla.firefox"]["Authentication"] == {"SPNEGO": [f"https://{NAME}"]}
    assert parts["org.mozilla.firefox"]["EnterprisePoliciesEnabled"] is True
    identifiers = [part["PayloadUUID"] for part in (profile, *parts.values())]
    assert len(set(identifiers)) == 5
    other = plistlib.loads(await body_of("zerotrust.mobileconfig", host="other.example.com"))
    assert other["PayloadUUID"] not in identifiers


async def test_a_file_is_made_of_a_configured_name_whatever_the_header_says() -> None:
    assert b"other.example.com" in await body_of("zerotrust.json", host="OTHER.example.com:8443")
    for host in ("evil.example", '"}, {"x": "', "10.0.0.1"):
        assert json.loads(await body_of("zerotrust.json", host=host)) == {"AuthServerAllowlist": NAME}


async def test_without_a_name_there_is_nothing_to_set_up() -> None:
    for file, names in (("zerotrust.json", ("10.0.0.1", "::1")), ("../page.css", (NAME,)), ("", (NAME,))):
        with pytest.raises(errors.NotFound):
            await fetched(file, names=names)


def test_firefox_shows_a_ticket_over_tls_alone_but_to_the_machine_itself() -> None:
    assert setup.trusted_uri(NAME) == f"https://{NAME}"
    assert setup.trusted_uri("localhost") == "localhost"
    assert setup.trusted_uri("broker.localhost") == "broker.localhost"
