"""Runs the broker until SIGTERM: listens, tells systemd, keeps the checkpoints coming, drains, exits 0.

The notification protocol is sd_notify(3): datagrams to ``$NOTIFY_SOCKET``, by hand because it is twenty lines.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import ssl
import stat
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Protocol

from broker.config.values import Listener, TcpListener, UnixListener

# Promised: drained within 10 s. Handlers get this long, the audit's closing words the rest.
_DRAIN = timedelta(seconds=8)
# A defect that is there for good costs a line of the log a second, and no processor.
_BEGUN_AGAIN_SECONDS = 1.0
_CANCEL_EVERY_SECONDS = 0.1
# Any local user may ask; who they are is Kerberos's word. On the operators' socket only root and the broker's group may.
_SOCKET_MODE, _PRIVATE_SOCKET_MODE = 0o666, 0o660
# Connections that wait for us; the kernel's net.core.somaxconn may be less.
_BACKLOG = 1024

_log = logging.getLogger(__name__)


class Door(Protocol):
    """What serves connections."""

    async def setup(self) -> None:
        """Get ready."""

    async def listen(self, listening: socket.socket, *, tls: ssl.SSLContext | None) -> None:
        """Serve what connects to this socket, which is the door's from here on."""

    async def cleanup(self) -> None:
        """Let handlers finish, then close everything."""


class Service(Protocol):
    """What the daemon needs to know of a broker."""

    def runner(self, *, shutdown_timeout: float) -> Door:
        """What serves connections; handlers get ``shutdown_timeout`` seconds at the end."""

    async def reload(self) -> None:
        """Take over what changed on disk."""

    def stop_accepting(self) -> None:
        """Refuse from now on."""

    async def close(self) -> None:
        """Finish."""


async def run(
    service: Service,
    *,
    listeners: Sequence[Listener],
    tls: ssl.SSLContext | None,
    background: Sequence[Callable[[], Awaitable[None]]],
    environ: Mapping[str, str],
) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        OSError: An address cannot be listened on.
    """
    stop, look = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, look.set)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    runner = service.runner(shutdown_timeout=_DRAIN.total_seconds())
    notify = _Notifier(environ)
    await runner.setup()
    try:
        addresses = [await _listen(runner, listener, tls) for listener in listeners]
        reload = partial(_reload_when_told, service, look, notify)
        works: list[Callable[[], Awaitable[None]]] = [*background, notify.keep_watchdog_fed, reload]
        tasks = [asyncio.ensure_future(_kept_going(work)) for work in works]
        # What is there now stays: the collector need not walk through it again, in the middle of somebody's request.
        gc.freeze()
        _log.info("listening on %s", " ".join(addresses))
        notify.send(f"READY=1\nSTATUS=Serving on {' '.join(addresses)}")
        await stop.wait()
        notify.send("STOPPING=1\nSTATUS=Draining")
        _log.info("draining")
        service.stop_accepting()
        await _end(tasks)
    finally:
        await runner.cleanup()
        await service.close()
    _log.info("stopped")


async def _kept_going(work: Callable[[], Awaitable[None]]) -> None:
    """Until it ends by itself. A defect in what hears of revocations, say, must neither end that silently nor everything else."""
    while True:
        try:
            await work()
        except Exception:  # noqa: BLE001  # logged with its trace, and begun again
            _log.exception("a defect in the background: %s is begun again", getattr(work, "__qualname__", work))
            await asyncio.sleep(_BEGUN_AGAIN_SECONDS)
        else:
            return


async def _end(tasks: Sequence[asyncio.Future[None]]) -> None:
    """Cancel until all have ended: a library's timeout that runs out at that moment takes a cancellation for its own."""
    while running := [task for task in tasks if not task.done()]:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=_CANCEL_EVERY_SECONDS)


async def _reload_when_told(service: Service, told: asyncio.Event, notify: _Notifier) -> None:
    while True:
        await told.wait()
        told.clear()
        # Type=notify-reload waits for READY; the timestamp tells it that this reload is the one it asked for.
        notify.send(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")
        await service.reload()
        notify.send("READY=1")


async def _listen(door: Door, listener: Listener, tls: ssl.SSLContext | None) -> str:
    if isinstance(listener, UnixListener):
        mode = _PRIVATE_SOCKET_MODE if listener.is_private else _SOCKET_MODE
        await door.listen(_unix_socket(listener.path, mode=mode), tls=None)
        return str(listener)
    port = listener.port
    for family, _, _, _, address in await asyncio.get_running_loop().getaddrinfo(
        listener.host, listener.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    ):
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # A host name gives an address of each family; each has a socket of its own.
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        # Port 0 becomes a real one with the first address, and is the same for all.
        listening.bind((address[0], port, *address[2:]))
        listening.listen(_BACKLOG)
        port = listening.getsockname()[1]
        await door.listen(listening, tls=tls if listener.tls else None)
    return str(TcpListener(tls=listener.tls, host=listener.host, port=port))


def _unix_socket(path: Path, *, mode: int) -> socket.socket:
    """Listen at a path. A socket that a killed broker left behind is replaced; nothing else is.

    Raises:
        OSError: Something else lies there, or somebody else's, or somebody listens.
    """
    _remove_left_behind(path)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(str(path))
    # Nobody gets in before: a socket that does not listen refuses.
    path.chmod(mode)
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


class _Notifier:
    """systemd's ear, if it listens."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        self._watchdog = int(environ.get("WATCHDOG_USEC", "0")) / 1_000_000
        # The setting is meant for the process it was given to, and only for it.
        if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
            self._watchdog = 0.0

    def send(self, message: str) -> None:
        if not self._address:
            return
        # A leading @ stands for the abstract namespace, whose names begin with a zero byte.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as ear:
            ear.sendto(message.encode(), address)

    async def keep_watchdog_fed(self) -> None:
        """As long as the event loop turns. Twice as often as asked, as sd_watchdog_enabled(3) advises."""
        while self._watchdog:
            self.send("WATCHDOG=1")
            await asyncio.sleep(self._watchdog / 2)
