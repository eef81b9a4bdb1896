"""What people ask about themselves, and end: ``GET /v1/sessions``, ``/v1/passes``, ``/v1/recents`` and ``/v1/explain``."""

from __future__ import annotations

from aiohttp import web

from broker import wire, wire_standing
from broker.core.clock import rfc3339
from broker.issuing.explain import Explainer, Prospect
from broker.issuing.standing import Desk
from broker.web import cookie
from broker.web.negotiate import ask_of, read_nothing


class StandingDoor:
    """The handlers of what is listed and ended."""

    def __init__(self, *, desk: Desk) -> None:
        self._desk = desk

    async def sessions(self, request: web.Request) -> web.Response:
        """One's sessions."""
        found = await self._desk.sessions(ask_of(request))
        rows = [
            {
                "id": one.id,
                "kind": one.kind,
                "made": rfc3339(one.made),
                "ends": rfc3339(one.ends),
                "address": one.address,
                "current": one.is_current,
            }
            for one in found.items
        ]
        return _answer(wire_standing.sessions_body(rows, is_complete=found.is_complete))

    async def passes(self, request: web.Request) -> web.Response:
        """One's job passes."""
        found = await self._desk.passes(ask_of(request))
        rows = [
            {
                "id": one.id,
                "role": one.role,
                "networks": list(one.networks),
                "made": rfc3339(one.made),
                "expires": rfc3339(one.ends),
                "renewable_until": rfc3339(one.renewable_until),
                "address": one.address,
            }
            for one in found.items
        ]
        return _answer(wire_standing.passes_body(rows, is_complete=found.is_complete))

    async def recents(self, request: web.Request) -> web.Response:
        """What one had lately."""
        found = await self._desk.recents(ask_of(request))
        rows = [
            {
                "role": one.role,
                "scope": one.scope,
                "how": one.how,
                "at": rfc3339(one.at),
                "address": one.address,
                "via": one.via,
            }
            for one in found.items
        ]
        return _answer(wire_standing.recents_body(rows, is_complete=found.is_complete))

    async def end(self, request: web.Request) -> web.Response:
        """End one of one's sessions, by its id."""
        ask = ask_of(request)
        await read_nothing(request)
        await self._desk.end(ask, request.match_info["id"])
        return web.Response(status=204)

    async def end_all(self, request: web.Request) -> web.Response:
        """End all of them and every job pass; the browser that asks forgets its cookie."""
        ask = ask_of(request)
        await read_nothing(request)
        await self._desk.end_all(ask)
        response = web.Response(status=204)
        cookie.take(response)
        return response


class Explain:
    """The handlers of why not."""

    def __init__(self, *, explainer: Explainer) -> None:
        self._explainer = explainer

    async def one(self, request: web.Request) -> web.Response:
        """What stands between the caller and a role."""
        found = await self._explainer.prospect(ask_of(request), role=request.match_info["role"])
        return _answer(wire_standing.prospect_body(_members(found)))

    async def all(self, request: web.Request) -> web.Response:
        """The same of each of their roles."""
        found = await self._explainer.prospects(ask_of(request))
        return _answer(wire_standing.prospects_body({"role": one.role, **_members(one)} for one in found))


def _members(found: Prospect) -> dict[str, object]:
    members: dict[str, object] = {"verdict": found.verdict, "hint": found.hint, "needs": list(found.needs)}
    if found.grant is not None:
        target = found.grant.role.target
        members |= {"account": target.account, "role_arn": target.text}
    if found.step_up is not None:
        age = found.step_up.max_ticket_age
        members["step_up"] = {
            "indicators": list(found.step_up.indicators),
            "max_ticket_age": None if age is None else int(age.total_seconds()),
            "channel_binding": found.step_up.channel_binding,
        }
    return members


def _answer(body: bytes) -> web.Response:
    return web.Response(body=body, content_type=wire.JSON)
