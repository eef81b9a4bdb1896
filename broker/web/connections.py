"""Who may stand in the door, and for how long. What a client leaves undone costs the broker nothing that lasts.

A client owes us something from the moment it connects: a TLS handshake and the head of a request, later a body, and that it
reads what it asked for. Each has its time, and whoever lets it pass is hung up on, without a word. There is one look round for
all connections, twice a second, instead of a timer for each.

There are fewer places than descriptors, so that Redis, STS and the audit log find one when the door is full, and idle
connections hold no more than ``_BUDGET`` of memory. Beyond either, whoever has been idle for longest makes room: a crowd that
only holds connections keeps nobody out.

aiohttp has no such limits, and takes no protocol class; its connection handler is extended here (see also ``unreadable``).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import resource
import socket
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import NamedTuple, cast

from aiohttp import StreamReader, web

from broker.core.happening import Happening
from broker.web.unreadable import Handler

# Promised: 10 s for a head, 15 s for a body. The rest is for the look round, and for a loop that is busy.
HEAD_WITHIN = timedelta(seconds=9)
BODY_WITHIN = timedelta(seconds=14)
# An answer that has not gone out; our longest is a page.
READ_WITHIN = timedelta(seconds=14)
# Between two requests. A browser closes after a minute or more by itself.
IDLE_WITHIN = timedelta(seconds=75)

# Descriptors that are not clients': Redis (32), STS (10), audit, keytabs, listeners, and what is taken at one go.
_RESERVED = 96
# More helpers than that do not run at one moment.
_MOST = 16_384
# Bytes of an idle connection, measured, with what those before it left to the garbage collector (docs/adr/0007-front-door.md).
_PLAIN, ENCRYPTED = 8 * 1024, 104 * 1024
# OpenSSL and uvloop need most of it. Promised: 100 MiB for whoever does nothing.
_BUDGET = 96 * 1024 * 1024
# At least so many, whatever the limit says: without them there is no service at all.
_LEAST = 16

_NEVER = math.inf

_log = logging.getLogger(__name__)


def places() -> int:
    """How many connections the process can hold; raises its own descriptor limit as far as that is allowed and of use."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    useful = _MOST + _RESERVED
    if soft != resource.RLIM_INFINITY and soft < useful:
        soft = useful if hard == resource.RLIM_INFINITY else min(hard, useful)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return _MOST if soft == resource.RLIM_INFINITY else max(_LEAST, min(_MOST, soft - _RESERVED))


class Connections:
    """All that are open, the oldest first."""

    def __init__(self, *, places: int) -> None:
        self._places = places
        self._open: dict[_Connection, None] = {}
        self._held = 0
        self._full = False
        self.hung_up_on = 0
        self.turned_away = 0

    @property
    def number(self) -> int:
        """How many are open."""
        return len(self._open)

    @property
    def busy(self) -> int:
        """Those that are worked for at this moment."""
        return sum(not connection.is_idle() for connection in self._open)

    @property
    def is_owed(self) -> bool:
        """Whether somebody is on the way in with a request."""
        return any(connection.owes_until != _NEVER for connection in self._open)

    def make_room(self) -> bool:
        """Whether one more may come in; hangs up on the one that has been idle for longest where there is no room."""
        if len(self._open) < self._places and self._held < _BUDGET:
            return True
        if not self._full:
            self._full = True
            _log.warning(
                "the door is full with %d connections: idle ones make room for new ones",
                len(self._open),
                extra=Happening.DOOR_FULL.said(),
            )
        oldest = next((connection for connection in self._open if connection.is_idle()), None)
        if oldest is not None:
            self._hang_up(oldest)
        elif len(self._open) >= self._places:
            self.turned_away += 1
            return False
        return True

    def add(self, connection: _Connection) -> None:
        """It has come in."""
        self._open[connection] = None
        self._held += connection.weight

    def remove(self, connection: _Connection) -> None:
        """It has gone, or is no longer reckoned with."""
        if connection in self._open:
            del self._open[connection]
            self._held -= connection.weight

    def touch(self, connection: _Connection) -> None:
        """It has just been of use: it is the last to make room."""
        if connection in self._open:
            del self._open[connection]
            self._open[connection] = None

    def look_round(self, now: float) -> None:
        """Hang up on everybody whose time has passed."""
        for connection in [connection for connection in self._open if connection.is_overdue(now)]:
            self._hang_up(connection)
        if self._full and len(self._open) < self._places // 2 and self._held < _BUDGET // 2:
            self._full = False
            _log.info("the door is no longer full")

    def _hang_up(self, connection: _Connection) -> None:
        self.remove(connection)
        self.hung_up_on += 1
        connection.hang_up()


