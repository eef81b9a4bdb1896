"""The page escapes what it shows, whoever managed to be called that."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from ipaddress import ip_address
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from broker.core.errors import AccessDenied, AuthRequired
from broker.core.identity import Identity, SealedSession
from broker.core.principal import Principal
from broker.core.roles import Hop, Role, RoleArn, RoleName
from broker.core.secret import Secret
from broker.issuing.issue import Standing
from broker.web.address import ADDRESS
from broker.web.guards import SECURITY_HEADERS
from broker.web.negotiate import REQUEST_ID, TLS
from broker.web.portal.page import Page

MARKUP = "<script>alert(1)</script>\"'&<img src=x onerror=alert(1)>"
ARN = RoleArn.parse('arn:aws:iam::111122223333:role/a<b>&"/Developer')


class Elements(HTMLParser):
    """The elements and attributes that a browser would make of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


def page_for(principal: Principal, *roles: Role, cookie: SealedSession | None = None) -> Page:
    identity = Identity(
        principal=principal,
        ticket_end=datetime(2026, 1, 31, 12, tzinfo=UTC),
        authenticated_at=datetime(2026, 1, 31, 2, tzinfo=UTC),
        channel_bound=False,
        indicators=frozenset({MARKUP}),
        groups=frozenset({MARKUP}),
        mutual_token=None,
        groups_unknown=MARKUP,
    )

    async def standing(*_: object, **__: object) -> Standing:
        return Standing(identity=identity, roles=list(roles), cookie=cookie)

    return Page(issuer=cast("Any", SimpleNamespace(standing=standing)))


async def answered(page: Page, host: str = "localhost") -> web.Response:
    app = web.Application()
    app[TLS] = None
    request = make_mocked_request("GET", "/", headers={"Host": host}, app=app)
    request[REQUEST_ID], request[ADDRESS] = "0123", ip_address("127.0.0.1")
    return await page.show(request)


async def shown(page: Page, host: str = "localhost") -> str:
    response = await answered(page, host)
    assert isinstance(response.text, str)
    return response.text


async def test_a_name_with_markup_stays_text() -> None:
    role = Role(name=RoleName("dev"), chain=(Hop(arn=ARN, external_id="x-1"),), duration=timedelta(hours=1))
    html = Elements(await shown(page_for(Principal((MARKUP,), MARKUP), role), host=MARKUP))
    assert not {"script", "img", "b", "iframe"} & html.tags
    assert not any(name.startswith("on") for name in html.attributes)
    assert "<script>alert(1)</script>" in html.text


async def test_a_session_goes_into_a_cookie_that_no_script_reads_and_never_into_the_page() -> None:
    cookie = SealedSession(value=Secret("canary-session"), lifetime=timedelta(hours=10))
    response = await answered(page_for(Principal(("alice",), "R"), cookie=cookie))
    assert response.headers.getall("Set-Cookie") == [
        "__Host-zerotrust=canary-session; Path=/; Max-Age=36000; Secure; HttpOnly; SameSite=Strict"
    ]
    assert "canary" not in str(response.text)
    assert "Set-Cookie" not in (await answered(page_for(Principal(("alice",), "R")))).headers


@pytest.mark.parametrize("error", [AuthRequired(hint=MARKUP), AccessDenied(hint=MARKUP)])
def test_a_hint_with_markup_stays_text(error: AuthRequired | AccessDenied) -> None:
    response = page_for(Principal(("a",), "R")).problem(error, status=401, headers={}, request_id=MARKUP)
    html = Elements(cast("bytes", response.body).decode())
    assert not {"script", "img"} & html.tags
    assert MARKUP in html.text


async def test_the_page_needs_no_script_and_loads_nothing_from_elsewhere() -> None:
    html = await shown(page_for(Principal(("alice",), "EXAMPLE.COM")))
    assert "You have no roles" in html
    assert not {"script", "iframe", "object"} & Elements(html).tags
    assert "//" not in html.replace("<!doctype html>", "").replace("http://", "", 1)
    assert "style" not in Elements(html).attributes
    csp = SECURITY_HEADERS["Content-Security-Policy"]
    assert csp.startswith("default-src 'none';")
    assert "unsafe" not in csp
    assert "frame-ancestors 'none'" in csp
