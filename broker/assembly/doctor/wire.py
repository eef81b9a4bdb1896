"""Whether somebody answers at an address: connections that say nothing, and one question that asks for nothing."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

_PATIENCE_SECONDS = 4.0
_HTTPS = 443


class Silent(Exception):
    """Nobody there who can be believed; the text says why."""


@contextlib.contextmanager
def connected(host: str, port: int) -> Iterator[socket.socket]:
    """A TCP connection. Raises ``Silent``."""
    with _said(), socket.create_connection((host, port), timeout=_PATIENCE_SECONDS) as connection:
        yield connection


def shake(host: str, port: int, context: ssl.SSLContext) -> None:
    """A TLS handshake, certificate judged. Raises ``Silent``."""
    with connected(host, port) as connection, context.wrap_socket(connection, server_hostname=host):
        pass


def connect_socket(path: Path, *, kind: socket.SocketKind = socket.SOCK_STREAM) -> None:
    """A Unix socket behind which somebody listens. Raises ``Silent``."""
    with _said(), socket.socket(socket.AF_UNIX, kind) as connection:
        connection.settimeout(_PATIENCE_SECONDS)
        connection.connect(str(path))


def date_of(url: str) -> str:
    """The ``Date`` of the answer to a HEAD without any credentials. Raises ``Silent``."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=_PATIENCE_SECONDS)
    with _said(), contextlib.closing(connection):
        connection.request("HEAD", "/")
        return connection.getresponse().getheader("Date", "")


@contextlib.contextmanager
def _said() -> Iterator[None]:
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        raise Silent(f"its certificate is not believed: {error.verify_message}") from error
    except ssl.SSLError as error:
        raise Silent(f"TLS: {error.reason or 'closed'}") from error
    except TimeoutError as error:
        raise Silent(f"no answer in {_PATIENCE_SECONDS:g} s") from error
    except (OSError, http.client.HTTPException) as error:
        number = getattr(error, "errno", None)
        raise Silent(os.strerror(number) if number and number > 0 else str(error) or type(error).__name__) from error
