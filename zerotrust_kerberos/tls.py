"""TLS to the broker: version 1.2 or later, the certificate verified for the host of the URL, always."""

from __future__ import annotations

import socket
import ssl

from zerotrust_kerberos.failures import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket


def secure(plain: _socket.socket, host: str, ca_file: str | None) -> socket.socket:
    """Encrypt a connection; the plain one is taken over.

    Raises:
        Failure: ``tls_untrusted``, ``tls_failed``, or ``configuration`` for an unreadable ``ca_file``.
    """
    context = _context(ca_file)
    try:
        return context.wrap_socket(socket.socket(fileno=plain.detach()), server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        raise Failure("tls_untrusted", error.verify_message) from error
    except OSError as error:  # ssl.SSLError is one; others are connections cut in the handshake
        reason = error.reason if isinstance(error, ssl.SSLError) else error.strerror
        raise Failure("tls_failed", reason or type(error).__name__) from error


def _context(ca_file: str | None) -> ssl.SSLContext:
    # Not create_default_context(): that one obeys SSLKEYLOGFILE and would write the session's keys to a file.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies the certificate and the name by default
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_file is None:
        context.load_default_certs()
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
