"""Where a request comes from: the other end of the connection, or what a proxy that we trust says of it.

Headers that name an address are anybody's to write. They count only where the other end is in ``server.trusted_proxies``, and
then from the right: each proxy has added on the right whom it saw, so the first address that is not a proxy of ours is the
client's, and what stands left of it is its own story.
"""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Iterator, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from aiohttp import hdrs, web

from broker.core.errors import BadRequest

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

ADDRESS: web.RequestKey[Address | None] = web.RequestKey("address")

# The last address is asked about again and again; parsing costs more than a request's whole guard.
_REMEMBERED = 4096
# RFC 7239 section 6: an IPv6 address stands in brackets, a port may follow; X-Forwarded-For also has it bare.
_NODE = re.compile(
    r"\[(?P<v6>[0-9A-Fa-f:.]+)\](?::[0-9]{1,5})?|(?P<v4>[0-9.]+)(?::[0-9]{1,5})?|(?P<bare>[0-9A-Fa-f:.]+)"
)
# RFC 7239 section 4: for=TOKEN or for="QUOTED"; other parameters may stand around it.
_FOR = re.compile(r'(?:^|;)\s*for=(?:"(?P<quoted>[^"\\]*)"|(?P<token>[^\s;,"]+))\s*(?:;|$)', re.IGNORECASE)
# struct ucred: pid, uid, gid.
_UCRED = struct.Struct("iII")
_HINT = "let the proxy write one X-Forwarded-For or Forwarded header with addresses"


def address_of(request: web.BaseRequest, *, trusted: Sequence[Network]) -> Address | None:
    """The client's address; None on a local socket.

    Raises:
        BadRequest: A trusted proxy's header cannot be read.
    """
    if not request.remote:
        return None
    address = _parsed(request.remote)
    if not trusted or not _within(address, trusted):
        return address
    for text in _said_by_proxies(request):
        address = _node(text)
        if not _within(address, trusted):
            break
    return address


def peer_uid(request: web.BaseRequest) -> int | None:
    """The account at the other end of a local socket, from the kernel (SO_PEERCRED, unix(7)); None where there is none."""
    end = request.transport.get_extra_info("socket") if request.transport else None
    if end is None or end.family != socket.AF_UNIX:
        return None
    _pid, uid, _gid = _UCRED.unpack(end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return int(uid)


def _said_by_proxies(request: web.BaseRequest) -> Iterator[str]:
    """What the header lists, the nearest first."""
    old = request.headers.getall(hdrs.X_FORWARDED_FOR, [])
    new = request.headers.getall(hdrs.FORWARDED, [])
    if old and new:
        # A proxy that writes one of them passes on whatever the client wrote as the other.
        raise BadRequest("both X-Forwarded-For and Forwarded", hint=_HINT)
    for text in reversed(",".join(old or new).split(",") if old or new else []):
        if old:
            yield text.strip()
            continue
        found = _FOR.search(text)
        if found is None:
            raise BadRequest("a Forwarded header without for=", hint=_HINT)
        yield found["quoted"] or found["token"] or ""


def _node(text: str) -> Address:
    found = _NODE.fullmatch(text)
    try:
        return _parsed(found["v6"] or found["v4"] or found["bare"] if found else "")
    except ValueError:
        raise BadRequest("a forwarded address is none", hint=_HINT) from None


@lru_cache(maxsize=_REMEMBERED)
def _parsed(text: str) -> Address:
    address = ip_address(text)
    # A socket for both families shows IPv4 clients as ::ffff:192.0.2.1 (RFC 4291 section 2.5.5.2); rules name them as IPv4.
    return getattr(address, "ipv4_mapped", None) or address


def _within(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)
