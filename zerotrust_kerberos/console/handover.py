"""Handing a secret URL to a browser past its command line, which everybody on the machine can read.

The browser is started with an address of ours on loopback, good for one visit, and is sent on from there. Whoever else reads that
address may be faster than the browser, so the kernel is asked whose socket is at the other end.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import threading

from zerotrust_kerberos.agent.callers import of_loopback

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

_PATH_BYTES = 16
# Seconds for one visitor's request. Browsers open connections that they never use, so each has a thread.
_VISIT_SECONDS = 5.0
_HEAD_MAX = 16 * 1024  # bytes; a browser's has cookies of other programs on loopback in it


class Handover:
    """A page that sends its owner on to a URL, once.

    Attributes:
        address: ``http://127.0.0.1:PORT/...``.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._path = f"/{secrets.token_urlsafe(_PATH_BYTES)}"
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}{self._path}"
        self._turn = threading.Lock()
        self._is_taken = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def wait(self, patience: float) -> bool:
        """Whether it was taken, within so many seconds."""
        return self._is_taken.wait(patience)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the accept
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._visit, args=(connection,), daemon=True).start()

    def _visit(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(_VISIT_SECONDS)
            if of_loopback(connection) != os.geteuid():
                return
            head = _head(connection)
            if not head.startswith(f"GET {self._path} HTTP/1.".encode()):
                connection.sendall(_answer("404 Not Found"))
                return
            with self._turn:
                if self._is_taken.is_set():
                    connection.sendall(_answer("410 Gone"))
                    return
                connection.sendall(_answer("303 See Other", f"Location: {self._url}"))
                self._is_taken.set()


def _head(connection: socket.socket) -> bytes:
    held = b""
    while b"\r\n\r\n" not in held and len(held) <= _HEAD_MAX:
        part = connection.recv(_HEAD_MAX)
        if not part:
            break
        held += part
    return held


def _answer(status: str, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", "Cache-Control: no-store", "Referrer-Policy: no-referrer", "Content-Length: 0"]
    return "\r\n".join([*lines, "Connection: close", *headers, "", ""]).encode("ascii")
