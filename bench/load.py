"""The load: sends exactly the requests it is given, each once, over a fixed number of connections, and then stops.

A connection carries one request at a time and the next as soon as the answer is whole. Bare sockets and epoll, because
every microsecond spent here is a microsecond in which the server waits: a generator that is slow hides a slow tail.
"""

from __future__ import annotations

import gc
import os
import select
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.processes import Meter

CONNECTIONS = 16
_PATIENCE = 20.0  # seconds without any answer, after which the server is taken for dead
_RECEIVE_BYTES = 65536
_LENGTH = b"content-length:"


class UnexpectedAnswer(Exception):
    """The server did not answer as it should, with a body of declared length; the text begins with what it sent."""


@dataclass(frozen=True, slots=True)
class Volley:
    """What became of the requests. All times in seconds.

    Attributes:
        count: Requests sent, and answers of 200 received.
        wall: From the first byte sent to the last received.
        server_cpu: Of the server's whole process tree.
        load_cpu: Of this generator.
        latencies: One a request, from sending it to having its whole answer.
    """

    count: int
    wall: float
    server_cpu: float
    load_cpu: float
    latencies: list[float]


def enter(core: int) -> None:
    """Give this worker process its core."""
    os.sched_setaffinity(0, {core})


def fire(
    requests: Sequence[bytes], *, port: int, server: int, status: int = 200, connections: int = CONNECTIONS
) -> Volley:
    """Send whole requests to 127.0.0.1 and take the time.

    The first ``connections`` requests open the connections and are not counted: a connection's set-up is its own cost.

    Args:
        requests: Ready-made HTTP/1.1 requests, each to be used once.
        port: Where the server listens.
        server: Process id of the server, whose CPU time is taken with that of its descendants.
        status: What each must be answered.
        connections: How many requests are under way at a time.

    Raises:
        UnexpectedAnswer: Any other answer.
        TimeoutError: No answer.
    """
    gc.disable()
    opened = [socket.create_connection(("127.0.0.1", port), _PATIENCE) for _ in range(connections)]
    try:
        for connection in opened:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        left = iter(requests)
        exchange(opened, (next(left) for _ in opened), status=status)
        meter, own, started = Meter(server), time.process_time(), time.perf_counter()
        latencies = exchange(opened, left, status=status)
        wall, load_cpu, server_cpu = time.perf_counter() - started, time.process_time() - own, meter.seconds()
    finally:
        for connection in opened:
            connection.close()
        gc.enable()
    return Volley(count=len(latencies), wall=wall, server_cpu=server_cpu, load_cpu=load_cpu, latencies=latencies)


def exchange(connections: Sequence[socket.socket], requests: Iterator[bytes], *, status: int) -> list[float]:
    """Keep every connection busy until the requests are used up; return the latencies. Raises as ``fire`` does."""
    clock = time.perf_counter
    latencies: list[float] = []
    # By descriptor: the connection, when its request left, and what of the answer is here already.
    busy: dict[int, tuple[socket.socket, float, bytes]] = {}
    with select.epoll() as poll:
        for connection in connections:
            request = next(requests, None)
            if request is None:
                break
            poll.register(connection.fileno(), select.EPOLLIN)
            busy[connection.fileno()] = (connection, clock(), b"")
            connection.sendall(request)
        while busy:
            ready = poll.poll(_PATIENCE)
            if not ready:
                raise TimeoutError(f"no answer within {_PATIENCE:.0f} s")
            for descriptor, _ in ready:
                connection, left_at, held = busy[descriptor]
                part = connection.recv(_RECEIVE_BYTES)
                if not part:
                    raise UnexpectedAnswer(f"the server hung up after {held[:400]!r}")
                held += part
                if not is_whole(held, status=status):
                    busy[descriptor] = (connection, left_at, held)
                    continue
                now = clock()
                latencies.append(now - left_at)
                request = next(requests, None)
                if request is None:
                    poll.unregister(descriptor)
                    del busy[descriptor]
                else:
                    busy[descriptor] = (connection, now, b"")
                    connection.sendall(request)
    return latencies


def is_whole(answer: bytes, *, status: int = 200) -> bool:
    """Whether all of an HTTP/1.1 answer has arrived.

    Raises:
        UnexpectedAnswer: Another status, no Content-Length, or more than one answer.
    """
    end = answer.find(b"\r\n\r\n")
    if end < 0:
        return False
    head = answer[:end].lower()
    at = head.find(_LENGTH)
    if not head.startswith(b"http/1.1 %d " % status) or at < 0:
        raise UnexpectedAnswer(repr(answer[:1000]))
    missing = end + 4 + int(head[at + len(_LENGTH) :].split(b"\r\n", 1)[0]) - len(answer)
    if missing < 0:
        raise UnexpectedAnswer(f"more than one answer to one request: {answer[:1000]!r}")
    return missing == 0
