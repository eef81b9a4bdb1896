"""What an agent's socket answers: the broker's own ``POST /v1/credentials``, for whom the socket and no ticket makes known."""

from __future__ import annotations

from broker import wire
from zerotrust_kerberos.agent.http import Reply, Request
from zerotrust_kerberos.agent.source import Source
from zerotrust_kerberos.by_agent import CACHE_HEADER
from zerotrust_kerberos.failures import EXIT_APPROVAL, EXIT_DENIED, EXIT_THROTTLED, EXIT_TICKET, Failure
from zerotrust_kerberos.settings import Settings

_STATUS = {EXIT_TICKET: 401, EXIT_DENIED: 403, EXIT_APPROVAL: 403, EXIT_THROTTLED: 429}
_ELSE = 503


class Surface:
    """Of one user."""

    def __init__(self, source: Source, settings: Settings) -> None:
        self._source = source
        self._authority = settings.broker.authority

    async def answer(self, request: Request) -> Reply:
        """Answer one request of this user."""
        if request.headers.get("host") != self._authority:
            # Another broker's roles may have the same names.
            return _problem(Failure("host_not_allowed", "this agent is another broker's"), 421)
        if (request.method, request.path) != ("POST", wire.CREDENTIALS_PATH):
            return _problem(Failure("not_found", "an agent answers POST /v1/credentials"), 404)
        if request.is_foreign or request.headers.get(wire.REQUEST_HEADER.lower()) != wire.REQUEST_HEADER_VALUE:
            # A socket becomes a port by `ssh -L` or a proxy, and a port is within reach of every page.
            said = f"an agent is for programs that send {wire.REQUEST_HEADER}, not for browsers or proxies"
            return _problem(Failure("cross_site_blocked", said), 403)
        try:
            wanted = wire.parse_credentials_request(request.body)
        except ValueError as error:
            return _problem(Failure("bad_request", str(error)), 400)
        try:
            body = await self._source.credentials(
                role=wanted.role,
                scope=wanted.scope,
                reason=wanted.reason,
                cache=request.headers.get(CACHE_HEADER.lower()),
            )
        except Failure as failure:
            return _problem(failure, _STATUS.get(failure.exit_status, _ELSE))
        return Reply(200, body, kind=wire.JSON)


def _problem(failure: Failure, status: int) -> Reply:
    body = wire.problem_body(
        code=failure.code, status=status, title="No credentials", hint=failure.detail, request_id=""
    )
    return Reply(status, body, kind=wire.PROBLEM_JSON, headers={"Retry-After": str(failure.wait)})
