"""``GET /v1/explain/{role}``."""

from __future__ import annotations

from aiohttp import web

from broker import wire
from broker.issuing.explain import Explainer
from broker.web.negotiate import ask_of


class Explain:
    """The handler."""

    def __init__(self, *, explainer: Explainer) -> None:
        self._explainer = explainer

    async def get(self, request: web.Request) -> web.Response:
        """What stands between the caller and a role."""
        found = await self._explainer.prospect(ask_of(request), role=request.match_info["role"])
        target = None if found.grant is None else found.grant.role.target
        body = wire.explain_body(
            verdict=found.verdict,
            hint=found.hint,
            account=None if target is None else target.account,
            role_arn=None if target is None else target.text,
        )
        return web.Response(body=body, content_type=wire.JSON)
