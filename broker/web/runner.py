"""The accept loop, and how it ends: nobody who has connected is hung up on for it, and systemd's socket goes on without us.

What clients owe us once they are in is ``connections``' matter.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from datetime import timedelta

from aiohttp import web

from broker.web.connections import ENCRYPTED, HEAD_WITHIN, Connections, Server
from broker.web.unreadable import HEADER_BYTES

# The client's part in ending TLS.
_GOODBYE_WITHIN = timedelta(seconds=2)
_LOOK_EVERY = timedelta(seconds=0.5)
# When the broker ends. Whoever asks one thing after the other does so within the first; who is on the way in with a handshake or
# a head has the second.
_ONCE_MORE = timedelta(seconds=0.5)
_ON_THE_WAY = timedelta(seconds=2)
_LAST_LOOK_EVERY = timedelta(seconds=0.02)

# Taken at one go, so that a flood of new ones does not hold up those that are in.
_TAKEN_AT_ONCE = 16
# At most so many wait to be taken (``daemon.sockets``): to close a socket would be to hang up on them.
_QUEUED = 1024
# After an accept(2) that failed for want of descriptors or memory.
_PAUSE = timedelta(seconds=0.25)

_log = logging.getLogger(__name__)


class Runner(web.AppRunner):
    """Runs an application behind such a door."""

    def __init__(self, app: web.Application, *, connections: Connections, shutdown_timeout: float) -> None:
        super().__init__(
            app,
            access_log=None,
            max_field_size=HEADER_BYTES,
            keepalive_timeout=0,  # no timer of aiohttp's
            shutdown_timeout=shutdown_timeout,
        )
        self._connections = connections
        self._next_look: asyncio.TimerHandle | None = None

    async def listen(self, listening: socket.socket, *, tls: ssl.SSLContext | None) -> None:
        """Serve what connects to this socket, until ``cleanup()``."""
        await _Site(self, listening, connections=self._connections, tls=tls).start()

    async def last_orders(self) -> None:
        """Take in who stands at the door and nobody else, and wait for who may ask once more: every answer ends a connection now.

        A client that keeps its connection and one that has just connected thereby get what they ask for, where a connection that
        is closed under their hands would be an error to them.
        """
        for site in list(self.sites):
            if isinstance(site, _Site):
                site.leave()
        loop = asyncio.get_running_loop()
        began = loop.time()
        while self._connections.number:
            waited = loop.time() - began
            longest = _ON_THE_WAY if self._connections.is_owed else _ONCE_MORE
            if waited >= longest.total_seconds():
                return
            await asyncio.sleep(_LAST_LOOK_EVERY.total_seconds())

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        # aiohttp makes the server and its protocols itself and takes no class for either.
        server.__class__ = Server
        assert isinstance(server, Server)  # noqa: S101
        server.door = self._connections
        self._look_round()
        return server

    async def _cleanup_server(self) -> None:
        if self._next_look is not None:
            self._next_look.cancel()
        await super()._cleanup_server()

    def _look_round(self) -> None:
        loop = asyncio.get_running_loop()
        self._connections.look_round(loop.time())
        self._next_look = loop.call_later(_LOOK_EVERY.total_seconds(), self._look_round)


class _Site(web.BaseSite):
    """Takes connections from a socket: uvloop's own server closes itself when descriptors run out, and cannot be told to wait."""

    __slots__ = ("_connections", "_listening", "_loop", "_serving", "_tls")

    def __init__(
        self, runner: Runner, listening: socket.socket, *, connections: Connections, tls: ssl.SSLContext | None
    ) -> None:
        super().__init__(runner)
        self._connections = connections
        self._listening = listening
        self._loop = asyncio.get_running_loop()
        self._serving: set[asyncio.Future[None]] = set()
        self._tls = tls

    @property
    def name(self) -> str:
        return str(self._listening.getsockname())

    async def start(self) -> None:
        await super().start()
        self._listening.setblocking(False)
        self._resume()

    def leave(self) -> None:
        """Take in who has connected already, and nobody else. A socket that systemd or another instance holds too goes on."""
        if self._listening.fileno() < 0:
            return
        self._take(most=_QUEUED)
        self._loop.remove_reader(self._listening)
        self._listening.close()

    async def stop(self) -> None:
        self.leave()
        for task in self._serving:
            task.cancel()
        await super().stop()

    def _resume(self) -> None:
        if self._listening.fileno() >= 0:
            self._loop.add_reader(self._listening, self._take)

    def _take(self, most: int = _TAKEN_AT_ONCE) -> None:
        for _ in range(most):
            try:
                accepted, _address = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionError):
                return
            except OSError as error:
                _log.warning("no connection can be taken: %s", error.strerror)
                self._loop.remove_reader(self._listening)
                self._loop.call_later(_PAUSE.total_seconds(), self._resume)
                return
            if not self._connections.make_room():
                accepted.close()
                continue
            serving = asyncio.ensure_future(self._serve(accepted))
            self._serving.add(serving)
            serving.add_done_callback(self._serving.discard)

    async def _serve(self, accepted: socket.socket) -> None:
        accepted.setblocking(False)
        server = self._runner.server
        assert isinstance(server, Server)  # noqa: S101
        connection = server()
        connection.socket = accepted
        if self._tls is not None:
            connection.weight = ENCRYPTED
        self._connections.add(connection)
        try:
            await self._loop.connect_accepted_socket(
                lambda: connection,
                accepted,
                ssl=self._tls,
                ssl_handshake_timeout=HEAD_WITHIN.total_seconds() if self._tls else None,
                ssl_shutdown_timeout=_GOODBYE_WITHIN.total_seconds() if self._tls else None,
            )
        except OSError:
            # No TLS, no common version, no certificate of theirs, or gone: nothing has been asked yet.
            self._connections.remove(connection)
