"""``POST /v1/sessions``, ``DELETE /v1/sessions/current``: a ticket once, a session from then on."""

from __future__ import annotations

from aiohttp import web

from broker import wire
from broker.issuing.issue import Issuer
from broker.web import cookie
from broker.web.negotiate import ask_of, read_nothing


class Sessions:
    """The handlers."""

    def __init__(self, *, issuer: Issuer) -> None:
        self._issuer = issuer

    async def post(self, request: web.Request) -> web.Response:
        """A token bound to a key for whoever proves one (RFC 9449 section 5), else a browser's cookie."""
        ask = ask_of(request)
        await read_nothing(request)
        session = await self._issuer.open_session(ask)
        if ask.proof is None:
            response = web.Response(status=204)
            cookie.give(response, session)
            return response
        seconds = int(session.lifetime.total_seconds())
        body = wire.session_body(access_token=session.value.reveal(), expires_in=seconds)
        return web.Response(body=body, content_type=wire.JSON)

    async def end(self, _: web.Request) -> web.Response:
        """Make the browser forget its cookie. Whoever copied it before is not stopped by that."""
        response = web.Response(status=204)
        cookie.take(response)
        return response
