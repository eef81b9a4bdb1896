"""Whether a broker on this host answers: asked by itself, where no certificate and no ticket is needed.

Any answer counts but a failure of its own: that ``server.allowed_networks`` leaves out 127.0.0.1 makes nobody ill.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
from collections.abc import Sequence

from broker.config.values import Listener, TcpListener, UnixListener

# An event loop that turns answers in a millisecond; who stands longer than this serves nobody.
_PATIENCE_SECONDS = 3.0
_PATH = "/healthz"


class NotAlive(RuntimeError):
    """It does not answer; the message says what was tried."""


def ask(listeners: Sequence[Listener]) -> str:
    """Ask at the first address whose port is known, and return what it says.

    Raises:
        NotAlive: Nobody answers there in time, or with a failure.
    """
    listener = next((one for one in listeners if isinstance(one, UnixListener) or one.port), None)
    if listener is None:
        raise NotAlive("every address has a port that the system chooses (server.listen) — fix: name one")
    connection = _connection(listener)
    try:
        connection.request("GET", _PATH)
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        raise NotAlive(f"{listener}: no answer: {str(error) or type(error).__name__}") from error
    finally:
        connection.close()
    if status >= http.client.INTERNAL_SERVER_ERROR:
        raise NotAlive(f"{listener}: {status}")
    return f"{listener}: alive"


def _connection(listener: Listener) -> http.client.HTTPConnection:
    if isinstance(listener, UnixListener):
        return _OverSocket(listener)
    host = _here(listener)
    if not listener.tls:
        return http.client.HTTPConnection(host, listener.port, timeout=_PATIENCE_SECONDS)
    # Its certificate is for the name that clients use, and whether it is good is for them to say.
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return http.client.HTTPSConnection(host, listener.port, timeout=_PATIENCE_SECONDS, context=context)


def _here(listener: TcpListener) -> str:
    """An address of this host for one that stands for all of them."""
    try:
        address = ipaddress.ip_address(listener.host)
    except ValueError:
        return listener.host
    if not address.is_unspecified:
        return listener.host
    return "127.0.0.1" if address.version == 4 else "::1"  # noqa: PLR2004  # the protocol's own name


class _OverSocket(http.client.HTTPConnection):
    def __init__(self, listener: UnixListener) -> None:
        super().__init__("localhost", timeout=_PATIENCE_SECONDS)
        self._path = str(listener.path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_PATIENCE_SECONDS)
        self.sock.connect(self._path)
