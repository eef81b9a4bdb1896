"""The page escapes what it shows, whoever managed to be called that, and has forms for a session only."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from ipaddress import ip_address
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from broker.authz.elevation import Approval, Request, Standing, State
from broker.core.identity import Identity, SealedSession
from broker.core.principal import Principal
from broker.core.roles import Hop, Role, RoleArn, RoleName
from broker.core.scope import Scope, ScopeName
from broker.core.secret import Secret
from broker.issuing.boxes import Seen
from broker.issuing.explain import Prospect
from broker.issuing.overview import Offer, Overview, Way
from broker.issuing.standing import Belongings, Listed
from broker.issuing.uses import Use
from broker.web.address import ADDRESS
from broker.web.guards import SECURITY_HEADERS
from broker.web.negotiate import REQUEST_ID, TLS
from broker.web.portal import render
from broker.web.portal.page import Page

MARKUP = "<script>alert(1)</script>\"'&<img src=x onerror=alert(1)>"
ARN = RoleArn.parse('arn:aws:iam::111122223333:role/a<b>&"/Developer')
NOW = datetime(2026, 1, 31, 2, 1, tzinfo=UTC)
COOKIE = SealedSession(id="0" * 32, value=Secret("canary-session"), made=NOW, lifetime=timedelta(hours=10))
NOTHING = Belongings(sessions=Listed([]), passes=Listed([]), recents=Listed([]))
ROLE = Role(
    name=RoleName(MARKUP),
    chain=(Hop(arn=ARN, external_id="x-1"),),
    duration=timedelta(hours=1),
    scopes=(Scope(name=ScopeName(MARKUP), policy=None, policy_arns=()),),
    account_alias=MARKUP,
)
WAY = Way(longest=timedelta(hours=2), reason=MARKUP, approvals=2, approvers=MARKUP)
OFFER = Offer(role=ROLE, verdict="allowed", hint=MARKUP, reason=None, box=None, approval=None, glass=None)


class Elements(HTMLParser):
    """The elements and attributes that a browser would make of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.sources: list[str | None] = []
        self.hidden: dict[str, str | None] = {}
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        found = dict(attrs)
        self.sources += [found[name] for name in ("src", "href", "action", "formaction") if name in found]
        if found.get("type") == "hidden":
            self.hidden[str(found["name"])] = found["value"]

    def handle_data(self, data: str) -> None:
        self.text += data


def overview_of(principal: Principal, *offers: Offer, **more: Any) -> Overview:
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
    empty = Overview(
        identity=identity,
        now=NOW,
        offers=[*offers],
        requests=[],
        asked_for={},
        about=None,
        held=None,
        cookie=COOKIE,
        belongings=NOTHING,
    )
    return replace(empty, **more)


def request_of(state: State, **more: Any) -> Seen:
    asked = Request(
        id="0" * 32,
        user=MARKUP,
        person=MARKUP,
        role=RoleName(MARKUP),
        scope=ScopeName(MARKUP),
        rule="r",
        terms="t",
        reason=MARKUP,
        asked=NOW,
        duration=timedelta(minutes=90),
        needed=2,
        epoch=0,
        birth=None,
    )
    approval = Approval(user=MARKUP, person=MARKUP, at=NOW, epoch=0, birth=None)
    standing = Standing(request=asked, state=state, approvals=(approval,), ends=NOW + timedelta(hours=1))
    return Seen(standing, **{"is_mine": True, "may_decide": True, **more})


async def answered(overview: Overview, host: str = "localhost", path: str = "/") -> web.Response:
    async def of(*_: object, **__: object) -> Overview:
        return overview

    page = Page(overviews=cast("Any", SimpleNamespace(of=of)), templates=render.Templates())
    app = web.Application()
    app[TLS] = None
    request = make_mocked_request("GET", path, headers={"Host": host}, app=app)
    request[REQUEST_ID], request[ADDRESS] = "0123", ip_address("127.0.0.1")
    return await page.show(request)


