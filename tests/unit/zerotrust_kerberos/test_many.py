"""The agent's parent where a worker is about to end: what it hands out then."""

from __future__ import annotations

import os
import selectors
import socket
from typing import NoReturn

from zerotrust_kerberos.agent.many import Parent

UID = 4_000_000


def _answers(channel: socket.socket, uid: int) -> NoReturn:
    """A worker that serves one connection."""
    try:
        _, (descriptor,), _, _ = socket.recv_fds(channel, 1, 1)
        os.write(descriptor, f"{uid} {os.getpid()}".encode())
    finally:
        os._exit(0)


def test_a_connection_for_a_worker_that_takes_no_more_goes_to_a_new_one() -> None:
    theirs, retiring = socket.socketpair()
    client, accepted = socket.socketpair()
    with socket.socket(socket.AF_UNIX) as listener, retiring, client:
        parent = Parent(listener, work=_answers)
        theirs.setblocking(False)
        parent._channels[UID] = theirs
        parent._selector.register(theirs, selectors.EVENT_READ, UID)
        retiring.shutdown(socket.SHUT_RD)  # it still serves what it has, so its end of the channel is open
        with accepted:
            parent._hand(accepted, UID)
        client.settimeout(60)
        uid, pid = map(int, client.recv(100).split())
        assert uid == UID
        parent._ended(UID)
        parent._selector.close()
        os.waitpid(pid, 0)


def test_a_connection_that_a_worker_does_not_take_is_closed() -> None:
    theirs, stopped = socket.socketpair()
    client, accepted = socket.socketpair()
    with socket.socket(socket.AF_UNIX) as listener, stopped, client:
        parent = Parent(listener, work=_answers)
        theirs.setblocking(False)
        parent._channels[UID] = theirs
        parent._selector.register(theirs, selectors.EVENT_READ, UID)
        with accepted:
            for _ in range(2000):
                parent._hand(accepted, UID)
        assert parent._channels[UID] is theirs
        stopped.close()
        client.settimeout(60)
        assert client.recv(1) == b""
        parent._ended(UID)
        parent._selector.close()
