"""``/v1/passes``: job passes, made and cancelled by their owner; renewed, attenuated and given back by whoever holds one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from ipaddress import ip_network

from aiohttp import web

from broker import wire
from broker.core.clock import rfc3339
from broker.core.errors import BadRequest
from broker.issuing.passes import Made, PassOffice
from broker.web.address import Network
from broker.web.negotiate import ask_of, read_nothing


class Passes:
    """The handlers."""

    def __init__(self, *, office: PassOffice) -> None:
        self._office = office

    async def post(self, request: web.Request) -> web.Response:
        """A pass for one role."""
        ask = ask_of(request)
        wanted = await _read(request, wire.parse_pass_request)
        made = await self._office.make(ask, role=wanted.role, networks=_networks(wanted), lifetime=_lifetime(wanted))
        return _answer(made)

    async def renew(self, request: web.Request) -> web.Response:
        """The same pass, for longer."""
        ask = ask_of(request)
        await read_nothing(request)
        return _answer(await self._office.renew(ask))

    async def attenuate(self, request: web.Request) -> web.Response:
        """Another pass, for less."""
        ask = ask_of(request)
        wanted = await _read(request, wire.parse_attenuation)
        return _answer(await self._office.narrow(ask, networks=_networks(wanted), lifetime=_lifetime(wanted)))

    async def give_back(self, request: web.Request) -> web.Response:
        """End the pass that is shown."""
        ask = ask_of(request)
        await read_nothing(request)
        await self._office.give_back(ask)
        return web.Response(status=204)

    async def cancel(self, request: web.Request) -> web.Response:
        """End a pass of one's own."""
        ask = ask_of(request)
        await read_nothing(request)
        await self._office.cancel(ask, identifier=request.match_info["id"])
        return web.Response(status=204)


def _answer(made: Made) -> web.Response:
    job_pass = made.job_pass
    body = wire.pass_body(
        token=made.text.reveal(),
        identifier=job_pass.id,
        role=job_pass.role,
        networks=map(str, job_pass.networks),
        expires=rfc3339(job_pass.identity.ticket_end),
        renewable_until=rfc3339(job_pass.renewable_until),
    )
    return web.Response(body=body, content_type=wire.JSON)


async def _read(request: web.Request, parse: Callable[[bytes], wire.PassRequest]) -> wire.PassRequest:
    try:
        return parse(await request.read())
    except ValueError as error:
        raise BadRequest(str(error), hint=str(error)) from error


def _networks(wanted: wire.PassRequest) -> tuple[Network, ...] | None:
    if wanted.networks is None:
        return None
    try:
        return tuple(map(ip_network, wanted.networks))
    except ValueError:
        hint = 'write each of "networks" as 10.0.0.0/8 or fd00::/8, without bits behind the prefix'
        raise BadRequest("a network is none", hint=hint) from None


def _lifetime(wanted: wire.PassRequest) -> timedelta | None:
    return None if wanted.lifetime is None else timedelta(seconds=wanted.lifetime)