async def shown(overview: Overview, host: str = "localhost", path: str = "/") -> str:
    response = await answered(overview, host, path)
    assert isinstance(response.text, str)
    return response.text


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"verdict": "approval", "reason": MARKUP},
        {"verdict": "approval", "approval": WAY, "glass": WAY},
        {"verdict": "approval"},
        {"verdict": "step_up"},
    ],
    ids=["allowed", "with a reason", "to be asked for", "closed", "for a better ticket"],
)
async def test_whatever_has_markup_in_it_stays_text(more: dict[str, Any]) -> None:
    requests = [request_of(state, is_mine=mine) for state in State for mine in (True, False)]
    overview = overview_of(
        Principal((MARKUP,), MARKUP),
        replace(OFFER, **more),
        requests=requests,
        about=Prospect(RoleName(MARKUP), "denied", MARKUP),
        held=MARKUP,
    )
    html = Elements(await shown(overview, host=MARKUP, path="/?role=%3Cscript%3Ealert(1)%3C/script%3E"))
    assert (html.tags.count("script"), html.tags.count("img")) == (1, 1), "ours, and the mark"
    assert not {"b", "iframe"} & {*html.tags}
    assert not any(name.startswith("on") for name in html.attributes)
    assert "style" not in html.attributes
    assert "<script>alert(1)</script>" in html.text


async def test_a_session_goes_into_a_cookie_that_no_script_reads_and_never_into_the_page() -> None:
    response = await answered(overview_of(Principal(("alice",), "R"), OFFER))
    assert response.headers.getall("Set-Cookie") == [
        "__Host-zerotrust=canary-session; Path=/; Max-Age=36000; Secure; HttpOnly; SameSite=Strict"
    ]
    assert "canary" not in str(response.text)
    assert "Set-Cookie" not in (await answered(overview_of(Principal(("alice",), "R"), cookie=None))).headers


async def test_without_a_session_there_is_no_form_that_does_anything() -> None:
    assert "form" in Elements(await shown(overview_of(Principal(("alice",), "R"), OFFER))).hidden
    html = await shown(overview_of(Principal(("alice",), "R"), OFFER, cookie=None))
    assert 'method="post"' not in html
    assert Elements(html).hidden == {}
    assert "this page has no buttons" in html


async def test_the_page_loads_nothing_from_elsewhere_and_sends_nothing_there() -> None:
    html = Elements(await shown(overview_of(Principal(("alice",), "EXAMPLE.COM"), OFFER)))
    assert not {"iframe", "object", "style"} & {*html.tags}
    assert all(str(source).startswith(("/", "#")) and not str(source).startswith("//") for source in html.sources)
    for csp in (SECURITY_HEADERS["Content-Security-Policy"], render.POLICY):
        assert csp.startswith("default-src 'none';")
        assert "unsafe" not in csp
        assert "frame-ancestors 'none'" in csp
    assert "form-action 'self'" in render.POLICY
    assert "trusted-types 'none'" in render.POLICY


async def test_somebody_without_roles_is_told_so() -> None:
    assert "You have no roles" in await shown(overview_of(Principal(("alice",), "EXAMPLE.COM")))


async def test_without_a_script_the_server_finds_roles_by_any_of_their_names() -> None:
    role = replace(ROLE, name=RoleName("deployer"), account_alias="web-prod")
    overview = overview_of(Principal(("alice",), "R"), replace(OFFER, role=role))
    for query in ("", "deploy", "WEB+deploy", "1111", "Developer"):
        assert "<h4>deployer</h4>" in await shown(overview, path=f"/?q={query}")
    assert "None of your roles matches" in await shown(overview, path="/?q=nothing")


@pytest.mark.parametrize(
    ("span", "words"),
    [
        (timedelta(seconds=59), "less than a minute"),
        (timedelta(minutes=1), "1 min"),
        (timedelta(hours=9, minutes=58, seconds=59), "9 h 58 min"),
        (timedelta(days=1, minutes=1), "1 day 1 min"),
        (timedelta(days=2), "2 days"),
        (timedelta(seconds=-1), "no time"),
    ],
)
def test_what_is_left_is_said_in_whole_minutes(span: timedelta, words: str) -> None:
    assert render.in_words(span) == words


