"""``GET /``: who you are, until when, what you may have and how to use it."""

from __future__ import annotations

from aiohttp import hdrs, web

from broker.issuing.overview import Overview, Overviews
from broker.web import cookie, guards
from broker.web.negotiate import ask_of
from broker.web.portal import forms, view
from broker.web.portal.render import Templates, asset


class Page:
    """Renders; decides nothing."""

    def __init__(self, *, overviews: Overviews, templates: Templates) -> None:
        self._overviews = overviews
        self._templates = templates

    async def show(self, request: web.Request) -> web.Response:
        """The page of somebody who came with a ticket or a cookie. A browser asks its user's ticket for a cookie here.

        Otherwise it would answer our challenge with a ticket at every single request; and the forms of the page count for a
        session only. ``?q=`` is what is looked for, ``?role=`` a role that is asked about.
        """
        ask = ask_of(request)
        query, about = (request.query.get(name, "")[: view.QUERY_MAX].strip() for name in ("q", "role"))
        overview = await self._overviews.of(ask, about=about or None)
        response = await self._templates.long_page(
            "home.html",
            overview=overview,
            accounts=view.accounts(overview, query=query),
            recents=view.recents(overview),
            to_decide=view.to_decide(overview),
            decided=view.decided(overview),
            own=view.own(overview),
            query=query,
            asked_about=about,
            broker=guards.url_of(request),
            form=_token(request, overview),
        )
        if overview.cookie is not None:
            cookie.give(response, overview.cookie)
        return response

    async def signed_out(self, _: web.Request) -> web.Response:
        """Where one is after signing out: a page that asks for no ticket, or one would be in again."""
        return self._templates.page("signed_out.html")

    async def style(self, _: web.Request) -> web.Response:
        """The style sheet, the same for everybody."""
        return asset("page.css", "text/css; charset=utf-8")

    async def script(self, _: web.Request) -> web.Response:
        """The script, the same for everybody; the page works without."""
        return asset("page.js", "text/javascript; charset=utf-8")

    async def icon(self, _: web.Request) -> web.Response:
        """The mark in the browser's tab."""
        return asset("icon.svg", "image/svg+xml")


def _token(request: web.Request, overview: Overview) -> str | None:
    """For the forms of this page; None where the browser has no session, and then there are none."""
    if overview.cookie is not None:
        return forms.token_of(overview.cookie.value.reveal())
    session = cookie.of(request)
    # A header that was sent along is who this page is for, and then a cookie is perhaps somebody else's.
    return None if session is None or hdrs.AUTHORIZATION in request.headers else forms.token_of(session)
