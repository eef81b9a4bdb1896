"""A process of one user that serves what the agent's parent hands it: accepted connections of that user, and nothing else.

It gives up root before it does anything, for good: the order of rpc.gssd and sshd. Everything that reads what a user said, looks
into a user's tickets or talks to the broker is this side of that line.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import functools
import os
import random
import resource
import signal
import socket
import time
from typing import NoReturn

from zerotrust_kerberos import output
from zerotrust_kerberos.agent import callers, hardened
from zerotrust_kerberos.agent.http import HEAD_MAX, Door
from zerotrust_kerberos.agent.source import Source
from zerotrust_kerberos.agent.surface import Surface
from zerotrust_kerberos.credential_process import asked
from zerotrust_kerberos.failures import Failure
from zerotrust_kerberos.settings import Settings

# Bytes of address space, of which Python takes a tenth. What a user makes us read, such as a ticket cache without an end, must
# not take the machine's memory, which is not counted as theirs.
_MEMORY = 512 * 1024 * 1024
# Group "nogroup": tickets are a user's, and no group has to do with them.
_NO_GROUP = 65534
_CHANNEL = 3
# Seconds without anything to keep or to do, after which the next question starts another worker.
IDLE = 60.0
# What is kept of the parent's environment: where krb5.conf is.
_KEPT = ("KRB5_CONFIG", "PATH")


def work(channel: socket.socket, uid: int, settings: Settings) -> NoReturn:
    """Become ``uid`` and serve what comes through ``channel``, in a process that was forked for it."""
    try:
        os.dup2(channel.fileno(), _CHANNEL)
        # Neither the listener nor another user's channel.
        os.closerange(_CHANNEL + 1, os.sysconf("SC_OPEN_MAX"))
        channel.detach()
        _become(uid)
        _forget_surroundings()
        asyncio.run(serve(socket.socket(fileno=_CHANNEL), settings))
    except (OSError, Failure) as error:
        output.say(f"zerotrust agent: the worker of uid {uid} ends: {error}\n")
    finally:
        os._exit(0)


def _become(uid: int) -> None:
    """Give up root, or all that it can do beyond its own files. Raises where that is not certain."""
    _leave_keyring()
    os.setgroups([])
    os.setresgid(_NO_GROUP, _NO_GROUP, _NO_GROUP)
    os.setresuid(uid, uid, uid)
    hardened.gain_nothing()
    hardened.without_capabilities()
    hardened.hide()
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    if os.getresuid() != (uid, uid, uid) or os.getresgid() != (_NO_GROUP,) * 3 or os.getgroups():
        raise PermissionError("this is not the user it has to be")
    another = uid - 1 if uid else uid + 1
    with contextlib.suppress(PermissionError):
        os.setresuid(another, another, another)
        os._exit(1)


def _leave_keyring() -> None:
    """The session keyring of whoever started the agent: its keys would be in our possession (session-keyring(7))."""
    with contextlib.suppress(OSError):  # without the library nobody here reads a keyring
        ctypes.CDLL("libkeyutils.so.1").keyctl_join_session_keyring(None)


def _forget_surroundings() -> None:
    os.umask(0o077)
    os.chdir("/")
    for name in [name for name in os.environ if name not in _KEPT]:
        del os.environ[name]
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


async def serve(channel: socket.socket, settings: Settings) -> None:
    """Serve until the parent has gone, or there was nothing to do for so long."""
    source = Source(settings, ask=asked, takes_any_file=False, now=time.time, chance=random.random)
    door = Door(Surface(source, settings).answer, of=callers.of_unix)
    while True:
        try:
            async with asyncio.timeout(IDLE):
                await _readable(channel)
        except TimeoutError:
            if door.open or not source.keeper.is_idle:
                continue
            # From here on the parent starts another one; what it had sent before that is served.
            channel.shutdown(socket.SHUT_RD)
        if not await _take(channel, door):
            break
    await door.empty.wait()


async def _readable(channel: socket.socket) -> None:
    loop, readable = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(channel, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(channel)


async def _take(channel: socket.socket, door: Door) -> bool:
    """One connection, to be served; False where no more will come."""
    loop = asyncio.get_running_loop()
    # Where we have no descriptor left for it the kernel drops the connection and delivers the rest.
    try:
        message, descriptors, _, _ = socket.recv_fds(channel, 1, 1)
    except ConnectionError:
        return False  # the parent has gone, and some of our signs were still to be read
    if message:
        with contextlib.suppress(OSError):
            channel.send(b"\0")  # the parent counts what is on its way
    for descriptor in descriptors:
        protocol = asyncio.StreamReaderProtocol(asyncio.StreamReader(limit=HEAD_MAX), door.connected)
        with contextlib.suppress(OSError):
            connection = socket.socket(fileno=descriptor)
            connection.setblocking(False)
            await loop.connect_accepted_socket(functools.partial(_same, protocol), connection)
    return bool(message)


def _same(protocol: asyncio.StreamReaderProtocol) -> asyncio.StreamReaderProtocol:
    return protocol
