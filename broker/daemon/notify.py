"""Tells systemd how we are: sd_notify(3), datagrams to ``$NOTIFY_SOCKET``, by hand because it is thirty lines."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable, Mapping

# How long `systemctl status` may show what was so.
_STATUS_EVERY_SECONDS = 2.0


class Notifier:
    """systemd's ear, if it listens."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        self._watchdog = int(environ.get("WATCHDOG_USEC", "0")) / 1_000_000
        # The setting is meant for the process it was given to, and only for it.
        if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
            self._watchdog = 0.0

    def ready(self, status: str) -> None:
        """We serve; also the end of a reload."""
        self._send("READY=1", status=status)

    def reloading(self) -> None:
        """We read again what is on disk. The time is for Type=notify-reload, systemd 253 and later."""
        self._send(
            f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}", status="Reloading"
        )

    def stopping(self) -> None:
        """We end."""
        self._send("STOPPING=1", status="Draining")

    async def keep_watchdog_fed(self) -> None:
        """As long as the event loop turns. Twice as often as asked, as sd_watchdog_enabled(3) advises."""
        while self._watchdog:
            self._send("WATCHDOG=1")
            await asyncio.sleep(self._watchdog / 2)

    async def keep_status(self, status: Callable[[], str]) -> None:
        """Say how we are when it has changed. Until cancelled."""
        said = ""
        while self._address:
            now = status()
            if now != said:
                self._send("", status=now)
                said = now
            await asyncio.sleep(_STATUS_EVERY_SECONDS)

    def _send(self, message: str, *, status: str = "") -> None:
        if not self._address:
            return
        lines = [line for line in (message, status and f"STATUS={' '.join(status.split())}") if line]
        # A leading @ stands for the abstract namespace, whose names begin with a zero byte.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as ear:
            ear.sendto("\n".join(lines).encode(), address)
