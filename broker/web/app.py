"""Routes and middlewares, all of them, in the order in which they act."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Awaitable, Callable, Sequence

from aiohttp import HttpVersion11, hdrs, web
from aiohttp.typedefs import Handler, Middleware

from broker import wire, wire_elevation, wire_operators, wire_secrets, wire_standing
from broker.core import errors
from broker.core.clock import Clock
from broker.core.happening import Happening
from broker.issuing.alerts import Alerts
from broker.issuing.elevate import Elevation
from broker.issuing.explain import Explainer
from broker.issuing.issue import Issuer
from broker.issuing.keys import KeyDesk
from broker.issuing.notify import NotificationTest
from broker.issuing.operators import OperatorsDoor
from broker.issuing.overview import Overviews
from broker.issuing.passes import PassOffice
from broker.issuing.review import Reviews
from broker.issuing.revoke import Revocations
from broker.issuing.secrets import SecretDesk
from broker.issuing.standing import Desk
from broker.web import guards, problems
from broker.web.address import ADDRESS, Address, address_of
from broker.web.admin import Admin
from broker.web.credentials import Credentials
from broker.web.health import Health
from broker.web.keys import KeysDoor
from broker.web.negotiate import REQUEST_ID, TLS, prove_ourselves
from broker.web.openapi import document as openapi
from broker.web.passes import Passes
from broker.web.portal.actions import Actions
from broker.web.portal.failures import Failures
from broker.web.portal.page import Page
from broker.web.portal.refusals import Refusals
from broker.web.portal.render import Templates
from broker.web.portal.setup import Setup
from broker.web.requests import Requests, ReviewsDoor
from broker.web.secrets import Secrets
from broker.web.sessions import Sessions
from broker.web.standing import Explain, StandingDoor
from broker.web.tls import ServerTls
from broker.web.unreadable import CLIENT_FAULTS

_log = logging.getLogger(__name__)

_REQUEST_ID_BYTES = 12
_ID = "{id:[0-9a-f]{32}}"

Limit = Callable[[Address | None], Awaitable[None]]
# Told of each answer: its route as it stands in the list, its status, and the seconds it took.
Answered = Callable[[str, int, float], None]
# What no route is meant by: nobody's made-up path becomes a label.
_NO_ROUTE = "other"


def build(
    *,
    issuer: Issuer,
    desk: Desk,
    overviews: Overviews,
    explainer: Explainer,
    office: PassOffice,
    operators: OperatorsDoor,
    revocations: Revocations,
    notification_test: NotificationTest,
    elevation: Elevation,
    reviews: Reviews,
    alerts: Alerts,
    secret_desk: SecretDesk,
    key_desk: KeyDesk,
    health: Health,
    answered: Answered,
    hostnames: Sequence[str],
    admission: Callable[[], guards.Admission],
    limit: Limit,
    tls: ServerTls | None,
    clock: Clock,
) -> web.Application:
    """The application.

    Args:
        issuer: The broker itself.
        desk: What people ask about themselves.
        overviews: What the page shows.
        explainer: What tells people where they stand.
        office: What makes and ends job passes.
        operators: What lets operators in.
        revocations: What they can take from people.
        notification_test: How they try whether people would be told.
        elevation: What opens time boxes.
        reviews: What was broken open.
        alerts: What they can give back that the watch took.
        secret_desk: What asks the vault.
        key_desk: What operators see and rotate of keys.
        health: What it says of itself.
        answered: Told of each answer.
        hostnames: The names a Host header may carry, lower case; the first is the one that people are sent to.
        admission: From where somebody may ask, as it is now.
        limit: Raises where an address asks too often.
        tls: The TLS side of the listeners, where there is one.
        clock: The time, to say how long things last.
    """
    templates = Templates()
    page = Page(overviews=overviews, templates=templates)
    setup = Setup(names=hostnames, templates=templates)
    refusals = Refusals(setup=setup, templates=templates, clock=clock)
    failures = Failures(templates=templates)
    actions = Actions(
        issuer=issuer,
        overviews=overviews,
        desk=desk,
        office=office,
        elevation=elevation,
        templates=templates,
        clock=clock,
    )
    credentials = Credentials(issuer=issuer, desk=desk)
    sessions = Sessions(desk=desk)
    standing, explain = StandingDoor(desk=desk), Explain(explainer=explainer)
    passes = Passes(office=office)
    admin = Admin(door=operators, revocations=revocations, notification_test=notification_test, alerts=alerts)
    vault, a_secret = Secrets(desk=secret_desk), f"{wire_secrets.PREFIX}{{path:.*}}"
    requests, reviewing = Requests(elevation=elevation), ReviewsDoor(door=operators, reviews=reviews)
    keys = KeysDoor(door=operators, desk=key_desk)
    guard = _guard(frozenset(hostnames), admission, limit, health)
    app = web.Application(
        client_max_size=wire.REQUEST_BODY_MAX,
        middlewares=[_answer_errors(refusals, health, answered, https=tls is not None), guard],
    )
    app[TLS] = tls
    for methods, path, handler in (
        ("POST", wire.CREDENTIALS_PATH, credentials.post),
        ("GET", f"{wire.CONTAINER_PATH}/{{role}}", credentials.container),
        ("POST", wire.CONSOLE_PATH, credentials.console),
        ("GET", wire.ROLES_PATH, credentials.roles),
        ("GET", wire.WHOAMI_PATH, credentials.whoami),
        ("GET", wire.EXPLAIN_PATH, explain.all),
        ("GET", f"{wire.EXPLAIN_PATH}/{{role}}", explain.one),
        ("GET", wire_standing.RECENTS_PATH, standing.recents),
        ("GET", wire.SESSIONS_PATH, standing.sessions),
        ("POST", wire.SESSIONS_PATH, sessions.post),
        ("POST", wire_standing.END_ALL_PATH, standing.end_all),
        ("DELETE", wire.CURRENT_SESSION_PATH, sessions.end),
        ("DELETE", f"{wire.SESSIONS_PATH}/{_ID}", standing.end),
        ("GET", wire.PASSES_PATH, standing.passes),
        ("POST", wire.PASSES_PATH, passes.post),
        ("POST", f"{wire.PASSES_PATH}/current/renew", passes.renew),
        ("POST", f"{wire.PASSES_PATH}/current/attenuate", passes.attenuate),
        ("DELETE", f"{wire.PASSES_PATH}/current", passes.give_back),
        ("DELETE", f"{wire.PASSES_PATH}/{_ID}", passes.cancel),
        ("POST", wire.REQUESTS_PATH, requests.post),
        ("GET", wire.REQUESTS_PATH, requests.listing),
        ("GET", f"{wire.REQUESTS_PATH}/{_ID}", requests.show),
        ("POST", f"{wire.REQUESTS_PATH}/{_ID}/approve", requests.approve),
        ("POST", f"{wire.REQUESTS_PATH}/{_ID}/deny", requests.deny),
        ("GET", wire_elevation.REVIEWS_PATH, reviewing.listing),
        ("POST", wire_elevation.CLOSE_PATH, reviewing.close),
        ("GET", wire_operators.WHOAMI_PATH, admin.whoami),
        ("POST", wire_operators.CANCEL_PATH, admin.cancel_pass),
        ("GET", wire_operators.REVOCATIONS_PATH, admin.revocations),
        ("POST", wire_operators.REVOCATIONS_PATH, admin.revoke),
        ("POST", wire_operators.RESTORE_PATH, admin.restore),
        ("POST", wire_operators.NOTIFICATION_TEST_PATH, admin.test_notification),
        ("GET", wire_operators.ALERTS_PATH, admin.alerts),
        ("POST", wire_operators.CLEAR_PATH, admin.clear_alert),
        ("GET", wire_operators.KEYS_PATH, keys.status),
        ("POST", wire_operators.ROTATE_PATH, keys.rotate),
        ("GET", wire_secrets.SECRETS_PATH, vault.listing),
        ("GET", a_secret, vault.get),
        ("PUT", a_secret, vault.put),
        ("DELETE", a_secret, vault.delete),
        ("POST", a_secret, vault.post),
        ("GET", "/", page.show),
        ("POST", f"{guards.FORMS}console", actions.console),
        ("POST", f"{guards.FORMS}credentials", actions.credentials),
        ("POST", f"{guards.FORMS}requests", actions.ask_for),
        ("POST", f"{guards.FORMS}requests/{_ID}/approve", actions.approve),
        ("POST", f"{guards.FORMS}requests/{_ID}/deny", actions.deny),
        ("POST", f"{guards.FORMS}sessions/{_ID}/end", actions.end_session),
        ("POST", f"{guards.FORMS}passes/{_ID}/cancel", actions.cancel_pass),
        ("POST", f"{guards.FORMS}end-all", actions.end_all),
        ("POST", f"{guards.FORMS}sign-out", actions.sign_out),
        ("GET HEAD", "/setup", setup.show),
        ("GET HEAD", "/setup/{file}", setup.file),
        ("GET HEAD", "/signed-out", page.signed_out),
        ("GET HEAD", "/page.css", page.style),
        ("GET HEAD", "/page.js", page.script),
        ("GET HEAD", "/icon.svg", page.icon),
        ("GET HEAD", "/healthz", health.alive),
        ("GET HEAD", "/readyz", health.ready),
        ("GET HEAD", "/metrics", health.metrics),
        ("GET HEAD", openapi.PATH, openapi.serve),
        ("GET HEAD", wire.PROBLEMS_PATH, failures.listing),
        ("GET HEAD", f"{wire.PROBLEMS_PATH}/{{code}}", failures.one),
        *(("GET HEAD", path, health.document) for path in health.documents),
    ):
        resource = app.router.add_resource(path)
        for method in methods.split():
            resource.add_route(method, handler, expect_handler=_expectation)
    return app


def _answer_errors(refusals: Refusals, health: Health, answered: Answered, *, https: bool) -> Middleware:
    """The outermost: whatever happens inside becomes one of our answers, with a request id and the security headers."""
    headers = dict(guards.SECURITY_HEADERS)
    if https:
        headers["Strict-Transport-Security"] = "max-age=31536000"

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        started = time.perf_counter()
        request[REQUEST_ID] = os.urandom(_REQUEST_ID_BYTES).hex()
        try:
            response = await handler(request)
        except errors.BrokerError as error:
            response = _problem(request, error, refusals)
        except web.HTTPException as error:
            response = _problem(request, _translated(error), refusals)
        except CLIENT_FAULTS:
            # The body breaks off or is not encoded as its headers say.
            response = _problem(request, errors.BadRequest(), refusals)
        except ConnectionError:
            raise  # The client is gone: there is nobody to answer, and nothing is broken.
        except Exception:  # noqa: BLE001  # logged with its trace; the client gets 500 and no detail
            _log.exception(
                "request %s: a defect", request[REQUEST_ID], extra=Happening.DEFECT.said(request_id=request[REQUEST_ID])
            )
            response = _problem(request, errors.InternalError(), refusals)
        for name, value in headers.items():
            # A page with forms says itself where they go.
            response.headers.setdefault(name, value)
        response.headers["X-Request-Id"] = request[REQUEST_ID]
        prove_ourselves(request, response)
        if health.draining:
            response.force_close()
        answered(_route(request), response.status, time.perf_counter() - started)
        return response

    return middleware


def _route(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return _NO_ROUTE if resource is None else resource.canonical


async def _expectation(request: web.Request) -> None:
    """``Expect``, RFC 9110 section 10.1.1. aiohttp's own answer repeats what it does not understand; we need not heed it."""
    if request.version == HttpVersion11 and request.headers.get(hdrs.EXPECT, "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # The answer itself has not begun.


def _guard(
    hostnames: frozenset[str],
    admission: Callable[[], guards.Admission],
    limit: Limit,
    health: Health,
) -> Middleware:
    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        admitted = admission()
        address = request[ADDRESS] = address_of(request, trusted=admitted.proxies)
        guards.check(request, address=address, hostnames=hostnames, networks=admitted.networks)
        # After the guards: another site's page must not use up what its visitor's address may ask.
        if request.path not in guards.PROBES:
            await limit(address)
        if health.refusing and request.path.startswith(("/v1/", guards.FORMS)):
            raise errors.Draining
        return await handler(request)

    return middleware


def _problem(request: web.Request, error: errors.BrokerError, refusals: Refusals) -> web.Response:
    headers = problems.headers(error)
    if "text/html" in request.headers.get(hdrs.ACCEPT, ""):
        return refusals.page(request, error, headers=headers, request_id=request[REQUEST_ID])
    body = problems.body(error, request_id=request[REQUEST_ID])
    status = problems.TABLE[type(error)].status
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