async def test_what_was_used_lately_is_repeated_where_it_can_be_had_and_there_are_many() -> None:
    roles = [replace(ROLE, name=RoleName(f"role-{number}"), scopes=()) for number in range(6)]
    offers = [replace(OFFER, role=role) for role in roles[1:]]
    offers.append(replace(OFFER, role=roles[0], verdict="step_up"))
    uses = [
        Use(role=name, scope=scope, how="console", at=NOW, address=None, via="cookie")
        for name, scope in (("role-0", None), ("gone", None), ("role-1", "gone"), ("role-2", None), ("role-2", None))
    ]
    belongings = replace(NOTHING, recents=Listed(uses))
    alice = Principal(("alice",), "R")
    html = await shown(overview_of(alice, *offers, belongings=belongings))
    lately = html[html.index('id="lately"') : html.index('id="roles"')]
    assert re.findall(r'href="#role-(role-\d)"', lately) == ["role-2"]
    assert 'id="lately"' not in await shown(overview_of(alice, *offers[:4], belongings=belongings))


async def test_a_scope_that_a_request_opened_can_be_had_although_the_whole_role_cannot() -> None:
    role = replace(ROLE, name=RoleName("deployer"))
    seen = request_of(State.OPEN)
    asked = replace(seen.standing.request, role=role.name, scope=ScopeName("logs"))
    requests = [replace(seen, standing=replace(seen.standing, request=asked))] * 2
    closed = replace(OFFER, role=role, verdict="approval", approval=WAY)
    html = await shown(overview_of(Principal(("alice",), "R"), closed, requests=requests))
    assert html.count('name="scope" value="logs"') == 1
    assert 'formaction="/page/console"' in html


async def test_no_two_elements_are_called_the_same_however_roles_are() -> None:
    names = ("dev", "dev-reason", "dev-why", "dev-ask", "dev-scope", "dev-profile", "dev-ask-scope", "dev.destination")
    roles = [replace(ROLE, name=RoleName(name)) for name in names]
    asked = {"verdict": "approval", "approval": WAY, "glass": WAY}
    stated = {"verdict": "approval", "reason": "INC"}
    ways: list[dict[str, Any]] = [stated, asked, {}] * len(roles)
    offers = [replace(OFFER, role=role, **way) for role, way in zip(roles, ways, strict=False)]
    found = re.findall(r' id="([^"]*)"', await shown(overview_of(Principal(("alice",), "R"), *offers)))
    assert len(found) == len(set(found))


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("broker.example.com", "https://broker.example.com"),
        ("broker.example.com:8443", "https://broker.example.com:8443"),
        ("localhost:8080", "http://localhost:8080"),
        ("broker.localhost", "http://broker.localhost"),
    ],
)
async def test_behind_a_proxy_that_ends_tls_the_address_to_paste_is_the_one_that_was_typed(
    host: str, address: str
) -> None:
    html = Elements(await shown(overview_of(Principal(("alice",), "R"), OFFER), host=host))
    assert f"--broker {address} " in html.text.replace("\n", " ")
    assert f"export ZEROTRUST_BROKER_URL={address}\n" in html.text


async def test_production_is_said_wherever_something_acts_on_it() -> None:
    role = replace(ROLE, name=RoleName("deployer"), production=True)
    overview = overview_of(Principal(("alice",), "R"), replace(OFFER, role=role), asked_for={RoleName(MARKUP): role})
    html = await shown(replace(overview, requests=[request_of(State.PENDING, is_mine=False)]))
    assert html.count('<strong class="production">Production</strong>') == 2
    assert "Production" not in await shown(overview_of(Principal(("alice",), "R"), OFFER))
    assert 'id="role-deployer"' in await shown(overview, path="/?q=PRODUCTION")
