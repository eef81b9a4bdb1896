"""The agent's parent on a host with many users: root, and therefore as little as can be.

It accepts connections, asks the kernel whose they are, and hands each to the worker of that user, who is started where there is
none. It reads nothing that a user said, opens no user's file and talks to nobody.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable
from typing import NoReturn

from zerotrust_kerberos.agent import callers

# Users at once. A user namespace can give one person 65536 uids, and each costs a process.
WORKERS_MAX = 512
# Connections on their way to workers that have not taken them, and one more for each worker. The kernel counts them for all of
# root's programs together, and lets one without privileges send none when there are more than it may open files, mostly 1024
# (ETOOMANYREFS, unix(7)).
ON_THE_WAY_MAX = 384
# One user has at most this part of what is left of them, and always one. So whoever stops their workers, under many names even,
# leaves places for everybody else.
_PART = 2
# Read at once of a worker's signs that it took one, a byte each.
_SIGNS = 4096
# What the kernel says where it cannot name a user, as for everybody in a user namespace who has no name outside.
_NOBODY = frozenset({65534, 0xFFFFFFFF})
# Seconds until the next try to accept where there are no descriptors left.
_PAUSE = 0.1


class Parent:
    """Hands connections out."""

    def __init__(self, listener: socket.socket, *, work: Callable[[socket.socket, int], NoReturn]) -> None:
        """Take the parts.

        Args:
            listener: Everybody may connect to it.
            work: Becomes the user and serves what comes through the socket, in a process of its own.
        """
        self._listener = listener
        self._work = work
        self._channels: dict[int, socket.socket] = {}
        self._on_the_way: dict[int, int] = {}
        self._selector = selectors.DefaultSelector()

    def run(self) -> NoReturn:
        """For ever, or until a signal's handler raises."""
        # Nobody waits for workers: the kernel takes them away.
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ, None)
        while True:
            for key, _ in self._selector.select():
                if key.data is None:
                    self._accept()
                elif self._channels.get(key.data) is key.fileobj:
                    self._taken(key.data)

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, ConnectionError):
            return
        except OSError:
            time.sleep(_PAUSE)
            return
        with connection:
            uid = callers.of_unix(connection)
            if uid not in _NOBODY:
                self._hand(connection, uid)

    def _hand(self, connection: socket.socket, uid: int) -> None:
        """To the worker of ``uid``. Where it does not take it, the connection is closed, and the client goes its own way."""
        # Twice: a worker may have ended for want of work.
        for _ in range(2):
            channel = self._channels.get(uid) or self._started(uid)
            if channel is None or not self._has_place(uid):
                return
            try:
                socket.send_fds(channel, [b"\0"], [connection.fileno()])
            except ConnectionError:
                self._ended(uid)
            except OSError:
                return  # it has more to do than it can, or is stopped
            else:
                self._on_the_way[uid] = self._on_the_way.get(uid, 0) + 1
                return

    def _has_place(self, uid: int) -> bool:
        own = self._on_the_way.get(uid, 0)
        return own == 0 or _PART * own < ON_THE_WAY_MAX - sum(self._on_the_way.values())

    def _taken(self, uid: int) -> None:
        """A worker took some connections, or has ended."""
        try:
            signs = len(self._channels[uid].recv(_SIGNS))
        except OSError:
            signs = 0
        if signs:
            self._on_the_way[uid] = max(0, self._on_the_way.get(uid, 0) - signs)
        else:
            self._ended(uid)

    def _started(self, uid: int) -> socket.socket | None:
        if len(self._channels) >= WORKERS_MAX:
            return None
        try:
            # A stream: of packets a socket holds ten (net.unix.max_dgram_qlen), of connections in a stream some 270.
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        except OSError:
            return None
        with theirs:
            try:
                pid = os.fork()
            except OSError:
                ours.close()
                return None
            if pid == 0:
                self._work(theirs, uid)
        ours.setblocking(False)
        self._channels[uid] = ours
        self._selector.register(ours, selectors.EVENT_READ, uid)
        return ours

    def _ended(self, uid: int) -> None:
        channel = self._channels.pop(uid, None)
        self._on_the_way.pop(uid, None)
        if channel is not None:
            self._selector.unregister(channel)
            with contextlib.suppress(OSError):
                channel.close()
