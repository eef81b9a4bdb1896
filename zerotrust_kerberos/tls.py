"""TLS to the broker: version 1.2 or later, the certificate verified for the host of the URL, always.

Importing ``ssl`` costs 7 ms more than ``_ssl``, the C module that it wraps and that does all the work: the handshake, the chain
and the name. What is needed of the wrapper is here, and what it would set by itself is set in plain sight.
"""

from __future__ import annotations

import _socket
import _ssl

from zerotrust_kerberos.end_point import end_point
from zerotrust_kerberos.failures import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class _Plain(_socket.socket):
    """``_ssl`` holds its socket by a weak reference, which the bare C class does not take."""

    __slots__ = ("__weakref__",)


class Secured:
    """An encrypted connection, with what its users need of a socket."""

    def __init__(self, plain: _Plain, session: Any) -> None:
        self._plain = plain
        self._session = session

    def sendall(self, content: bytes) -> None:
        """As ``socket.sendall``."""
        rest = content
        while rest:
            rest = rest[self._session.write(rest) :]

    def recv(self, limit: int) -> bytes:
        """As ``socket.recv``; a server that hangs up without TLS's goodbye has ended too, as with ``ssl``."""
        try:
            part: bytes = self._session.read(limit)
        except _ssl.SSLEOFError:
            return b""
        return part

    def close(self) -> None:
        """As ``socket.close``."""
        self._plain.close()


def secure(plain: _socket.socket, host: str, ca_file: str | None) -> tuple[Secured, bytes]:
    """Encrypt a connection; the plain one is taken over. With it comes what its server is known by (``end_point``).

    Raises:
        Failure: ``tls_untrusted``, ``tls_failed``, or ``configuration`` for an unreadable ``ca_file``.
    """
    context, carrier = _context(ca_file), _Plain(fileno=plain.detach())
    try:
        session = context._wrap_socket(carrier, False, host)  # noqa: SLF001  not the server's side
        session.do_handshake()
        certificate = session.getpeercert(True)
    except _ssl.SSLCertVerificationError as error:
        raise Failure("tls_untrusted", error.verify_message) from error
    except OSError as error:  # SSLError is one; others are connections cut in the handshake
        reason = error.reason if isinstance(error, _ssl.SSLError) else error.strerror
        raise Failure("tls_failed", reason or type(error).__name__) from error
    return Secured(carrier, session), end_point(certificate or b"")


def _context(ca_file: str | None) -> Any:
    # Nothing here obeys SSLKEYLOGFILE, which would write the session's keys to a file.
    context: Any = _ssl._SSLContext(_ssl.PROTOCOL_TLS_CLIENT)  # noqa: SLF001
    context.minimum_version = _ssl.PROTO_TLSv1_2
    context.verify_mode = _ssl.CERT_REQUIRED
    context.check_hostname = True
    if ca_file is None:
        context.set_default_verify_paths()
        return context
    try:
        context.load_verify_locations(ca_file)
    except OSError as error:
        raise Failure(
            "configuration",
            f"ca_file cannot be read: {error.strerror or error}",
            fix="export ZEROTRUST_CA_FILE=/path/to/ca.pem",
        ) from error
    return context
