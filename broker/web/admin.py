"""``/v1/admin/...``: what ``zerotrust-admin`` asks; for operators only.

A body that cannot be read is no reason to tell anybody so before it is known who asks: it is an attempt with a record, like any.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from aiohttp import hdrs, web

from broker import __version__, wire, wire_operators
from broker.core.clock import rfc3339
from broker.core.errors import BadRequest, InternalError
from broker.core.identity import UnverifiedRequest
from broker.issuing.alerts import Alerts
from broker.issuing.ask import Ask
from broker.issuing.notify import NotificationTest
from broker.issuing.operators import OperatorsDoor
from broker.issuing.receipt import Receipt
from broker.issuing.revoke import Revocations
from broker.web.negotiate import ask_of

_T = TypeVar("_T")


class Admin:
    """The handlers."""

    def __init__(
        self,
        *,
        door: OperatorsDoor,
        revocations: Revocations,
        notification_test: NotificationTest,
        alerts: Alerts,
    ) -> None:
        self._door = door
        self._revocations = revocations
        self._notification_test = notification_test
        self._alerts = alerts

    async def whoami(self, request: web.Request) -> web.Response:
        """Who the caller is to the broker as an operator."""
        ask = await signed_ask_of(request)
        signed_by = await self._door.whoami(ask)
        if ask.identity is None:
            raise InternalError("an operator whom nobody knows")
        body = wire_operators.operator_body(
            principal=str(ask.identity.principal),
            realm=ask.identity.principal.realm,
            ticket_ends=rfc3339(ask.identity.ticket_end),
            version=__version__,
            signed_by=signed_by,
            must_sign=self._door.must_sign,
        )
        return web.Response(body=body, content_type=wire.JSON)

    async def cancel_pass(self, request: web.Request) -> web.Response:
        """End somebody's job pass."""
        ask, wanted = await self._read(request, wire_operators.parse_pass_cancellation)
        user, identifier = wanted
        await self._door.cancel_pass(ask, user=user, identifier=identifier)
        return web.Response(body=b"{}", content_type=wire.JSON)

    async def revoke(self, request: web.Request) -> web.Response:
        """End sessions, or give nothing more."""
        ask, wanted = await self._read(request, wire_operators.parse_revocation)
        if wanted.what == "sessions":
            receipt = await self._revocations.revoke_sessions(
                ask, user=wanted.user, everybody=wanted.user is None, dry_run=wanted.dry_run
            )
        else:
            receipt = await self._revocations.revoke_credentials(
                ask, user=wanted.user or "", role=wanted.role, dry_run=wanted.dry_run, aws=wanted.aws
            )
        return _receipt(receipt)

    async def restore(self, request: web.Request) -> web.Response:
        """Give again."""
        ask, (user, aws) = await self._read(request, wire_operators.parse_restoration)
        return _receipt(await self._revocations.restore(ask, user=user, aws=aws))

    async def revocations(self, request: web.Request) -> web.Response:
        """What is revoked."""
        found = await self._revocations.listing(await signed_ask_of(request))
        return web.Response(
            body=wire_operators.revocations_body(one.members() for one in found), content_type=wire.JSON
        )

    async def test_notification(self, request: web.Request) -> web.Response:
        """Try the channels by which people are told."""
        ask, channel = await self._read(request, wire_operators.parse_notification_test)
        tried = await self._notification_test.run(ask, channel=channel)
        body = wire_operators.tried_body((one.channel, one.delivered, one.said) for one in tried)
        return web.Response(body=body, content_type=wire.JSON)

    async def alerts(self, request: web.Request) -> web.Response:
        """What the watch holds."""
        found = await self._alerts.listing(await signed_ask_of(request))
        return web.Response(body=wire_operators.alerts_body(one.members() for one in found), content_type=wire.JSON)

    async def clear_alert(self, request: web.Request) -> web.Response:
        """Give back what it holds."""
        ask, user = await self._read(request, wire_operators.parse_clearing)
        lifted = await self._alerts.clear(ask, user=user)
        return web.Response(body=wire_operators.cleared_body(user=user, lifted=lifted), content_type=wire.JSON)

    async def _read(self, request: web.Request, parse: Callable[[bytes], _T]) -> tuple[Ask, _T]:
        return await read_signed(self._door, request, parse)


async def read_signed(door: OperatorsDoor, request: web.Request, parse: Callable[[bytes], _T]) -> tuple[Ask, _T]:
    """What an operator asks, and its body read; one that cannot be read is told to operators alone."""
    ask = await signed_ask_of(request)
    try:
        return ask, parse(await request.read())
    except ValueError as error:
        unread = BadRequest(str(error), reason="body_malformed", hint=str(error))
    await door.misunderstood(ask, unread)
    raise unread


def _receipt(receipt: Receipt) -> web.Response:
    return web.Response(body=wire_operators.receipt_body(receipt.members()), content_type=wire.JSON)


async def signed_ask_of(request: web.Request) -> Ask:
    """With the whole request, as a signature must cover it."""
    ask = ask_of(request)
    ask.request = UnverifiedRequest(
        method=request.method,
        # Guarded: the target is a path, and the Host header one of our names.
        url=f"{request.scheme}://{request.headers[hdrs.HOST]}{request.raw_path}",
        headers=tuple(request.headers.items()),
        body=await request.read(),
    )
    return ask
