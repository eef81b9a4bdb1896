"""One HTTP/1.1 request and its answer over a fresh connection (RFC 9112), with limits on everything a server can send.

``http.client`` costs 28 ms to import and this helper is started for every signing, so the little that is needed is here:
``Connection: close``, a body by ``Content-Length``, in chunks, or until the end of the connection. There are no timeouts
here: the command's watch ends the whole process in time (``watch``). Proxies of the environment are not used: a ticket is
for the broker and for nobody in between.
"""

from __future__ import annotations

import _socket

from zerotrust_kerberos.failures import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    from zerotrust_kerberos.settings import Broker, Settings
    from zerotrust_kerberos.tls import Secured

    _Connection: TypeAlias = _socket.socket | Secured
    _Address: TypeAlias = tuple[Any, ...] | str  # its shape depends on the family

# Bytes. A Negotiate answer with a large mutual-auth token is 2 kB; a credentials body is 2 kB, a list of roles 100 kB.
HEADERS_MAX = 64 * 1024
BODY_MAX = 1024 * 1024

# Seconds for one address when a name has several: a dead one must leave time for the next.
_CONNECT_SECONDS = 3.0

_CHUNK = 65536  # bytes a read
_CHUNK_LINE_MAX = 1024  # bytes; a chunk's size with extensions nobody uses
_STATUS_PARTS = 2  # version and number; the reason phrase is optional
_OK_NO_BODY = frozenset({204, 304})


