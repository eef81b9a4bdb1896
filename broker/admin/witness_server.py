"""What a witness speaks with brokers: ``POST /add-checkpoint`` of c2sp.org/tlog-witness, and nothing else."""

from __future__ import annotations

import logging
import socket

from aiohttp import web

from broker.audit.witness import REQUEST_MAX_BYTES, DamagedState, Refused, Witness
from broker.core.workers import Workers

_log = logging.getLogger(__name__)


def serve(made: Witness, listening: socket.socket) -> None:
    """Until SIGTERM or SIGINT."""
    web.run_app(application(made), sock=listening, print=None, access_log=None)


def application(made: Witness) -> web.Application:
    """What answers ``POST /add-checkpoint``. One request at a time touches what is remembered."""
    worker = Workers(name="witness", number=1)

    async def add(request: web.Request) -> web.Response:
        body = await request.read()
        try:
            line = await worker.do(lambda: made.add(body))
        except Refused as refused:
            _log.warning("refused (%d): %s", refused.status, refused)
            if refused.size is not None:
                return web.Response(status=refused.status, text=f"{refused.size}\n", content_type="text/x.tlog.size")
            return web.Response(status=refused.status, text=f"{refused}\n")
        except (DamagedState, OSError, ValueError) as error:
            _log.error("cannot witness: %s", error)
            return web.Response(status=500, text="this witness has trouble of its own; see its log\n")
        return web.Response(text=line)

    app = web.Application(client_max_size=REQUEST_MAX_BYTES)
    app.router.add_post("/add-checkpoint", add)
    return app
