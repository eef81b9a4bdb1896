"""``/healthz``, ``/readyz``, ``/metrics`` and what is published under ``/.well-known``: for machines, without a ticket."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

# None where a dependency works, else what is wrong with it.
Probe = Callable[[], Awaitable[str | None]]


class Health:
    """What the broker says of itself."""

    def __init__(
        self,
        *,
        probes: Mapping[str, Probe],
        vital: frozenset[str],
        withheld: Callable[[], bool],
        metrics: Callable[[], bytes],
        documents: Mapping[str, Callable[[], Mapping[str, object]]],
    ) -> None:
        """Take the probes by the name of their dependency; ``vital`` are those without which nothing is handed out.

        ``withheld`` says whether the keys are, which may ail long before that.

        ``documents`` are published as JSON, each at its path: public keys, as they are when somebody asks,
        and what says where they are.
        """
        self._probes = probes
        self._vital = vital
        self._withheld = withheld
        self._metrics = metrics
        self.documents = documents
        self.draining = False

    async def alive(self, _: web.Request) -> web.Response:
        """The event loop turns."""
        return web.json_response({"status": "ok"})

    async def ready(self, _: web.Request) -> web.Response:
        """Each dependency. 503 only where no request can be served."""
        found = {name: await probe() for name, probe in self._probes.items()}
        ill = {name for name, fault in found.items() if fault is not None}
        unfit = self.draining or self._withheld() or bool(ill & self._vital)
        body = {
            "status": "draining" if self.draining else "degraded" if ill else "ok",
            "dependencies": {
                name: {"status": "degraded", "reason": fault} if fault else {"status": "ok"}
                for name, fault in found.items()
            },
        }
        return web.json_response(body, status=503 if unfit else 200)

    async def metrics(self, _: web.Request) -> web.Response:
        """Prometheus text format."""
        return web.Response(body=self._metrics(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def document(self, request: web.Request) -> web.Response:
        """One of the published documents."""
        document = self.documents[request.path]()
        return web.Response(body=json.dumps(document).encode(), content_type="application/json")