class Server(web.Server):
    """Makes the connections' handlers."""

    door: Connections

    def __call__(self) -> _Connection:
        """Make one."""
        connection = _Connection(self, loop=self._loop, **self._kwargs)
        connection.door = self.door
        return connection


class _NoTimer(asyncio.Handle):
    """In the place of aiohttp's timer for idle connections, of which it makes one each; ours are in the look round."""

    def __init__(self) -> None:
        """Nothing is ever scheduled."""

    def cancel(self) -> None:
        """Nothing is."""


_NO_TIMER = _NoTimer()


class _Ended(NamedTuple):
    """All that aiohttp asks of a response that has gone out. It would keep the whole until the next one."""

    keep_alive: bool


_STAY, _GO = _Ended(keep_alive=True), _Ended(keep_alive=False)


class _Connection(Handler):
    """One client. The three times are on the loop's clock: until when it has to send, to read, or to ask again."""

    __slots__ = ("_body", "_wire", "door", "idle_until", "owes_until", "reads_until", "socket", "weight")

    door: Connections

    def __init__(self, manager: web.Server, *, loop: asyncio.AbstractEventLoop, **kwargs: object) -> None:
        super().__init__(manager, loop=loop, **kwargs)  # type: ignore[arg-type]
        self.socket: socket.socket | None = None
        self.weight = _PLAIN
        self.owes_until = loop.time() + HEAD_WITHIN.total_seconds()
        self.reads_until = self.idle_until = _NEVER
        self._keepalive_handle = _NO_TIMER
        self._body: StreamReader | None = None
        self._wire: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports keep asyncio's interface without being of its classes.
        self._wire, self.socket = cast(asyncio.Transport, transport), None
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        self.door.remove(self)
        self._wire = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        known = self._request_count
        super().data_received(data)
        if self._request_count != known:
            # A head is complete; the last one's body is all that may be missing.
            body = self._messages[-1][1] if self._messages else None
            self._owe(body if body is not None and not body.is_eof() else None)
            self.door.touch(self)
        elif self._body is not None:
            if self._body.is_eof():
                self._owe(None)
        elif self.owes_until == _NEVER and data:
            # The beginning of the next head. More of it does not give more time.
            self.owes_until = self._loop.time() + HEAD_WITHIN.total_seconds()

    def _owe(self, body: StreamReader | None) -> None:
        self._body = body
        self.idle_until = _NEVER
        self.owes_until = self._loop.time() + BODY_WITHIN.total_seconds() if body is not None else _NEVER

    def pause_writing(self) -> None:
        super().pause_writing()
        self.reads_until = self._loop.time() + READ_WITHIN.total_seconds()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.reads_until = _NEVER

    async def _handle_request(  # type: ignore[override]
        self,
        request: web.BaseRequest,
        start_time: float | None,
        request_handler: Callable[..., Awaitable[web.StreamResponse]],
    ) -> tuple[_Ended, bool]:
        response, is_gone = await super()._handle_request(request, start_time, request_handler)
        # An idle connection keeps nothing of whom it spoke for.
        request._state.clear()  # noqa: SLF001
        return _STAY if response.keep_alive else _GO, is_gone

    def is_idle(self) -> bool:
        """Nobody is working for it."""
        return self.owes_until != _NEVER or not (self._request_in_progress or self._messages)

    def is_overdue(self, now: float) -> bool:
        """Whether one of its times has passed. The two that nothing tells us about begin when they are first seen."""
        if self.reads_until == _NEVER and self._wire is not None and self._wire.is_closing():
            # Closed by us, with an answer still in the pipe.
            self.reads_until = now + READ_WITHIN.total_seconds()
        if self.idle_until == _NEVER and self.is_idle():
            self.idle_until = now + IDLE_WITHIN.total_seconds()
        return self.owes_until <= now or self.reads_until <= now or (self.idle_until <= now and self.is_idle())

    def hang_up(self) -> None:
        if self._wire is not None:
            self._wire.abort()
        elif self.socket is not None:
            # In the handshake the transport is not ours yet; it sees the end and gives up.
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_RDWR)
