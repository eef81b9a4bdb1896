"""An error as a page: what happened, what its reader can do, and where to go from here.

The 401 is the help page: a browser shows it to whoever has no ticket to offer, or was not told that it may. What was wrong with
a ticket that was offered stands in the audit record and not here; the page lists what it may have been, and how to tell.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

from aiohttp import hdrs, web

from broker.core import errors
from broker.core.clock import Clock
from broker.web import guards, problems
from broker.web.portal.render import Templates
from broker.web.portal.setup import Setup
from broker.web.portal.visitor import visitor_of

_NTLM = "ntlm_offered"
# Seen in the address, so that one try is all: a browser that keeps no cookies keeps this.
AGAIN = "again"

# What a person in front of a browser can do, where the table speaks to programs.
FOR_PEOPLE: dict[type[errors.BrokerError], str] = {
    errors.BadRequest: "go back and try again; if it happens again, tell the broker's administrator",
    errors.AccessDenied: "no rule lets you do this from where you are; the page shows what you may have",
    errors.StepUpRequired: "get a new ticket in the way the role asks for, then open the page again",
    errors.ApprovalRequired: "ask for access on the page: the role wants a reason or somebody's approval",
    errors.CrossSiteBlocked: "you came by a link of another site, and this broker does nothing that another site asks for; "
    "the button below is your own wish",
    errors.HostNotAllowed: "this broker does not answer to the name that you opened",
    errors.NotFound: "there is nothing at this address",
    errors.MethodNotAllowed: "there is no page at this address",
    errors.TooLarge: "what was sent is too long",
    errors.UnsupportedMediaType: "use the buttons of the page",
    errors.HeadersTooLarge: "delete this site's cookies; if it happens again, your ticket carries too many groups",
    errors.RateLimited: "you ask too often; wait a moment",
}


class Refusals:
    """Renders; decides nothing."""

    def __init__(self, *, setup: Setup, templates: Templates, clock: Clock) -> None:
        self._setup = setup
        self._templates = templates
        self._clock = clock

    def page(
        self, request: web.Request, error: errors.BrokerError, *, headers: Mapping[str, str], request_id: str
    ) -> web.Response:
        """The page of an error, with the error's own status and the headers that it asks for."""
        answer = problems.TABLE[type(error)]
        return self._templates.page(
            _template(error),
            status=answer.status,
            headers=headers,
            title=answer.title,
            hint=error.hint or FOR_PEOPLE.get(type(error), answer.hint),
            told=error.hint,
            code=error.code,
            request_id=request_id,
            now=self._clock.now(),
            again=_again(request, error),
            elsewhere=self._elsewhere(request, error),
            **self._setup.words(request),
        )

    def _elsewhere(self, request: web.Request, error: errors.BrokerError) -> str | None:
        """The address to use instead of this one: made of a configured name, and of the port alone that was asked for."""
        name = self._setup.name_for(request)
        is_wrong = isinstance(error, errors.HostNotAllowed) or guards.host_of(request) != name
        if name is None or not is_wrong:
            return None
        port = guards.port_of(request)
        # By the visitor's own scheme: somebody before us may end TLS.
        return f"//{name}{f':{port}' if port else ''}/"


def _template(error: errors.BrokerError) -> str:
    if isinstance(error, errors.AuthRequired):
        return "welcome.html"
    if type(error) is errors.AuthFailed:
        return "ntlm.html" if error.reason == _NTLM else "ticket.html"
    return "refused.html"


def _again(request: web.Request, error: errors.BrokerError) -> str | None:
    """Where a browser is sent at once that may only have to be asked twice; None for every other, and the second time."""
    is_first = isinstance(error, errors.AuthRequired) and AGAIN not in request.query
    # Whoever showed something has been through a challenge; and nothing but a page is asked for twice.
    is_page = request.method == hdrs.METH_GET and request.path == "/" and hdrs.AUTHORIZATION not in request.headers
    if not (is_first and is_page and visitor_of(request.headers).learns_negotiate):
        return None
    return "/?" + urlencode([*request.query.items(), (AGAIN, "1")])
