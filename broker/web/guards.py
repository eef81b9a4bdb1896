"""What every request passes before a handler sees it. Cheap, stateless, and before any ticket is looked at.

A browser sends its user's ticket to whoever asks for it in the broker's name, so a request that another page caused is refused
without a challenge: no ticket is ever sent for it (Fetch Metadata, W3C; RFC 9110 section 11.6.1).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

from aiohttp import HttpVersion10, HttpVersion11, hdrs, web

from broker import wire, wire_operators, wire_secrets
from broker.core.errors import AccessDenied, BadRequest, CrossSiteBlocked, HostNotAllowed, UnsupportedMediaType
from broker.web.address import Address, Network

_VERSIONS = (HttpVersion10, HttpVersion11)
_CHANGING = frozenset({hdrs.METH_POST, hdrs.METH_PUT, hdrs.METH_DELETE, hdrs.METH_PATCH})
# No browser comes to the operators' door, whatever it asks; nor to a secret, or a page could have one read, and recorded.
_NO_PAGES = (wire_operators.PREFIX, wire_secrets.SECRETS_PATH)
_FOREIGN_SITES = frozenset({"cross-site", "same-site"})
# Of two that say who asks, or whom, one would be looked at and the other meant.
_SINGLE = (hdrs.AUTHORIZATION, hdrs.HOST, hdrs.ORIGIN, "Sec-Fetch-Site", wire.DPOP)
# What curl -d sends when nobody says otherwise. It is read as JSON like the other; the header that no foreign page can
# set is what keeps pages out, not the media type.
_FORM = "application/x-www-form-urlencoded"
_JSON_TYPES = (wire.JSON, _FORM)
# Forms of our own page, which works without a script and so cannot set the header. They count for a session only, and carry
# what only its page can have (``portal.forms``).
FORMS = "/page/"
# Probes come by address, and these two answer anybody the same.
PROBES = frozenset({"/healthz", "/readyz"})
# The same for everybody, and what the page is dressed in that tells somebody of the right name.
_ASSETS = frozenset({"/page.css", "/page.js", "/icon.svg"})
_FOR_ANYBODY = PROBES | _ASSETS
# host [":" port], RFC 9110 section 7.2. User information or a path in it is nobody's typing.
_HOST = re.compile(r"(?:\[(?P<address>[0-9a-f:.]+)\]|(?P<name>[a-z0-9_.-]+))(?::(?P<port>[0-9]{1,5}))?")

# Whoever sends others without end pushes ours out, and costs a match each.
_REMEMBERED = 64

SECURITY_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Server": "zerotrust-broker",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Admission(Protocol):
    """From which networks somebody may ask (none: from anywhere), and whose word on a client's address counts."""

    @property
    def networks(self) -> Sequence[Network]: ...  # noqa: D102  # see the class

    @property
    def proxies(self) -> Sequence[Network]: ...  # noqa: D102  # see the class


def check(
    request: web.Request, *, address: Address | None, hostnames: frozenset[str], networks: Sequence[Network]
) -> None:
    """Refuse what is not plainly a request to us.

    Raises:
        BadRequest: Not HTTP/1, an absolute-form target, no Host, a header that must be single and is not, a body in a form
            that a proxy before us may read otherwise.
        AccessDenied: From outside ``server.allowed_networks``; no challenge, so no ticket is ever sent.
        HostNotAllowed: Another host name than ours (DNS rebinding).
        CrossSiteBlocked: Another page asks, or a changing request lacks the header that no foreign page can set.
        UnsupportedMediaType: A body that does not claim to be plain JSON.
    """
    headers, path = request.headers, request.path
    if networks and address and not any(address in network for network in networks):
        raise AccessDenied(reason="network_not_allowed")
    _refuse_odd_forms(request)
    if path not in _FOR_ANYBODY and host_of(request) not in hostnames:
        raise HostNotAllowed
    _refuse_foreign_pages(request)
    is_changing = request.method in _CHANGING
    if is_changing and path.startswith(FORMS):
        _require_own_form(request)
        return
    if (is_changing or path.startswith(_NO_PAGES)) and headers.get(wire.REQUEST_HEADER) != wire.REQUEST_HEADER_VALUE:
        raise CrossSiteBlocked(reason="request_header_missing")
    if is_changing:
        if request.body_exists and request.content_type not in _JSON_TYPES:
            raise UnsupportedMediaType
        if hdrs.CONTENT_ENCODING in headers:
            raise UnsupportedMediaType(hint="send the body as it is, without Content-Encoding")


