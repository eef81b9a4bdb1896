"""``GET /``: who you are, until when, what you may have and how to use it; without a ticket, how to get there."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files

import jinja2
from aiohttp import hdrs, web

from broker.core.clock import rfc3339
from broker.core.errors import AuthFailed, AuthRequired, BrokerError
from broker.issuing.issue import Issuer
from broker.web import cookie, problems
from broker.web.negotiate import ask_of

_HERE = files(__package__ or "broker.web.portal")


class Page:
    """Renders; decides nothing."""

    def __init__(self, *, issuer: Issuer) -> None:
        self._issuer = issuer
        self._style = _HERE.joinpath("page.css").read_bytes()
        self._icon = _HERE.joinpath("icon.svg").read_bytes()
        environment = jinja2.Environment(
            loader=jinja2.FunctionLoader(lambda name: _HERE.joinpath(name).read_text(encoding="utf-8")),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._known = environment.get_template("known.html")
        self._refused = environment.get_template("refused.html")

    async def show(self, request: web.Request) -> web.Response:
        """The page of somebody who came with a ticket or a cookie. A browser asks its user's ticket for a cookie here.

        Otherwise it would answer our challenge with a ticket at every single request.
        """
        standing = await self._issuer.standing(ask_of(request), action="open_page", remember=True)
        html = self._known.render(
            principal=str(standing.identity.principal),
            ticket_end=rfc3339(standing.identity.ticket_end),
            roles=standing.roles,
            broker=f"{request.scheme}://{request.host}",
        )
        response = web.Response(text=html, content_type="text/html")
        if standing.cookie is not None:
            cookie.give(response, standing.cookie)
        return response

    async def style(self, _: web.Request) -> web.Response:
        """The style sheet, the same for everybody."""
        return web.Response(body=self._style, content_type="text/css")

    async def icon(self, _: web.Request) -> web.Response:
        """The mark in the browser's tab."""
        return web.Response(body=self._icon, content_type="image/svg+xml")

    def problem(self, error: BrokerError, *, status: int, headers: Mapping[str, str], request_id: str) -> web.Response:
        """An error as a page. The 401 is the help page: a browser shows it to whoever has no ticket to offer."""
        answer = problems.TABLE[type(error)]
        html = self._refused.render(
            title=answer.title,
            hint=error.hint or answer.hint,
            code=error.code,
            request_id=request_id,
            no_ticket=isinstance(error, AuthRequired | AuthFailed),
        )
        all_headers = {**headers, hdrs.CONTENT_TYPE: "text/html; charset=utf-8"}
        return web.Response(body=html.encode(), status=status, headers=all_headers)
