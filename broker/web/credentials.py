"""``POST /v1/credentials``, ``GET /v1/container/{role}``, ``POST /v1/console``, ``GET /v1/roles``, ``GET /v1/whoami``."""

from __future__ import annotations

from functools import lru_cache

import orjson
from aiohttp import web

from broker import wire, wire_standing
from broker.core.clock import rfc3339
from broker.core.credentials import Credentials as Granted
from broker.core.errors import BadRequest
from broker.core.roles import Role
from broker.issuing.issue import Issuer
from broker.issuing.standing import Desk
from broker.web.negotiate import ask_of, wanted_ask_of

_REMEMBERED = 256


class Credentials:
    """The handlers of the API that users' programs call."""

    def __init__(self, *, issuer: Issuer, desk: Desk) -> None:
        self._issuer = issuer
        self._desk = desk

    async def post(self, request: web.Request) -> web.Response:
        """One role's credentials, in the body that credential_process and the container provider both read."""
        ask = ask_of(request)
        try:
            wanted = _wanted(await request.read())
        except ValueError as error:
            raise BadRequest(str(error), hint=str(error)) from error
        credentials = await self._issuer.issue(ask, role=wanted.role, scope=wanted.scope, reason=wanted.reason)
        return _answer(credentials)

    async def container(self, request: web.Request) -> web.Response:
        """The same for the SDKs' container provider, which can only GET; so nothing ambient counts here."""
        ask = wanted_ask_of(request)
        scope, reason = _query(request)
        role = request.match_info["role"]
        return _answer(await self._issuer.issue(ask, role=role, scope=scope, reason=reason))

    async def console(self, request: web.Request) -> web.Response:
        """A URL that opens the AWS console as a role; AWS sends people back to our page when their session has ended."""
        ask = ask_of(request)
        try:
            wanted = wire.parse_console_request(await request.read())
        except ValueError as error:
            raise BadRequest(str(error), hint=str(error)) from error
        url = await self._issuer.open_console(
            ask,
            role=wanted.role,
            scope=wanted.scope,
            destination=wanted.destination,
            reason=wanted.reason,
            issuer=f"https://{request.host}/" if request.secure else None,
        )
        return web.Response(body=wire.console_body(url.reveal()), content_type=wire.JSON)

    async def roles(self, request: web.Request) -> web.Response:
        """The roles the caller may have."""
        standing = await self._desk.standing(ask_of(request), action="list_roles")
        roles = [
            {
                "name": role.name,
                **_account(role),
                "role_arn": role.target.text,
                "scopes": [scope.name for scope in role.scopes],
                "needs": list(standing.needs[role.name]),
            }
            for role in standing.roles
        ]
        return web.Response(body=wire.roles_body(roles), content_type=wire.JSON)

    async def whoami(self, request: web.Request) -> web.Response:
        """Who the caller is to the broker."""
        standing = await self._desk.standing(ask_of(request), action="whoami")
        identity = standing.identity
        body = wire.whoami_body(
            principal=str(identity.principal),
            realm=identity.principal.realm,
            name_type=identity.principal.name_type.name.lower(),
            ticket_ends=rfc3339(identity.ticket_end),
            accounts={role.target.account: _account(role) for role in standing.roles}.values(),
        )
        return web.Response(body=body, content_type=wire.JSON)


@lru_cache(maxsize=_REMEMBERED)
def _wanted(body: bytes) -> wire.CredentialsRequest:
    """What a program asks for it asks for again, octet by octet."""
    return wire.parse_credentials_request(body)


def _account(role: Role) -> dict[str, object]:
    """An account's number, what the operator calls it, and whether they marked it."""
    alias = {} if role.account_alias is None else {"account_alias": role.account_alias}
    return {"account": role.target.account, **alias, "production": role.production}


def _query(request: web.Request) -> tuple[str | None, str | None]:
    """``?scope=NAME&reason=TEXT``; an SDK is given its whole address and can send nothing else, so this is where they fit."""
    try:
        return wire_standing.parse_container_query(request.query.items())
    except ValueError as error:
        raise BadRequest(str(error), hint=str(error)) from error


def _answer(credentials: Granted) -> web.Response:
    members = wire.credentials_members(
        access_key_id=credentials.access_key_id,
        secret_access_key=credentials.secret_access_key.reveal(),
        session_token=credentials.session_token.reveal(),
        expiration=rfc3339(credentials.expiration),
        account=credentials.account,
        role_arn=credentials.role_arn,
    )
    return web.Response(body=orjson.dumps(members), content_type=wire.JSON)