def _refuse_odd_forms(request: web.Request) -> None:
    headers = request.headers
    if request.version not in _VERSIONS:
        raise BadRequest("another HTTP version", hint="send HTTP/1.1")
    if not request.raw_path.startswith("/"):
        # An absolute-form target would take the place of the Host header (RFC 9112 section 3.2.2).
        raise BadRequest("absolute-form request target", hint="send the path alone as the request target")
    for name in _SINGLE:
        if name in headers and len(headers.getall(name)) > 1:
            raise BadRequest(f"more than one {name}", hint=f"send one {name} header")
    if hdrs.HOST not in headers:
        # Nobody who speaks HTTP/1.1 leaves it out (RFC 9112 section 3.2); HTTP/0.9 cannot send it.
        raise BadRequest("no Host", hint="send HTTP/1.1 with a Host header")
    coding = headers.get(hdrs.TRANSFER_ENCODING)
    if coding is not None and (coding.lower() != "chunked" or request.version == HttpVersion10):
        # RFC 9112 section 6.1: where two parties read the end of a body differently, a second request hides in it.
        raise BadRequest("a transfer coding other than chunked", hint="send the body with Content-Length")


def _refuse_foreign_pages(request: web.Request) -> None:
    headers = request.headers
    if headers.get("Sec-Fetch-Site") in _FOREIGN_SITES:
        raise CrossSiteBlocked(reason="fetch_metadata", hint="open the broker's address yourself")
    origin = headers.get(hdrs.ORIGIN)
    if origin is None:
        return
    # Our own page is the one whose origin is this very address, port included (RFC 6454 section 7). Where somebody else ends
    # TLS for us, its scheme is not ours. Where we do, a page that came without TLS may be anybody's on the way.
    scheme, _, authority = origin.lower().partition("://")
    schemes = ("https",) if request.secure else ("http", "https")
    if scheme not in schemes or authority != headers.get(hdrs.HOST, "").lower():
        raise CrossSiteBlocked(reason="foreign_origin", hint="open the broker's address yourself")


def _require_own_form(request: web.Request) -> None:
    """A form that a page of ours sends, and says so: every browser names the origin of a form (Fetch, "append a request Origin").

    ``same-origin`` and nothing else: ``none`` is somebody's typing, and nobody types a form.
    """
    headers = request.headers
    if hdrs.ORIGIN not in headers or headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
        raise CrossSiteBlocked(reason="form_not_ours", hint="open the broker's page yourself, and do it there")
    if request.content_type != _FORM or hdrs.CONTENT_ENCODING in headers:
        raise UnsupportedMediaType(hint="use the buttons of the page")


def host_of(request: web.Request) -> str:
    """The name in the Host header, lower case, without port; empty where it is none."""
    return _name_in(request.headers.get(hdrs.HOST, ""))


@lru_cache(maxsize=_REMEMBERED)
def _name_in(host: str) -> str:
    found = _HOST.fullmatch(host.lower())
    return (found["address"] or found["name"]) if found else ""


def port_of(request: web.Request) -> str | None:
    """The port in the Host header; None where there is none, or the header is none."""
    found = _HOST.fullmatch(request.headers.get(hdrs.HOST, "").lower())
    return found["port"] if found else None


def url_of(request: web.Request) -> str:
    """Our address as whoever asks has typed it, without a path.

    Plain HTTP is spoken on loopback alone (``server.listen``): under any other name somebody before us ends TLS.
    """
    name = host_of(request)
    is_here = name == "localhost" or name.endswith(".localhost")
    return f"{request.scheme if is_here else 'https'}://{request.headers.get(hdrs.HOST, '')}"
