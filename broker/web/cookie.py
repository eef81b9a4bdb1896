"""The browser's session as a cookie: when one counts, and how it is given and taken.

A browser sends it along without anybody's wish, so it counts only where the browser says that our own page asks, or that the user
does. The guards have refused other pages before; a browser too old to say who asks gets the challenge for a ticket again.
"""

from __future__ import annotations

from aiohttp import hdrs, web

from broker import wire
from broker.core.errors import BadRequest
from broker.core.identity import SealedSession

# Fetch Metadata: our own page, or the user by typing or a bookmark.
_OWN_SITES = ("same-origin", "none")


def of(request: web.Request) -> str | None:
    """The session that counts for this request.

    Raises:
        BadRequest: There are two, and no telling which is the user's.
    """
    if hdrs.COOKIE not in request.headers:
        return None
    pairs = (pair.partition("=") for line in request.headers.getall(hdrs.COOKIE) for pair in line.split(";"))
    found = [value.strip() for name, _, value in pairs if name.strip() == wire.SESSION_COOKIE]
    if len(found) > 1:
        raise BadRequest("two session cookies", hint=f"send one cookie {wire.SESSION_COOKIE}")
    return found[0] if found and _asked_by_us(request) else None


def give(response: web.Response, session: SealedSession) -> None:
    """Set it, for as long as the session lives."""
    _set(response, session.value.reveal(), seconds=int(session.lifetime.total_seconds()))


def take(response: web.Response) -> None:
    """Make the browser forget it."""
    _set(response, "", seconds=0)


def _asked_by_us(request: web.Request) -> bool:
    """The guards let only our own origin through, and no other page can set the request header."""
    headers = request.headers
    if "Sec-Fetch-Site" in headers:
        return headers["Sec-Fetch-Site"] in _OWN_SITES
    return hdrs.ORIGIN in headers or headers.get(wire.REQUEST_HEADER) == wire.REQUEST_HEADER_VALUE


def _set(response: web.Response, value: str, *, seconds: int) -> None:
    # Strict: not even a link on another site carries it. No Domain and Path=/, as the prefix demands.
    attributes = f"Path=/; Max-Age={seconds}; Secure; HttpOnly; SameSite=Strict"
    response.headers.add(hdrs.SET_COOKIE, f"{wire.SESSION_COOKIE}={value}; {attributes}")
