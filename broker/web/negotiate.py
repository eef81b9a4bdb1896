"""Between HTTP and an ``Ask``: the ticket or session in, the proof of the broker's own identity out (RFC 4559)."""

from __future__ import annotations

import base64

from aiohttp import hdrs, web

from broker import wire
from broker.core.errors import BadRequest, PassRefused
from broker.core.identity import UnverifiedProof
from broker.issuing.ask import Ask
from broker.web import cookie
from broker.web.address import ADDRESS, peer_uid
from broker.web.tls import ServerTls

REQUEST_ID: web.RequestKey[str] = web.RequestKey("request_id", str)
TLS: web.AppKey[ServerTls | None] = web.AppKey("tls")
ASK: web.RequestKey[Ask] = web.RequestKey("ask", Ask)

# W3C Trace Context.
_TRACEPARENT = "traceparent"
_NOTHING = (b"", b"{}")


def ask_of(request: web.Request) -> Ask:
    """What the rooms may know of a request."""
    # A local socket has no address; a rule that names networks then does not hold.
    address = request[ADDRESS]
    ask = Ask(
        authorization=request.headers.get(hdrs.AUTHORIZATION),
        cookie=cookie.of(request),
        proof=_proof(request),
        request_id=request[REQUEST_ID],
        source_ip=str(address) if address else None,
        address=address,
        binding=_binding(request),
        peer_uid=peer_uid(request) if address is None else None,
        traceparent=request.headers.get(_TRACEPARENT),
    )
    request[ASK] = ask
    return ask


def wanted_ask_of(request: web.Request) -> Ask:
    """The same, of a request that no browser can have made without its user: one that shows a pass or a program's session.

    Raises:
        PassRefused: It shows something else or nothing. A ticket is not looked at, and none is asked for.
    """
    ask = ask_of(request)
    if ask.is_ambient:
        raise PassRefused(reason="ambient", hint="send a job pass as Authorization")
    return ask


async def read_nothing(request: web.Request) -> None:
    """Make sure that a request has no body, or an empty object.

    Raises:
        BadRequest: It has one.
    """
    if (await request.read()).strip() not in _NOTHING:
        raise BadRequest("a body where none is understood", hint="send no body")


def _proof(request: web.Request) -> UnverifiedProof | None:
    text = request.headers.get(wire.DPOP)
    if text is None:
        return None
    # Guarded: the target is a path, and the Host header one of our names.
    url = f"{request.scheme}://{request.headers[hdrs.HOST]}{request.raw_path.partition('?')[0]}"
    return UnverifiedProof(text=text, method=request.method, url=url)


def _binding(request: web.Request) -> bytes | None:
    tls, transport = request.app[TLS], request.transport
    if tls is None or transport is None:
        return None
    return tls.binding(transport.get_extra_info("ssl_object"))


def prove_ourselves(request: web.Request, response: web.StreamResponse) -> None:
    """Put the acceptor's answer on whatever is sent to somebody we know, so that the client can tell us from an impostor."""
    ask = request.get(ASK)
    if ask is not None and ask.identity is not None and ask.identity.mutual_token is not None:
        token = base64.b64encode(ask.identity.mutual_token).decode("ascii")
        response.headers[hdrs.WWW_AUTHENTICATE] = f"Negotiate {token}"
