"""The server's side of HTTP/1.1 (RFC 9112), as little of it as the AWS SDKs and our own helper speak: one request a connection.

Nothing is guessed: a header that comes twice, a folded line, a transfer coding, a target that is no path: 400. What is slow or
long is cut off, so no client holds a connection for longer than it has to.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Mapping

# Bytes. A helper's request is 300, an SDK's 600.
HEAD_MAX = 8192
BODY_MAX = 4096
# Seconds from the connection to the end of the request; then the same for taking the answer.
PATIENCE = 5.0
# Connections at once. Far below the 1024 descriptors that a process has by default; 100 helpers at once are normal.
CONNECTIONS_MAX = 400

# What only a browser or a proxy adds. No SDK and no command of ours sends any of them.
_FOREIGN = frozenset({"origin", "referer", "forwarded", "via", "x-real-ip", "cookie"})
_FOREIGN_BEGINNINGS = ("sec-", "x-forwarded-", "access-control-")

_TOKEN_CHARS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-.^_`|~")
_REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found"}


class Request:
    """One request. Header names are in lower case, each at most once; ``connection`` is the one that it came by."""

    __slots__ = ("body", "connection", "headers", "method", "path")

    def __init__(self, *, method: str, path: str, headers: Mapping[str, str], body: bytes) -> None:
        self.method = method
        self.path = path
        self.headers = headers
        self.body = body
        self.connection: socket.socket | None = None

    @property
    def is_foreign(self) -> bool:
        """Whether a browser or a proxy had a hand in it."""
        return any(name in _FOREIGN or name.startswith(_FOREIGN_BEGINNINGS) for name in self.headers)


class Reply:
    """One answer."""

    __slots__ = ("body", "headers", "kind", "status")

    def __init__(self, status: int, body: bytes, *, kind: str, headers: Mapping[str, str] | None = None) -> None:
        self.status = status
        self.body = body
        self.kind = kind
        self.headers = headers or {}

    def encoded(self) -> bytes:
        """As it goes out. Nothing between here and the client may keep it, and no browser may make anything of it."""
        lines = [
            f"HTTP/1.1 {self.status} {_REASONS.get(self.status, 'See Body')}",
            f"Content-Type: {self.kind}",
            f"Content-Length: {len(self.body)}",
            "Cache-Control: no-store",
            "X-Content-Type-Options: nosniff",
            "Connection: close",
            *(f"{name}: {value}" for name, value in self.headers.items()),
        ]
        return "\r\n".join([*lines, "", ""]).encode("ascii") + self.body


class Malformed(Exception):
    """Not a request that anybody here understands."""


class Door:
    """Reads from accepted connections and answers. ``open`` is how many there are, ``empty`` is set while there is none."""

    def __init__(
        self, answer: Callable[[Request], Awaitable[Reply]], *, of: Callable[[socket.socket], int | None]
    ) -> None:
        """Take the parts.

        Args:
            answer: Says what to answer; raises nothing.
            of: The uid at the other end. Another user's connections are closed before they cost anything: they could take
                all places otherwise.
        """
        self._answer = answer
        self._of = of
        self.open = 0
        self.empty = asyncio.Event()
        self.empty.set()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection from its beginning to its end: what ``asyncio.start_server`` calls."""
        self.open += 1
        self.empty.clear()
        try:
            if self._of(writer.get_extra_info("socket")) == os.geteuid() and self.open <= CONNECTIONS_MAX:
                await self._serve(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass  # whoever hangs up, or cannot make up their mind, hears nothing
        finally:
            self.open -= 1
            if not self.open:
                self.empty.set()
            writer.transport.abort() if writer.transport.get_write_buffer_size() else writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                request = await read_request(reader)
        except Malformed as error:
            reply = Reply(400, f"{error}\n".encode(), kind="text/plain; charset=utf-8")
        else:
            request.connection = writer.get_extra_info("socket")
            reply = await self._answer(request)
        writer.transport.set_write_buffer_limits(0)
        writer.write(reply.encoded())
        async with asyncio.timeout(PATIENCE):
            await writer.drain()


async def read_request(reader: asyncio.StreamReader) -> Request:
    """The one request of a connection.

    Raises:
        Malformed: Its text is for the client, and quotes nothing.
        IncompleteReadError: The client hung up.
    """
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        raise Malformed("the header section is too long") from None
    if len(head) > HEAD_MAX:
        raise Malformed("the header section is too long")
    first, *fields = head[:-4].decode("latin-1").split("\r\n")
    method, path = _request_line(first)
    headers: dict[str, str] = {}
    for field in fields:
        name, value = _header(field)
        if name in headers:
            raise Malformed("a header is given twice")
        headers[name] = value
    return Request(method=method, path=path, headers=headers, body=await _body(reader, headers))


def _request_line(line: str) -> tuple[str, str]:
    parts = line.split(" ")
    if len(parts) != 3 or parts[2] != "HTTP/1.1":  # noqa: PLR2004  method, target, version
        raise Malformed("this speaks HTTP/1.1 only")
    # An absolute target would stand above the Host header (RFC 9112, section 3.2.2).
    if not parts[1].startswith("/") or not parts[1].isascii() or not parts[1].isprintable():
        raise Malformed("the target is not a path")
    return parts[0], parts[1]


def _header(field: str) -> tuple[str, str]:
    name, colon, value = field.partition(":")
    value = value.strip(" \t")
    if not colon or not name or not _TOKEN_CHARS.issuperset(name) or any(char < " " and char != "\t" for char in value):
        raise Malformed("a malformed header")
    return name.lower(), value


async def _body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    if "transfer-encoding" in headers:
        raise Malformed("a body needs Content-Length")
    length = headers.get("content-length", "0")
    if not (length.isascii() and length.isdigit() and len(length) <= len(str(BODY_MAX)) and int(length) <= BODY_MAX):
        raise Malformed(f"a body has at most {BODY_MAX} bytes")
    return await reader.readexactly(int(length))
