"""What is listened on: sockets that systemd holds for us, where it does, and our own for the rest.

systemd's come by sd_listen_fds(3): the first is descriptor 3. Each is matched by its address with what the configuration listens
on, so that the configuration alone says what is spoken there, and to whom. A connection that comes while nobody serves waits
in systemd's socket, whoever of several instances takes it.
"""

from __future__ import annotations

import asyncio
import errno
import grp
import os
import socket
import stat
from collections.abc import MutableMapping
from pathlib import Path

from broker.config.values import Listener, TcpListener, UnixListener
from broker.core.errors import ConfigurationError

# Any local user may ask; who they are is Kerberos's word. On the operators' socket only root and the broker's group may.
_MODE, _PRIVATE_MODE = 0o666, 0o660
# Connections that wait for us; the kernel's net.core.somaxconn may be less.
_BACKLOG = 1024
# sd_listen_fds(3), SD_LISTEN_FDS_START: behind standard input, output and error.
_FIRST_PASSED = 3
_ROOT = 0
_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")

_BIND_FIXES = {
    errno.EADDRINUSE: "end whoever listens there (ss -ltnp 'sport = :{port}'), or choose another port in server.listen",
    errno.EADDRNOTAVAIL: "write an address of this host in server.listen (ip -brief address)",
    errno.EACCES: "choose a port from 1024 in server.listen, or have systemd hold it (systemd/README.md)",
}

_UNIT = "the socket unit that passes it (systemctl list-sockets)"


class Sockets:
    """Those that systemd passed, until they are asked for."""

    def __init__(self, passed: MutableMapping[str, socket.socket]) -> None:
        """Take them by their address, written as in `server.listen` but without its scheme."""
        self._passed = passed

    @classmethod
    def passed_to_us(cls, environ: MutableMapping[str, str]) -> Sockets:
        """Those of this process; the variables are taken out of ``environ``, so that no child takes them for its own.

        Raises:
            ConfigurationError: One of them is nothing that can be served on.
        """
        given = {name: environ.pop(name, "") for name in _VARIABLES}
        # They may have been meant for whoever started us.
        number = _number(given["LISTEN_FDS"]) if given["LISTEN_PID"] == str(os.getpid()) else 0
        passed = {}
        for descriptor in range(_FIRST_PASSED, _FIRST_PASSED + number):
            if not _is_socket(descriptor):
                raise _misfit(f"descriptor {descriptor}", "is not a socket", f"remove it from {_UNIT}")
            each = socket.socket(fileno=descriptor)
            address = _address_of(each)
            if each.type != socket.SOCK_STREAM or not each.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                raise _misfit(address, "does not take connections", f"write ListenStream= and Accept=no in {_UNIT}")
            if os.get_blocking(descriptor):
                # Of several that wake for one connection, all but one would wait in accept(2) for the next, and serve nobody.
                raise _misfit(address, "would make us wait", "write NonBlocking=yes in the service's unit")
            passed[address] = each
        return cls(passed)

    async def of(self, listener: Listener) -> tuple[str, list[socket.socket]]:
        """What to listen on, and how that is called. Every one listens; it is the caller's from here on.

        Raises:
            ConfigurationError: Others than the broker's group may connect to a passed socket that is private.
            OSError: It cannot be listened on.
        """
        if isinstance(listener, UnixListener):
            passed = self._passed.pop(str(listener.path), None)
            if passed is not None:
                _require_private(listener)
            return str(listener), [passed or _unix_socket(listener)]
        return await self._tcp(listener)

    def require_none_left(self) -> None:
        """To be called when all listeners have theirs.

        Raises:
            ConfigurationError: systemd passes what the configuration does not listen on: clients would wait there for ever.
        """
        if self._passed:
            address = min(self._passed)
            what = address if address.startswith("/") else f"https://{address}"
            fix = f"add {what} to server.listen, or remove it from {_UNIT}"
            raise _misfit(address, "is passed by systemd, and the configuration does not listen there", fix)

    async def _tcp(self, listener: TcpListener) -> tuple[str, list[socket.socket]]:
        found, port = [], listener.port
        loop = asyncio.get_running_loop()
        for family, _, _, _, address in await loop.getaddrinfo(
            listener.host, listener.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            passed = self._passed.pop(_text(str(address[0]), port), None)
            # Port 0 becomes a real one with the first address, and is the same for all.
            each = passed or _tcp_socket(family, (address[0], port, *address[2:]), listener=listener)
            port = each.getsockname()[1]
            found.append(each)
        return str(TcpListener(tls=listener.tls, host=listener.host, port=port)), found


def _tcp_socket(family: int, address: tuple[object, ...], *, listener: TcpListener) -> socket.socket:
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        # A host name gives an address of each family; each has a socket of its own.
        listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    try:
        listening.bind(address)
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        fix = _BIND_FIXES.get(error.errno or 0, "correct server.listen")
        what = f"{listener}: {os.strerror(error.errno or 0)} — fix: {fix.format(port=address[1])}"
        raise OSError(what) from error
    return listening


def _unix_socket(listener: UnixListener) -> socket.socket:
    """Listen at a path. A socket that a killed broker left behind is replaced; nothing else is.

    Raises:
        OSError: Something else lies there, or somebody else's, or somebody listens.
    """
    _remove_left_behind(listener.path)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(str(listener.path))
    # Nobody gets in before: a socket that does not listen refuses.
    listener.path.chmod(_mode(listener))
    listening.listen(_BACKLOG)
    return listening


def _remove_left_behind(path: Path) -> None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode) or found.st_uid != os.geteuid():
        raise OSError(f"{path} is not a socket of ours: remove it, or choose another path in the configuration")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise OSError(f"{path}: another broker listens there")


