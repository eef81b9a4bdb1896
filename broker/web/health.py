"""``/healthz``, ``/readyz``, ``/metrics`` and what is published under ``/.well-known``: for machines, without a ticket."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from aiohttp import web

from broker.core.clock import rfc3339
from broker.watch.dependencies import Dependencies, State


class Health:
    """What the broker says of itself."""

    def __init__(
        self,
        *,
        dependencies: Dependencies,
        withheld: Callable[[], bool],
        metrics: Callable[[], bytes],
        documents: Mapping[str, Callable[[], Mapping[str, object]]],
    ) -> None:
        """``withheld`` says whether the keys are, which may ail long before that.

        ``documents`` are published as JSON, each at its path: public keys, as they are when somebody asks,
        and what says where they are.
        """
        self._dependencies = dependencies
        self._withheld = withheld
        self._metrics = metrics
        self.documents = documents
        self.draining = False
        # Draining is for who may yet ask elsewhere; in the end everybody is sent there.
        self.refusing = False

    async def alive(self, _: web.Request) -> web.Response:
        """The event loop turns."""
        return web.json_response({"status": "ok"})

    async def ready(self, _: web.Request) -> web.Response:
        """Each dependency. 503 only where no request can be served."""
        found = await self._dependencies.look()
        ill = {name for name, state in found.items() if state.fault is not None}
        unfit = self.draining or self._withheld() or bool(ill & self._dependencies.vital)
        body = {
            "status": "draining" if self.draining else "degraded" if ill else "ok",
            "dependencies": {name: _told(state) for name, state in found.items()},
        }
        return web.json_response(body, status=503 if unfit else 200)

    async def metrics(self, _: web.Request) -> web.Response:
        """Prometheus text format."""
        return web.Response(body=self._metrics(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def document(self, request: web.Request) -> web.Response:
        """One of the published documents."""
        document = self.documents[request.path]()
        return web.Response(body=json.dumps(document).encode(), content_type="application/json")


def _told(state: State) -> dict[str, str]:
    if state.fault is None or state.code is None:
        return {"status": "ok"}
    return {"status": "degraded", "code": state.code, "reason": state.fault, "since": rfc3339(state.since)}
