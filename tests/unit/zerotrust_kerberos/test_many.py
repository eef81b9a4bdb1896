"""The agent's parent where a worker is about to end: what it hands out then."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
from typing import NoReturn

from zerotrust_kerberos.agent import worker
from zerotrust_kerberos.agent.http import Door, Reply, Request
from zerotrust_kerberos.agent.many import ON_THE_WAY_MAX, Parent

UID = 4_000_000
STOPPED = 60


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


def test_workers_that_take_nothing_leave_places_for_everybody_else() -> None:
    """One person has many uids by user namespaces, and may stop each of their workers."""
    with contextlib.ExitStack() as ends, socket.socket(socket.AF_UNIX) as listener:
        parent = Parent(listener, work=_answers)
        stopped = [_worker(parent, UID + number, ends) for number in range(STOPPED)]
        for number in range(STOPPED):
            for _ in range(300):
                parent._hand(listener, UID + number)
        on_their_way = [_arrived(channel) for channel in stopped]
        assert sum(on_their_way) <= ON_THE_WAY_MAX + STOPPED
        assert min(on_their_way) == 1
        well = _worker(parent, UID + STOPPED, ends)
        for _ in range(300):
            parent._hand(listener, UID + STOPPED)
            assert _arrived(well) == 1
            well.send(b"\0")
            parent._taken(UID + STOPPED)


def test_a_hundred_connections_at_once_are_no_more_than_one_user_may_have() -> None:
    with contextlib.ExitStack() as ends, socket.socket(socket.AF_UNIX) as listener:
        parent = Parent(listener, work=_answers)
        busy = _worker(parent, UID, ends)
        for _ in range(100):
            parent._hand(listener, UID)
        assert _arrived(busy) == 100


async def test_a_connection_that_a_worker_has_no_descriptor_for_is_not_on_its_way_any_more() -> None:
    """The kernel drops it, and delivers what came with it."""
    parent, channel = socket.socketpair()
    with parent, channel:
        parent.settimeout(60)
        parent.send(b"\0")
        assert await worker._take(channel, Door(_nothing, of=lambda _socket: None))
        assert parent.recv(10) == b"\0"


async def test_a_parent_that_went_without_reading_a_sign_is_an_end_like_any_other() -> None:
    parent, channel = socket.socketpair()
    with channel:
        channel.send(b"\0")
        parent.close()
        assert not await worker._take(channel, Door(_nothing, of=lambda _socket: None))


async def _nothing(_request: Request) -> Reply:
    raise AssertionError("nobody asks")


def _worker(parent: Parent, uid: int, ends: contextlib.ExitStack) -> socket.socket:
    """The worker's end of a channel."""
    ours, theirs = (ends.enter_context(end) for end in socket.socketpair())
    ours.setblocking(False)
    theirs.setblocking(False)
    parent._channels[uid] = ours
    return theirs


def _arrived(channel: socket.socket) -> int:
    """How many connections are there; none of them is kept."""
    number = 0
    while True:
        try:
            message, descriptors, _, _ = socket.recv_fds(channel, 1, 1)
        except BlockingIOError:
            return number
        for descriptor in descriptors:
            os.close(descriptor)
        number += len(message)