class Answer:
    """What came back. Header names are in lower case, in order, duplicates kept."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, *, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def values(self, name: str) -> list[str]:
        """Every value of a header, in order."""
        return [value for key, value in self.headers if key == name]


class _Stream:
    """Bytes from a connection, never more of them than asked for, ended by the server or not."""

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection
        self._held = b""

    def until(self, mark: bytes, limit: int) -> bytes:
        """Everything before ``mark``, which is consumed."""
        while (found := self._held.find(mark)) < 0:
            if len(self._held) > limit:
                raise _garbage("a line or header section is too long")
            self._more()
        if found > limit:
            raise _garbage("a line or header section is too long")
        taken, self._held = self._held[:found], self._held[found + len(mark) :]
        return taken

    def exactly(self, length: int) -> bytes:
        parts, missing = [self._held], length - len(self._held)
        while missing > 0:
            part = self._connection.recv(min(missing, _CHUNK))
            if not part:
                raise _garbage("the connection ended in the middle of the answer")
            parts.append(part)
            missing -= len(part)
        whole = b"".join(parts)
        self._held = whole[length:]
        return whole[:length]

    def rest(self, limit: int) -> bytes:
        parts, size = [self._held], len(self._held)
        while part := self._connection.recv(_CHUNK):
            parts.append(part)
            size += len(part)
            if size > limit:
                raise _too_long()
        return b"".join(parts)

    def _more(self) -> None:
        part = self._connection.recv(_CHUNK)
        if not part:
            raise _garbage("the connection ended in the middle of the answer" if self._held else "an empty answer")
        self._held += part


def exchange(connection: _Connection, request: bytes) -> Answer:
    """Send a whole request, read the whole answer, and close.

    Raises:
        Failure: ``broker_unreachable`` or ``unexpected_answer``.
    """
    try:
        connection.sendall(request)
        return read_answer(_Stream(connection))
    except OSError as error:  # ssl.SSLError is one
        raise Failure("broker_unreachable", _words(error)) from error
    finally:
        connection.close()


def connect(settings: Settings) -> tuple[_Connection, bytes]:
    """A connection to the broker, encrypted and verified where the URL says https, and what to bind a ticket for it to.

    Raises:
        Failure: ``broker_unreachable``, ``tls_untrusted``, ``tls_failed``, or ``configuration`` for an unreadable ``ca_file``.
    """
    broker = settings.broker
    if broker.scheme == "unix":
        return _open(_socket.AF_UNIX, broker.path), b""
    if broker.scheme == "http":
        return _open_first(_loopback_addresses(broker)), b""
    from zerotrust_kerberos.tls import secure  # noqa: PLC0415  TLS costs 4 ms; http and unix need none of it

    return secure(_open_first(_addresses(broker)), broker.host, settings.ca_file)


def read_answer(stream: _Stream) -> Answer:
    """Status line, headers, body; an interim answer (1xx) is not asked for and therefore not understood."""
    head = stream.until(b"\r\n\r\n", HEADERS_MAX).decode("latin-1").split("\r\n")
    status = _status(head[0])
    headers = [_header(field) for field in head[1:]]
    answer = Answer(status=status, headers=headers, body=b"")
    if status not in _OK_NO_BODY:
        answer.body = _body(stream, answer)
    return answer


def _status(first: str) -> int:
    parts = first.split(" ", 2)
    if len(parts) < _STATUS_PARTS or parts[0] not in {"HTTP/1.1", "HTTP/1.0"}:
        raise _garbage("it does not speak HTTP/1.1")
    number = parts[1]
    # Three digits (RFC 9112, section 4): of as many as a header section holds, int() raises at some point.
    if not (len(number) == 3 and number.isascii() and number.isdigit() and 200 <= int(number) <= 599):  # noqa: PLR2004
        raise _garbage("it does not speak HTTP/1.1")
    return int(number)


def _header(field: str) -> tuple[str, str]:
    name, colon, value = field.partition(":")
    # White space before the colon or at the start (a folded line) is how messages are smuggled (RFC 9112, section 5).
    if not colon or not name or name != name.strip() or "\n" in field or "\0" in field:
        raise _garbage("a malformed header")
    return name.lower(), value.strip()


def _body(stream: _Stream, answer: Answer) -> bytes:
    codings, lengths = answer.values("transfer-encoding"), answer.values("content-length")
    if codings:
        # Both together are how messages are smuggled (RFC 9112, section 6.3).
        if [coding.lower() for coding in codings] != ["chunked"] or lengths:
            raise _garbage("a transfer coding other than chunked")
        return _chunks(stream)
    if not lengths:
        return stream.rest(BODY_MAX)
    if len(set(lengths)) > 1 or not (lengths[0].isascii() and lengths[0].isdigit()):
        raise _garbage("a malformed Content-Length")
    if len(lengths[0]) > len(str(BODY_MAX)) or int(lengths[0]) > BODY_MAX:
        raise _too_long()
    return stream.exactly(int(lengths[0]))


def _chunks(stream: _Stream) -> bytes:
    parts, size = [], 0
    while length := _chunk_length(stream.until(b"\r\n", _CHUNK_LINE_MAX)):
        size += length
        if size > BODY_MAX:
            raise _too_long()
        parts.append(stream.exactly(length))
        if stream.exactly(2) != b"\r\n":
            raise _garbage("a malformed chunk")
    # Trailers are not read: the answer is whole, and the connection is thrown away.
    return b"".join(parts)


def _chunk_length(line: bytes) -> int:
    digits = line.split(b";", 1)[0].strip()
    if not digits or len(digits) > 8 or not frozenset(b"0123456789abcdefABCDEF").issuperset(digits):  # noqa: PLR2004  32 bits
        raise _garbage("a malformed chunk")
    return int(digits, 16)


def _loopback_addresses(broker: Broker) -> list[tuple[int, _Address]]:
    """Never by DNS: nobody who answers a look-up may send a plain-text request off the machine (RFC 6761, section 6.3)."""
    v4: tuple[int, _Address] = (_socket.AF_INET, ("127.0.0.1", broker.port))
    v6: tuple[int, _Address] = (_socket.AF_INET6, ("::1", broker.port))
    return {"127.0.0.1": [v4], "::1": [v6]}.get(broker.host, [v4, v6])


def _addresses(broker: Broker) -> list[tuple[int, _Address]]:
    try:
        # As bytes: for text Python loads its IDNA tables, 4 ms, and the settings admit ASCII only.
        found = _socket.getaddrinfo(broker.host.encode("ascii"), broker.port, 0, _socket.SOCK_STREAM)
    except OSError as error:
        raise Failure("broker_unreachable", _words(error), fix=f"getent hosts {broker.host}") from error
    return [(entry[0], entry[4]) for entry in found]


def _open_first(addresses: list[tuple[int, _Address]]) -> _socket.socket:
    """The first address that takes the connection; if none does, what the first one said."""
    failures = []
    for family, address in addresses:
        try:
            return _open(family, address)
        except Failure as failure:
            failures.append(failure)
    raise failures[0]


def _open(family: int, address: _Address) -> _socket.socket:
    connection = _socket.socket(family, _socket.SOCK_STREAM)
    try:
        connection.settimeout(_CONNECT_SECONDS)
        connection.connect(address)
        if family != _socket.AF_UNIX:
            # Over TLS the request follows the handshake's last word: held back for its acknowledgement it would wait 40 ms.
            connection.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        connection.settimeout(None)
    except OSError as error:
        connection.close()
        raise Failure("broker_unreachable", _words(error)) from error
    return connection


def _words(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__


def _garbage(what: str) -> Failure:
    return Failure("unexpected_answer", what)


def _too_long() -> Failure:
    return Failure("unexpected_answer", f"longer than {BODY_MAX} bytes")
