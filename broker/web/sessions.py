"""``POST /v1/sessions``, ``DELETE /v1/sessions/current``: a ticket once, a session from then on."""

from __future__ import annotations

from aiohttp import web

from broker import wire
from broker.core.errors import AuthFailed
from broker.issuing.standing import Desk
from broker.web import cookie
from broker.web.negotiate import ask_of, read_nothing


class Sessions:
    """The handlers."""

    def __init__(self, *, desk: Desk) -> None:
        self._desk = desk

    async def post(self, request: web.Request) -> web.Response:
        """A token bound to a key for whoever proves one (RFC 9449 section 5), else a browser's cookie."""
        ask = ask_of(request)
        await read_nothing(request)
        session = await self._desk.open_session(ask)
        if ask.proof is None:
            response = web.Response(status=204)
            cookie.give(response, session)
            return response
        seconds = int(session.lifetime.total_seconds())
        body = wire.session_body(access_token=session.value.reveal(), expires_in=seconds)
        return web.Response(body=body, content_type=wire.JSON)

    async def end(self, request: web.Request) -> web.Response:
        """End the session that is shown, and make the browser forget its cookie."""
        ask = ask_of(request)
        await read_nothing(request)
        if ask.session is not None:
            try:
                await self._desk.end_session(ask)
            except AuthFailed:
                # A cookie that counts no more is taken away all the same.
                if ask.authorization is not None:
                    raise
        response = web.Response(status=204)
        cookie.take(response)
        return response
