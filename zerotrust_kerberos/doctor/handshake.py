"""The broker's certificate as it shows it, for somebody who wants to read it: ``tls`` verifies the same, and says less."""

from __future__ import annotations

import socket
import ssl

from zerotrust_kerberos.failures import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    from zerotrust_kerberos.settings import Settings

    Shown: TypeAlias = tuple[dict[str, object], bytes, str]

_SECONDS = 3.0  # for one address, and for the handshake


def shake(settings: Settings) -> Shown:
    """A verified certificate's members as ``ssl`` has them, its DER, and the version of TLS.

    Raises:
        Failure: ``configuration``, ``broker_unreachable``, ``tls_untrusted``, ``tls_failed``.
    """
    broker = settings.broker
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
    except OSError as error:
        what = f"ca_file {settings.ca_file}: {error.strerror or 'no certificates in it'}"
        raise Failure("configuration", what, fix="export ZEROTRUST_CA_FILE=/path/to/ca.pem") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        plain = socket.create_connection((broker.host, broker.port), _SECONDS)
    except OSError as error:
        raise Failure("broker_unreachable", error.strerror or str(error)) from error
    try:
        with plain, context.wrap_socket(plain, server_hostname=broker.host) as secured:
            members: dict[str, object] = dict(secured.getpeercert() or {})
            return members, secured.getpeercert(binary_form=True) or b"", secured.version() or ""
    except ssl.SSLCertVerificationError as error:
        raise Failure("tls_untrusted", error.verify_message) from error
    except OSError as error:  # SSLError is one; others are connections cut or silent in the handshake
        reason = error.reason if isinstance(error, ssl.SSLError) else error.strerror
        raise Failure("tls_failed", reason or str(error)) from error
