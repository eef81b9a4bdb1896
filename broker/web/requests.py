"""``/v1/requests``: time boxes asked for, approved, denied and listed; ``/v1/admin/reviews`` for what was broken open."""

from __future__ import annotations

from datetime import timedelta

from aiohttp import web

from broker import wire, wire_elevation
from broker.core.errors import BadRequest
from broker.issuing.boxes import Seen, described
from broker.issuing.elevate import Elevation, Wanted
from broker.issuing.operators import OperatorsDoor
from broker.issuing.review import Reviews
from broker.web.admin import read_signed, signed_ask_of
from broker.web.negotiate import ask_of, read_nothing

_CREATED = 201


class Requests:
    """The handlers."""

    def __init__(self, *, elevation: Elevation) -> None:
        self._elevation = elevation

    async def post(self, request: web.Request) -> web.Response:
        """Ask others, or break the glass."""
        ask = ask_of(request)
        try:
            asked = wire_elevation.parse_elevation_request(await request.read())
        except ValueError as error:
            raise BadRequest(str(error), hint=str(error)) from error
        duration = None if asked.duration is None else timedelta(seconds=asked.duration)
        wanted = Wanted(role=asked.role, scope=asked.scope, reason=asked.reason, duration=duration)
        way = self._elevation.break_glass if asked.break_glass else self._elevation.ask_for
        return _answer(await way(ask, wanted), status=_CREATED)

    async def listing(self, request: web.Request) -> web.Response:
        """One's own, and those that one may approve."""
        found = await self._elevation.listing(ask_of(request))
        return web.Response(body=wire_elevation.requests_body(map(described, found)), content_type=wire.JSON)

    async def show(self, request: web.Request) -> web.Response:
        """One of them."""
        return _answer(await self._elevation.show(ask_of(request), request.match_info["id"]))

    async def approve(self, request: web.Request) -> web.Response:
        """Approve somebody else's."""
        ask = ask_of(request)
        await read_nothing(request)
        return _answer(await self._elevation.approve(ask, request.match_info["id"]))

    async def deny(self, request: web.Request) -> web.Response:
        """End one."""
        ask = ask_of(request)
        try:
            reason = wire_elevation.parse_denial(await request.read())
        except ValueError as error:
            raise BadRequest(str(error), hint=str(error)) from error
        return _answer(await self._elevation.deny(ask, request.match_info["id"], reason=reason))


class ReviewsDoor:
    """The operators' handlers."""

    def __init__(self, *, door: OperatorsDoor, reviews: Reviews) -> None:
        self._door = door
        self._reviews = reviews

    async def listing(self, request: web.Request) -> web.Response:
        """What was broken on this host."""
        found = await self._reviews.listing(self._door, await signed_ask_of(request))
        return web.Response(body=wire_elevation.reviews_body(found), content_type=wire.JSON)

    async def close(self, request: web.Request) -> web.Response:
        """Close one."""
        ask, (identifier, note) = await read_signed(self._door, request, wire_elevation.parse_closing)
        closed = await self._reviews.close(self._door, ask, identifier, note=note)
        return web.Response(body=wire_elevation.request_body(closed), content_type=wire.JSON)


def _answer(seen: Seen, *, status: int = 200) -> web.Response:
    return web.Response(body=wire_elevation.request_body(described(seen)), status=status, content_type=wire.JSON)
