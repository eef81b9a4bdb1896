"""``POST /v1/credentials``, ``GET /v1/container/{role}``, ``GET /v1/roles``, ``GET /v1/whoami``."""

from __future__ import annotations

from aiohttp import web

from broker import wire
from broker.core.clock import rfc3339
from broker.core.credentials import Credentials as Granted
from broker.core.errors import BadRequest
from broker.issuing.issue import Issuer
from broker.web.negotiate import ask_of, wanted_ask_of


class Credentials:
    """The handlers of the API that users' programs call."""

    def __init__(self, *, issuer: Issuer) -> None:
        self._issuer = issuer

    async def post(self, request: web.Request) -> web.Response:
        """One role's credentials, in the body that credential_process and the container provider both read."""
        ask = ask_of(request)
        try:
            wanted = wire.parse_credentials_request(await request.read())
        except ValueError as error:
            raise BadRequest(str(error), hint=str(error)) from error
        return _answer(await self._issuer.issue(ask, role=wanted.role))

    async def container(self, request: web.Request) -> web.Response:
        """The same for the SDKs' container provider, which can only GET; so nothing ambient counts here."""
        return _answer(await self._issuer.issue(wanted_ask_of(request), role=request.match_info["role"]))

    async def roles(self, request: web.Request) -> web.Response:
        """The roles the caller may have."""
        standing = await self._issuer.standing(ask_of(request), action="list_roles")
        roles = [
            {"name": role.name, "account": role.target.account, "role_arn": role.target.text} for role in standing.roles
        ]
        return web.Response(body=wire.roles_body(roles), content_type=wire.JSON)

    async def whoami(self, request: web.Request) -> web.Response:
        """Who the caller is to the broker."""
        identity = (await self._issuer.standing(ask_of(request), action="whoami")).identity
        body = wire.whoami_body(
            principal=str(identity.principal),
            realm=identity.principal.realm,
            name_type=identity.principal.name_type.name.lower(),
            ticket_ends=rfc3339(identity.ticket_end),
        )
        return web.Response(body=body, content_type=wire.JSON)


def _answer(credentials: Granted) -> web.Response:
    body = wire.credentials_body(
        access_key_id=credentials.access_key_id,
        secret_access_key=credentials.secret_access_key.reveal(),
        session_token=credentials.session_token.reveal(),
        expiration=rfc3339(credentials.expiration),
        account=credentials.account,
        role_arn=credentials.role_arn,
    )
    return web.Response(body=body, content_type=wire.JSON)
