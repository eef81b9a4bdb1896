"""The short way to credentials: an agent of this machine that has them ready, where there is one that can be trusted.

Whoever can make a socket in the right place could hand out credentials of their own account, so what listens there must be root
or this very user, by the kernel's word. Without such an agent, and where it cannot help, nothing is lost: the caller goes to the
broker with the ticket.
"""

from __future__ import annotations

import _socket
import os
import sys

from broker import wire
from zerotrust_kerberos import __version__
from zerotrust_kerberos.exchange import exchange
from zerotrust_kerberos.failures import TABLE, Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from zerotrust_kerberos.exchange import Answer
    from zerotrust_kerberos.settings import Settings

SYSTEM_SOCKET = "/run/zerotrust-agent/agent.sock"
# Whichever cache KRB5CCNAME names where the question comes from: a user's own word, to a process of that user.
CACHE_HEADER = "X-Zerotrust-Ccache"

_OK = 200
_CONNECT_SECONDS = 1.0
_CREDENTIALS_BYTES = 12  # struct ucred: pid, uid, gid
_UID_BYTES = slice(4, 8)

# Of these the user's own way may know better: an agent that sees no ticket, serves another broker or is not well.
_OWN_WAY = frozenset(
    {
        *("no_ticket", "ticket_expired", "host_not_allowed", "not_found", "bad_request", "cross_site_blocked"),
        *("configuration", "kerberos_missing", "output_failed"),
    }
)


def users_socket(environ: Mapping[str, str]) -> str:
    """Where a user's own agent listens; empty where there is no runtime folder."""
    folder = environ.get("XDG_RUNTIME_DIR", "")
    return f"{folder}/zerotrust/agent.sock" if folder.startswith("/") else ""


def by_agent(settings: Settings, body: bytes) -> bytes | None:
    """The broker's body for the question ``body``; None where the caller has to ask the broker.

    Raises:
        Failure: The broker's refusal, or it does not answer the agent either.
    """
    for path in (settings.agent,) if settings.agent else (users_socket(os.environ), SYSTEM_SOCKET):
        connection = _trusted(path) if path else None
        if connection is not None:
            try:
                return _body(exchange(connection, _request(settings, body)))
            except Failure as failure:
                if failure.code in _OWN_WAY or failure.code in {"broker_unreachable", "unexpected_answer"}:
                    return None
                raise
    return None


def _trusted(path: str) -> _socket.socket | None:
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        connection.settimeout(_CONNECT_SECONDS)
        connection.connect(path)
        connection.settimeout(None)
        peer = connection.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, _CREDENTIALS_BYTES)
    except OSError:
        connection.close()
        return None
    if int.from_bytes(peer[_UID_BYTES], sys.byteorder) not in {0, os.geteuid()}:
        connection.close()
        return None
    return connection


def _request(settings: Settings, body: bytes) -> bytes:
    cache = os.environ.get("KRB5CCNAME", "")
    lines = [
        f"POST {wire.CREDENTIALS_PATH} HTTP/1.1",
        f"Host: {settings.broker.authority}",
        f"{wire.REQUEST_HEADER}: {wire.REQUEST_HEADER_VALUE}",
        f"User-Agent: zerotrust/{__version__}",
        f"Content-Type: {wire.JSON}",
        f"Content-Length: {len(body)}",
        *([f"{CACHE_HEADER}: {cache}"] if cache and cache.isascii() and cache.isprintable() else []),
    ]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + body


def _body(answer: Answer) -> bytes:
    if answer.status == _OK:
        return answer.body
    import json  # noqa: PLC0415  a refusal may cost 8 ms more than success

    try:
        members = json.loads(answer.body.decode())
        code, said = members["code"], members["hint"]
    except (ValueError, RecursionError, TypeError, KeyError):
        code, said = "unexpected_answer", ""
    waits = answer.values("retry-after")
    wait = int(waits[0][:4]) if len(waits) == 1 and waits[0].isascii() and waits[0].isdigit() else 5
    raise Failure(code if code in TABLE else "unexpected_answer", said if isinstance(said, str) else "", wait=wait)
