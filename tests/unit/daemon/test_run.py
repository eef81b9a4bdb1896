"""What the daemon does with its background tasks."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import ssl

import pytest

from broker.daemon import run as daemon


async def test_a_task_that_loses_a_cancellation_is_told_again() -> None:
    lost = 0

    async def careless() -> None:
        nonlocal lost
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                if lost == 2:
                    raise
                lost += 1

    task = asyncio.ensure_future(careless())
    await asyncio.sleep(0)
    await asyncio.wait_for(daemon._end([task]), timeout=5)
    assert (lost, task.cancelled()) == (2, True)


async def test_what_fails_in_the_background_is_logged_and_begun_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(daemon, "_BEGUN_AGAIN_SECONDS", 0.001)
    begun = 0

    async def work() -> None:
        nonlocal begun
        begun += 1
        if begun < 3:
            raise ValueError("what nobody thought of")

    await asyncio.wait_for(daemon._kept_going(work), timeout=30)
    assert begun == 3
    assert [record.exc_info is not None for record in caplog.records] == [True, True]
    assert all("work is begun again" in record.getMessage() for record in caplog.records)


class _Idle:
    """A service and its door, with nothing behind them."""

    def runner(self, *, shutdown_timeout: float) -> _Idle:  # noqa: ARG002  # nothing is open that long
        return self

    def status(self) -> str:
        return "all well"

    def drain(self) -> None:
        """Nobody is there."""

    refuse = drain

    async def reload(self) -> None:
        """Nothing changed."""

    setup = last_orders = cleanup = close = reload

    async def listen(self, listening: socket.socket, *, tls: ssl.SSLContext | None) -> None:
        """Nobody knocks."""


async def test_the_collector_that_a_start_puts_to_sleep_is_awake_when_the_broker_is_ready() -> None:
    awake: list[bool] = []

    async def look() -> None:
        awake.append(gc.isenabled())
        os.kill(os.getpid(), signal.SIGTERM)

    gc.disable()
    try:
        async with asyncio.timeout(30):
            await daemon.run(_Idle(), listeners=[], tls=None, background=[look], environ={})
    finally:
        gc.enable()
        gc.unfreeze()
    assert awake == [True]
