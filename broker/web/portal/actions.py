"""What the buttons of the page do: a form in, one call, and a page out, or the way back where there is nothing to show.

They are for sessions only. Whoever has none any more is told so and not challenged: a ticket would be somebody's, but not
necessarily theirs in whose page the form stood.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from functools import wraps
from typing import TypeVar

from aiohttp import web

from broker import wire, wire_elevation
from broker.core.clock import Clock
from broker.core.errors import AuthFailed, AuthRequired, BadRequest
from broker.issuing.elevate import Elevation, Wanted
from broker.issuing.issue import Issuer
from broker.issuing.overview import Overviews
from broker.issuing.passes import PassOffice
from broker.issuing.standing import Desk
from broker.web import cookie, guards
from broker.web.negotiate import ASK
from broker.web.portal import forms
from broker.web.portal.render import Templates
from broker.web.portal.shells import blocks

_Parsed = TypeVar("_Parsed")
_Handler = Callable[["Actions", web.Request], Awaitable[web.Response]]

_FORBIDDEN = 403
_SEE_OTHER = 303


def _of_a_session(handler: _Handler) -> _Handler:
    @wraps(handler)
    async def guarded(self: Actions, request: web.Request) -> web.Response:
        try:
            return await handler(self, request)
        except (AuthRequired, AuthFailed) as error:
            # Not 401: no challenge, or the browser would send the form again with a ticket.
            ask = request.get(ASK)
            return self.over(why=error.hint if ask is not None and ask.opened is not None else None)

    return guarded


class Actions:
    """The handlers."""

    def __init__(
        self,
        *,
        issuer: Issuer,
        overviews: Overviews,
        desk: Desk,
        office: PassOffice,
        elevation: Elevation,
        templates: Templates,
        clock: Clock,
    ) -> None:
        self._issuer = issuer
        self._overviews = overviews
        self._desk = desk
        self._office = office
        self._elevation = elevation
        self._templates = templates
        self._clock = clock

    @_of_a_session
    async def console(self, request: web.Request) -> web.Response:
        """The AWS console, in the tab that was opened for it."""
        form = await forms.read(request, "role", "scope", "reason", "destination")
        wanted = _parsed(wire.parse_console_request, form.fields)
        # Where AWS sends people when their console has ended; it takes no plain address.
        address = guards.url_of(request)
        url = await self._issuer.open_console(
            form.ask,
            role=wanted.role,
            scope=wanted.scope,
            destination=wanted.destination,
            reason=wanted.reason,
            issuer=f"{address}/" if address.startswith("https:") else None,
        )
        headers = {"Refresh": f"0; url={url.reveal()}"}
        role = self._overviews.role(wanted.role)
        return self._templates.page("opening.html", headers=headers, url=url.reveal(), wanted=wanted, role=role)

    @_of_a_session
    async def credentials(self, request: web.Request) -> web.Response:
        """Keys, to paste into a shell."""
        # The same form opens the console; where it is to begin says nothing here.
        form = await forms.read(request, "role", "scope", "reason", "destination")
        form.fields.pop("destination", None)
        wanted = _parsed(wire.parse_credentials_request, form.fields)
        credentials = await self._issuer.issue(form.ask, role=wanted.role, scope=wanted.scope, reason=wanted.reason)
        return self._templates.page(
            "keys.html",
            wanted=wanted,
            role=self._overviews.role(wanted.role),
            credentials=credentials,
            left=credentials.expiration - self._clock.now(),
            blocks=blocks(credentials),
            form=form.token,
        )

    @_of_a_session
    async def ask_for(self, request: web.Request) -> web.Response:
        """A request for a time box, or broken glass."""
        form = await forms.read(request, "role", "scope", "reason", "duration", "break_glass")
        members: dict[str, object] = dict(form.fields)
        if "break_glass" in members:
            members["break_glass"] = True
        asked = _parsed(wire_elevation.parse_elevation_request, members)
        duration = None if asked.duration is None else timedelta(seconds=asked.duration)
        wanted = Wanted(role=asked.role, scope=asked.scope, reason=asked.reason, duration=duration)
        way = self._elevation.break_glass if asked.break_glass else self._elevation.ask_for
        seen = await way(form.ask, wanted)
        return _back(f"request-{seen.standing.request.id}")

    @_of_a_session
    async def approve(self, request: web.Request) -> web.Response:
        """Yes to somebody else's request."""
        form = await forms.read(request)
        await self._elevation.approve(form.ask, request.match_info["id"])
        return _back(f"request-{request.match_info['id']}")

    @_of_a_session
    async def deny(self, request: web.Request) -> web.Response:
        """No to a request, or the end of what it opened."""
        form = await forms.read(request, "reason")
        reason = _parsed(wire_elevation.parse_denial, form.fields)
        await self._elevation.deny(form.ask, request.match_info["id"], reason=reason)
        return _back(f"request-{request.match_info['id']}")

    @_of_a_session
    async def sign_out(self, request: web.Request) -> web.Response:
        """The end of this browser's session, also for whoever has a copy of it; ``again``: and a new one by the ticket of now.

        A session says what the ticket said that made it, so a better ticket needs a new session.
        """
        form = await forms.read(request, "again")
        await self._desk.end_session(form.ask)
        return _signed_out(to="/" if "again" in form.fields else "/signed-out")

    @_of_a_session
    async def end_session(self, request: web.Request) -> web.Response:
        """The end of another session of theirs."""
        form = await forms.read(request)
        await self._desk.end(form.ask, request.match_info["id"])
        return _back("belongings")

    @_of_a_session
    async def cancel_pass(self, request: web.Request) -> web.Response:
        """The end of a job pass of theirs, and of all that was made from it."""
        form = await forms.read(request)
        await self._office.cancel(form.ask, identifier=request.match_info["id"])
        return _back("belongings")

    @_of_a_session
    async def end_all(self, request: web.Request) -> web.Response:
        """The end of every session and job pass of theirs, of this one too."""
        form = await forms.read(request)
        await self._desk.end_all(form.ask)
        return _signed_out()

    def over(self, *, why: str | None) -> web.Response:
        """Nothing was done: the session is over, or is good enough no more, and ``why``; the next ticket makes a new one."""
        response = self._templates.page("over.html", status=_FORBIDDEN, why=why)
        cookie.take(response)
        return response


def _parsed(parse: Callable[[bytes], _Parsed], members: Mapping[str, object]) -> _Parsed:
    """A form by the rules of the same request in JSON."""
    try:
        return parse(json.dumps(members, ensure_ascii=False).encode("utf-8", "surrogateescape"))
    except ValueError as error:
        raise BadRequest(str(error), hint=str(error)) from error


def _back(where: str) -> web.Response:
    """To the page, by GET: what was done is not done again when somebody reloads it."""
    return web.Response(status=_SEE_OTHER, headers={"Location": f"/#{where}"})


def _signed_out(*, to: str = "/signed-out") -> web.Response:
    response = web.Response(status=_SEE_OTHER, headers={"Location": to})
    cookie.take(response)
    return response
