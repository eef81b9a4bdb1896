"""How long a broker takes from its start until it says that it is ready: goal 11.

Wall time from exec of ``zerotrust-broker serve`` to the first 200 of ``/readyz``, with the bytecode written by a start before.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from bench.ground import Ground, broker_ends
from bench.processes import on_core
from bench.row import Part, alone

# Finer than what is measured by two orders, and little enough to leave the machine alone.
_LOOK_EVERY = 0.002
_PATIENCE = 60.0


def measure(here: Ground, *, starts: int) -> list[float]:
    """Seconds of each start.

    Raises:
        TimeoutError: It does not become ready.
    """
    # One more than are counted: the first writes bytecode and keyring.
    return [_one(here, number) for number in range(starts + 1)][1:]


def part(seconds: Sequence[float]) -> Part:
    """The row of goal 11."""
    row = alone(11, "from exec to the first 200 of /readyz: wall time", "s", ours=seconds, goal=0.7)
    return Part([row], list(seconds))


def _one(here: Ground, number: int) -> float:
    with socket.create_server(("127.0.0.1", 0)) as any_free:
        port = any_free.getsockname()[1]
    server = {"listen": [f"http://127.0.0.1:{port}"], "hostnames": ["localhost"]}
    broker = here.prepared(f"begin-{number}", server=server)
    with ThreadPoolExecutor(1) as thread:
        looking = thread.submit(ready_at, port, until=time.monotonic() + _PATIENCE)
        with on_core(here.cores.server):
            began = time.monotonic()
            broker.start()
        with broker_ends(broker):
            return looking.result() - began


def ready_at(port: int, *, until: float) -> float:
    """When ``/readyz`` on 127.0.0.1 was answered with 200 for the first time (time.monotonic).

    Raises:
        TimeoutError: Not until then.
    """
    question = b"GET /readyz HTTP/1.1\r\nHost: localhost:%d\r\nConnection: close\r\n\r\n" % port
    while time.monotonic() < until:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE) as connection:
                connection.sendall(question)
                if connection.recv(65536).startswith(b"HTTP/1.1 200 "):
                    return time.monotonic()
        except ConnectionError:
            pass
        time.sleep(_LOOK_EVERY)
    raise TimeoutError("the broker did not become ready")
