"""What cannot be read as HTTP: answered in our own words, and never repeated.

aiohttp answers such bytes before any middleware runs, and quotes up to a hundred of them in the body and, with a stack trace, in
the log: the beginning of a ticket that is too long, and as much log as an attacker cares to write. There is no public way
to change that, so the one method that does it is replaced.
"""

from __future__ import annotations

import logging
import secrets

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from aiohttp.web_protocol import RequestHandler

from broker import wire
from broker.core import errors
from broker.core.happening import Happening
from broker.web import guards, problems

# A user in a thousand groups sends 25 kB of delegated ticket; aiohttp's own limit is 8 kB.
HEADER_BYTES = 131_072

# Faults of what a client sent, in a body too.
CLIENT_FAULTS = (HttpProcessingError, web.RequestPayloadError)

_REQUEST_ID_BYTES = 12

_log = logging.getLogger(__name__)


def refusal(error: BaseException | None, *, status: int) -> web.Response:
    """The answer to bytes that are no request (400, 431), or to a defect of ours (500)."""
    request_id = secrets.token_hex(_REQUEST_ID_BYTES)
    found: errors.BrokerError
    if isinstance(error, LineTooLong):
        found = errors.HeadersTooLarge()
    elif status < 500:  # noqa: PLR2004
        found = errors.BadRequest(hint="send a request as RFC 9112 describes it")
    else:
        found = errors.InternalError()
        _log.error(
            "request %s: a defect", request_id, exc_info=error, extra=Happening.DEFECT.said(request_id=request_id)
        )
    response = web.Response(
        body=problems.body(found, request_id=request_id),
        status=problems.TABLE[type(found)].status,
        headers={**guards.SECURITY_HEADERS, "X-Request-Id": request_id},
        content_type=wire.PROBLEM_JSON,
    )
    response.force_close()
    return response


class Handler(RequestHandler):
    """aiohttp's connection handler, in our words."""

    __slots__ = ()

    def log_exception(self, *args: object, **kw: object) -> None:
        """Log defects of ours."""
        # The rest of a body that was refused already may be garbage too; a client must not fill the log with traces.
        if not isinstance(kw.get("exc_info"), CLIENT_FAULTS):
            super().log_exception(*args, **kw)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002  # this is where the quoted bytes are
    ) -> web.StreamResponse:
        """Answer what is no request."""
        if isinstance(exc, ConnectionError):
            raise exc  # The client has gone in the middle of its body; that is no defect, and nobody is left to hear of it.
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun; nothing can be said any more")
        return refusal(exc, status=status)
