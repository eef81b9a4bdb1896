"""Routes and middlewares, all of them, in the order in which they act."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from broker import wire
from broker.core import errors
from broker.issuing.issue import Issuer
from broker.web import guards, problems
from broker.web.credentials import Credentials
from broker.web.guards import Network
from broker.web.health import Health
from broker.web.negotiate import REQUEST_ID, TLS, prove_ourselves
from broker.web.portal.page import Page
from broker.web.tls import ServerTls

_log = logging.getLogger(__name__)

_REQUEST_ID_BYTES = 12


def build(
    *, issuer: Issuer, health: Health, hostnames: frozenset[str], networks: Sequence[Network], tls: ServerTls | None
) -> web.Application:
    """The application.

    Args:
        issuer: The broker itself.
        health: What it says of itself.
        hostnames: The names a Host header may carry, lower case.
        networks: Who may ask at all; empty for anybody.
        tls: The TLS side of the listeners, where there is one.
    """
    page = Page(issuer=issuer)
    credentials = Credentials(issuer=issuer)
    app = web.Application(
        client_max_size=wire.REQUEST_BODY_MAX,
        middlewares=[_answer_errors(page, health, https=tls is not None), _guard(hostnames, networks, health)],
    )
    app[TLS] = tls
    app.router.add_post(wire.CREDENTIALS_PATH, credentials.post)
    app.router.add_get(wire.ROLES_PATH, credentials.roles, allow_head=False)
    app.router.add_get(wire.WHOAMI_PATH, credentials.whoami, allow_head=False)
    app.router.add_get("/", page.show, allow_head=False)
    app.router.add_get("/page.css", page.style)
    app.router.add_get("/healthz", health.alive)
    app.router.add_get("/readyz", health.ready)
    app.router.add_get("/metrics", health.metrics)
    app.router.add_get("/.well-known/jwks.json", health.jwks)
    return app


def _answer_errors(page: Page, health: Health, *, https: bool) -> Middleware:
    """The outermost: whatever happens inside becomes one of our answers, with a request id and the security headers."""
    headers = dict(guards.SECURITY_HEADERS)
    if https:
        headers["Strict-Transport-Security"] = "max-age=31536000"

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        request[REQUEST_ID] = secrets.token_hex(_REQUEST_ID_BYTES)
        try:
            response = await handler(request)
        except errors.BrokerError as error:
            response = _problem(request, error, page)
        except web.HTTPException as error:
            response = _problem(request, _translated(error), page)
        except Exception:  # noqa: BLE001  # logged with its trace; the client gets 500 and no detail
            _log.exception("request %s: a defect", request[REQUEST_ID])
            response = _problem(request, errors.InternalError(), page)
        response.headers.update(headers)
        response.headers["X-Request-Id"] = request[REQUEST_ID]
        prove_ourselves(request, response)
        if health.draining:
            response.force_close()
        return response

    return middleware


def _guard(hostnames: frozenset[str], networks: Sequence[Network], health: Health) -> Middleware:
    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        guards.check(request, hostnames=hostnames, networks=networks)
        if health.draining and request.path.startswith("/v1/"):
            raise errors.Draining
        return await handler(request)

    return middleware


def _problem(request: web.Request, error: errors.BrokerError, page: Page) -> web.Response:
    status = problems.TABLE[type(error)].status
    headers = problems.headers(error)
    if "text/html" in request.headers.get(hdrs.ACCEPT, ""):
        return page.problem(error, status=status, headers=headers, request_id=request[REQUEST_ID])
    body = problems.body(error, request_id=request[REQUEST_ID])
    return web.Response(body=body, status=status, headers=headers, content_type=wire.PROBLEM_JSON)


def _translated(error: web.HTTPException) -> errors.BrokerError:
    """What aiohttp refused by itself, in our words."""
    if isinstance(error, web.HTTPMethodNotAllowed):
        return errors.MethodNotAllowed(allowed=tuple(sorted(error.allowed_methods)))
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        return errors.TooLarge()
    if isinstance(error, web.HTTPNotFound):
        return errors.NotFound()
    return errors.BadRequest(error.reason)
