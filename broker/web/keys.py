"""``/v1/admin/keys``: what ``zerotrust-admin keys`` asks; for operators only."""

from __future__ import annotations

from aiohttp import web

from broker import wire, wire_operators
from broker.issuing.keys import KeyDesk
from broker.issuing.operators import OperatorsDoor
from broker.web.admin import read_signed, signed_ask_of


class KeysDoor:
    """The handlers."""

    def __init__(self, *, door: OperatorsDoor, desk: KeyDesk) -> None:
        self._door = door
        self._desk = desk

    async def status(self, request: web.Request) -> web.Response:
        """Which keys there are."""
        found = await self._desk.status(await signed_ask_of(request))
        return web.Response(body=wire_operators.receipt_body(found), content_type=wire.JSON)

    async def rotate(self, request: web.Request) -> web.Response:
        """Let another follow."""
        ask, what = await read_signed(self._door, request, wire_operators.parse_rotation)
        return web.Response(
            body=wire_operators.receipt_body(await self._desk.rotate(ask, what)), content_type=wire.JSON
        )
