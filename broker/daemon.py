"""Runs the broker until SIGTERM: listens, tells systemd, keeps the checkpoints coming, drains, exits 0.

The notification protocol is sd_notify(3): datagrams to ``$NOTIFY_SOCKET``, by hand because it is twenty lines.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Protocol

from aiohttp import web

from broker.config.values import Listener, TcpListener

# Promised: drained within 10 s. Handlers get this long, the audit's closing words the rest.
_DRAIN = timedelta(seconds=8)
# Any local user may ask; who they are is Kerberos's word.
_SOCKET_MODE = 0o666

_log = logging.getLogger(__name__)


class Service(Protocol):
    """What the daemon needs to know of a broker."""

    def runner(self, *, shutdown_timeout: float) -> web.AppRunner:
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
        tasks = [asyncio.ensure_future(work()) for work in (*background, notify.keep_watchdog_fed)]
        tasks.append(asyncio.ensure_future(_reload_when_told(service, look, notify)))
        _log.info("listening on %s", " ".join(addresses))
        notify.send(f"READY=1\nSTATUS=Serving on {' '.join(addresses)}")
        await stop.wait()
        notify.send("STOPPING=1\nSTATUS=Draining")
        _log.info("draining")
        service.stop_accepting()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    finally:
        await runner.cleanup()
        await service.close()
    _log.info("stopped")


async def _reload_when_told(service: Service, told: asyncio.Event, notify: _Notifier) -> None:
    while True:
        await told.wait()
        told.clear()
        # Type=notify-reload waits for READY; the timestamp tells it that this reload is the one it asked for.
        notify.send(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")
        await service.reload()
        notify.send("READY=1")


async def _listen(runner: web.AppRunner, listener: Listener, tls: ssl.SSLContext | None) -> str:
    if isinstance(listener, TcpListener):
        site = web.TCPSite(runner, listener.host, listener.port, ssl_context=tls if listener.tls else None)
        await site.start()
        # Port 0 has become a real one.
        port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]  # noqa: SLF001
        return str(TcpListener(tls=listener.tls, host=listener.host, port=port))
    await web.UnixSite(runner, listener.path).start()
    listener.path.chmod(_SOCKET_MODE)
    return str(listener)


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
