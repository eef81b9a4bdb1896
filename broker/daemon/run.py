"""Runs the broker until SIGTERM: listens, tells systemd, keeps the checkpoints coming, drains, exits 0."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
import ssl
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Protocol

from broker.config.values import Listener, TcpListener
from broker.core.happening import Happening
from broker.daemon.notify import Notifier
from broker.daemon.sockets import Sockets

# Promised: drained within 10 s. Last orders take at most two of them (``web.runner``), handlers get this long, and the
# audit's closing words the rest.
_DRAIN = timedelta(seconds=6)
# A defect that is there for good costs a line of the log a second, and no processor.
_BEGUN_AGAIN_SECONDS = 1.0
_CANCEL_EVERY_SECONDS = 0.1

_log = logging.getLogger(__name__)


class Door(Protocol):
    """What serves connections."""

    async def setup(self) -> None:
        """Get ready."""

    async def listen(self, listening: socket.socket, *, tls: ssl.SSLContext | None) -> None:
        """Serve what connects to this socket, which is the door's from here on."""

    async def last_orders(self) -> None:
        """Take nobody else in, and give those who are in the time to ask once more."""

    async def cleanup(self) -> None:
        """Let handlers finish, then close everything."""


class Service(Protocol):
    """What the daemon needs to know of a broker."""

    def runner(self, *, shutdown_timeout: float) -> Door:
        """What serves connections; handlers get ``shutdown_timeout`` seconds at the end."""

    def status(self) -> str:
        """How it is, in a line for whoever looks at the unit."""

    async def reload(self) -> None:
        """Take over what changed on disk."""

    def drain(self) -> None:
        """Say to whoever asks that it ends: load balancers, and clients that would keep their connection."""

    def refuse(self) -> None:
        """Refuse from now on."""

    async def close(self) -> None:
        """Finish."""


async def run(
    service: Service,
    *,
    listeners: Sequence[Listener],
    tls: ssl.SSLContext | None,
    background: Sequence[Callable[[], Awaitable[None]]],
    environ: MutableMapping[str, str],
) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        ConfigurationError: systemd passes sockets that do not fit.
        OSError: An address cannot be listened on.
    """
    stop, look = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, look.set)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    runner = service.runner(shutdown_timeout=_DRAIN.total_seconds())
    notify = Notifier(environ)
    await runner.setup()
    try:
        addresses = " ".join(await _listen(runner, listeners, tls=tls, environ=environ))

        def status() -> str:
            return f"Serving on {addresses}; {service.status()}"

        reload = partial(_reload_when_told, service, look, notify, status)
        works: list[Callable[[], Awaitable[None]]] = [
            *background,
            notify.keep_watchdog_fed,
            partial(notify.keep_status, status),
            reload,
        ]
        tasks = [asyncio.ensure_future(_kept_going(work)) for work in works]
        # What is there now stays: the collector need not walk through it again, in the middle of somebody's request. The start
        # went without it.
        gc.freeze()
        gc.enable()
        _log.info("listening on %s", addresses, extra=Happening.SERVING.said())
        notify.ready(status())
        await stop.wait()
        notify.stopping()
        _log.info("draining")
        service.drain()
        await runner.last_orders()
        service.refuse()
        await _end(tasks)
    finally:
        await runner.cleanup()
        await service.close()
    _log.info("stopped", extra=Happening.STOPPED.said())


async def _listen(
    door: Door, listeners: Sequence[Listener], *, tls: ssl.SSLContext | None, environ: MutableMapping[str, str]
) -> list[str]:
    """Open the door; the addresses of it."""
    sockets = Sockets.passed_to_us(environ)
    found = [(listener, *await sockets.of(listener)) for listener in listeners]
    # Before anybody is let in.
    sockets.require_none_left()
    for listener, _, each in found:
        encrypted = tls if isinstance(listener, TcpListener) and listener.tls else None
        for listening in each:
            await door.listen(listening, tls=encrypted)
    return [address for _, address, _ in found]


async def _kept_going(work: Callable[[], Awaitable[None]]) -> None:
    """Until it ends by itself. A defect in what hears of revocations, say, must neither end that silently nor everything else."""
    while True:
        try:
            await work()
        except Exception:  # noqa: BLE001  # logged with its trace, and begun again
            _log.exception(
                "a defect in the background: %s is begun again",
                getattr(work, "__qualname__", work),
                extra=Happening.DEFECT.said(),
            )
            await asyncio.sleep(_BEGUN_AGAIN_SECONDS)
        else:
            return


async def _end(tasks: Sequence[asyncio.Future[None]]) -> None:
    """Cancel until all have ended: a library's timeout that runs out at that moment takes a cancellation for its own."""
    while running := [task for task in tasks if not task.done()]:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=_CANCEL_EVERY_SECONDS)


async def _reload_when_told(service: Service, told: asyncio.Event, notify: Notifier, status: Callable[[], str]) -> None:
    while True:
        await told.wait()
        told.clear()
        notify.reloading()
        try:
            await service.reload()
        finally:
            # With what came of it. Whatever it is, we serve.
            notify.ready(status())