def _number(text: str) -> int:
    if text and not (text.isascii() and text.isdecimal()):
        raise _misfit("LISTEN_FDS", f"is not a number of descriptors: {text!r}", "leave it to systemd")
    return int(text or 0)


def _is_socket(descriptor: int) -> bool:
    try:
        return stat.S_ISSOCK(os.fstat(descriptor).st_mode)
    except OSError:
        # Fewer were passed than was said.
        return False


def _mode(listener: UnixListener) -> int:
    return _PRIVATE_MODE if listener.is_private else _MODE


def _require_private(listener: UnixListener) -> None:
    """That only those may connect who might to a socket of our own making."""
    if not listener.is_private:
        return
    found = listener.path.lstat()
    mode = stat.S_IMODE(found.st_mode)
    if not stat.S_ISSOCK(found.st_mode):
        raise _misfit(str(listener.path), "is not a socket any more", f"restart {_UNIT}")
    if mode & ~_PRIVATE_MODE:
        what = f"has mode {mode:04o}, and only root and the broker's group may connect there"
        raise _misfit(str(listener.path), what, f"write SocketMode={_PRIVATE_MODE:04o} in {_UNIT}")
    if found.st_gid not in {_ROOT, os.getegid()} and mode & stat.S_IWGRP:
        what = "is another group's, and only root and the broker's group may connect there"
        raise _misfit(str(listener.path), what, f"write SocketGroup={_group()} in {_UNIT}")
    if found.st_uid not in {_ROOT, os.geteuid()}:
        what = "is another account's, and only root and the broker's group may connect there"
        raise _misfit(str(listener.path), what, f"remove SocketUser= from {_UNIT}")


def _group() -> str:
    try:
        return grp.getgrgid(os.getegid()).gr_name
    except KeyError:
        return str(os.getegid())


def _address_of(passed: socket.socket) -> str:
    address = passed.getsockname()
    is_ip = passed.family in (socket.AF_INET, socket.AF_INET6)
    # Another kind, or an abstract name, is no address that can be configured, and is refused by what it is called here.
    return _text(address[0], address[1]) if is_ip else str(address)


def _text(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _misfit(socket_name: str, what: str, fix: str) -> ConfigurationError:
    return ConfigurationError([f"socket {socket_name}: {what} — fix: {fix}"])
