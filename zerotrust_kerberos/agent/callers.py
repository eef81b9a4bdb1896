"""Whose process is at the other end of a socket, by the kernel's word and nobody else's."""

from __future__ import annotations

import contextlib
import os
import socket
import struct

# linux/netlink.h, linux/sock_diag.h, linux/inet_diag.h.
_SOCK_DIAG = 4  # NETLINK_SOCK_DIAG
_BY_FAMILY, _REQUEST = 20, 1
_NO_COOKIE = 0xFFFFFFFF
_ESTABLISHED = 1
_HEADER = struct.Struct("=IHHII")  # nlmsghdr
_ASKED = struct.Struct("=BBBxI")  # inet_diag_req_v2 up to its id
_SOCKET = struct.Struct("!HH16s16s")  # inet_diag_sockid up to its interface; ports and addresses in network order
_REST = struct.Struct("=III")  # interface and cookie
_FOUND = struct.Struct("=BBxx")  # inet_diag_msg up to its id
_OWNER = struct.Struct("=II")  # uid and inode
_OWNER_AT = _HEADER.size + _FOUND.size + 48 + 12  # behind the id, two queue lengths and a timer
_ANSWER_MAX = 4096

# SO_PEERCRED: pid, uid, gid of whoever connected, or called listen().
_PEER = struct.Struct("iII")


def of_unix(connection: socket.socket) -> int:
    """The uid at the other end of a Unix socket, as it was when it connected (unix(7))."""
    _, uid, _ = _PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    return int(uid)


def of_loopback(connection: socket.socket) -> int | None:
    """The uid whose socket is at the other end of an IPv4 connection of this machine; None where there is none any more."""
    found = _other_end(connection)
    return found and found[0]


def is_neighbour(connection: socket.socket) -> bool:
    """Whether the process at the other end of such a connection sees the files that we see.

    A container can share this machine's network and our uid, but not its files. Of several processes that hold the socket all
    have to; one that we may not look at is none, and without one the answer is no.
    """
    found = _other_end(connection)
    holders = _holders(f"socket:[{found[1]}]") if found else []
    return bool(holders) and all(map(_sees_what_we_see, holders))


def _holders(link: str) -> list[str]:
    """Folders in /proc of the processes that have a descriptor which leads there."""
    with os.scandir("/proc") as processes:
        return [process.path for process in processes if process.name.isdigit() and _holds(process.path, link)]


def _holds(process: str, link: str) -> bool:
    with contextlib.suppress(OSError), os.scandir(f"{process}/fd") as descriptors:
        for descriptor in descriptors:
            with contextlib.suppress(OSError):  # it was closed meanwhile
                if os.readlink(descriptor.path) == link:  # noqa: PTH115
                    return True
    return False


def _sees_what_we_see(process: str) -> bool:
    try:
        return all(
            os.path.samefile(f"{process}/{what}", f"/proc/self/{what}")  # noqa: PTH121
            for what in ("ns/mnt", "root")
        )
    except OSError:
        return False


def _other_end(connection: socket.socket) -> tuple[int, int] | None:
    """Uid and inode of the socket there.

    One question to the kernel about one socket (sock_diag(7)): /proc/net/tcp would be a table of all of them, read while it
    changes.
    """
    (there, its_port), (here, our_port) = connection.getpeername(), connection.getsockname()
    of_socket = _SOCKET.pack(its_port, our_port, socket.inet_aton(there), socket.inet_aton(here))
    asked = _ASKED.pack(socket.AF_INET, socket.IPPROTO_TCP, 0, 1 << _ESTABLISHED) + of_socket
    asked += _REST.pack(0, _NO_COOKIE, _NO_COOKIE)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _SOCK_DIAG) as kernel:
        kernel.send(_HEADER.pack(_HEADER.size + len(asked), _BY_FAMILY, _REQUEST, 1, 0) + asked)
        answer = kernel.recv(_ANSWER_MAX)
    _, kind, *_ = _HEADER.unpack_from(answer)
    if kind != _BY_FAMILY or len(answer) < _OWNER_AT + _OWNER.size:
        return None
    _, state = _FOUND.unpack_from(answer, _HEADER.size)
    # Where there is no such connection the kernel may answer with one that listens.
    if state != _ESTABLISHED or answer[_HEADER.size + _FOUND.size :][:4] != of_socket[:4]:
        return None
    uid, inode = _OWNER.unpack_from(answer, _OWNER_AT)
    return uid, inode
