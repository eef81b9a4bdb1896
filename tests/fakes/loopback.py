"""The fence around the test process: no Python socket reaches past loopback, and no name is looked up outside.

`raise_fence()` adds an audit hook (PEP 578), which sees every `connect`, `bind`, `sendto`, `sendmsg` and every name look-up
of the interpreter before the system call, whatever library makes it. Crossing raises `OutsideLoopbackError` and is
remembered in `crossings`, so that code which swallows the exception is found as well.

An audit hook sees neither C libraries (libkrb5, curl) nor child processes. Those are held by `.ci/loopback-only`, which
`make test` puts around the whole suite: a network namespace with nothing in it but `lo`. Tests of several hosts make further
namespaces inside of it (tests/fakes/hosts.py), with addresses of 10.77.0.0/24 and no way out either, for child processes only.
"""

from __future__ import annotations

import ipaddress
import socket
import sys

LOOK_UPS = frozenset({"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo"})
ENDPOINTS = frozenset({"socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg"})

crossings: list[str] = []


class OutsideLoopbackError(AssertionError):
    """Something tried to reach another machine; not an OSError, which network code is right to catch."""


def crossing(event: str, args: tuple[object, ...]) -> str | None:
    """Says what an audit event would reach outside loopback, or None when it stays inside or is no network event."""
    if event in ENDPOINTS:
        sock, address = args
        if not isinstance(sock, socket.socket | socket.SocketType) or not isinstance(address, tuple):
            return None  # A path (AF_UNIX), or None: sendmsg on a socket that connect has already judged.
        if sock.family not in (socket.AF_INET, socket.AF_INET6):
            return None
        return None if _is_loopback(address[0]) else f"{event} {address!r}"
    if event in LOOK_UPS:
        host = args[0][0] if isinstance(args[0], tuple) else args[0]
        # None and the empty name mean "any address of this machine" and ask no resolver; bind judges what comes of them.
        return None if host in (None, "", b"") or _is_address(host) or _is_loopback(host) else f"{event} {host!r}"
    return None


def raise_fence() -> None:
    """Puts the fence up for the rest of the process's life: an audit hook cannot be removed."""
    sys.addaudithook(_judge)


def _judge(event: str, args: tuple[object, ...]) -> None:
    if not event.startswith("socket."):
        return
    outside = crossing(event, args)
    if outside is not None:
        crossings.append(outside)
        raise OutsideLoopbackError(f"{outside} leaves loopback; tests talk to 127.0.0.1, ::1 and Unix sockets only")


def _text(host: object) -> str:
    return host.decode("ascii", "replace") if isinstance(host, bytes | bytearray) else str(host)


def _is_address(host: object) -> bool:
    try:
        ipaddress.ip_address(_text(host).partition("%")[0])
    except ValueError:
        return False
    return True


def _is_loopback(host: object) -> bool:
    if _text(host) == "localhost":
        return True
    if not _is_address(host):
        return False
    address = ipaddress.ip_address(_text(host).partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
