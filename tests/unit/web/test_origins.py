"""Which origins are our own page: the very address that was asked, and no page that came without TLS where we speak it."""

from __future__ import annotations

import ssl

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from broker.core.errors import BadRequest, CrossSiteBlocked, HostNotAllowed
from broker.web import guards


def request_from(origin: str, *more: tuple[str, str], tls: bool = True, host: str = "broker.test") -> web.Request:
    form = ("Content-Type", "application/x-www-form-urlencoded")
    headers = CIMultiDict([("Host", host), ("Origin", origin), form, *more])
    context = ssl.create_default_context() if tls else None
    return make_mocked_request("POST", "/page/credentials", headers=headers, sslcontext=context)


def check(request: web.Request) -> None:
    guards.check(request, address=None, hostnames=frozenset({"broker.test", "::1"}), networks=())


@pytest.mark.parametrize(
    ("origin", "tls", "is_ours"),
    [
        ("https://broker.test", True, True),
        # Port 80 of our name, where whoever is on the way answers as they like; neither address names its port.
        ("http://broker.test", True, False),
        # Somebody before us ends TLS, or nobody on this very machine.
        ("https://broker.test", False, True),
        ("http://broker.test", False, True),
        ("https://broker.test:8443", True, False),
        ("https://other.test", True, False),
        ("null", True, False),
    ],
)
def test_our_own_page_is_the_one_of_this_very_address(origin: str, tls: bool, is_ours: bool) -> None:  # noqa: FBT001
    if is_ours:
        check(request_from(origin, tls=tls))
        return
    with pytest.raises(CrossSiteBlocked):
        check(request_from(origin, tls=tls))


@pytest.mark.parametrize(
    "second", [("Origin", "https://other.test"), ("Sec-Fetch-Site", "cross-site"), ("Host", "other.test")], ids=str
)
def test_who_asks_and_whom_is_said_once(second: tuple[str, str]) -> None:
    once = ("Sec-Fetch-Site", "same-origin")
    check(request_from("https://broker.test", once))
    with pytest.raises(BadRequest):
        check(request_from("https://broker.test", once, second))


@pytest.mark.parametrize(
    "host", ["[broker.test]", "broker.test]:443", "[broker.test", "::1", "broker.test:443:443", ""]
)
def test_a_host_that_no_browser_writes_is_none_of_ours(host: str) -> None:
    check(request_from("https://[::1]:8443", host="[::1]:8443"))
    with pytest.raises(HostNotAllowed):
        check(request_from(f"https://{host}", host=host))
