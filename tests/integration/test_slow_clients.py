"""Clients that dawdle: the server's side of a connection, on real sockets, with the deadlines shortened."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from aiohttp import web

from broker.web import credentials, unreadable
from broker.web.app import build
from broker.web.health import Health

HEAD = b"POST /v1/credentials HTTP/1.1\r\nHost: localhost\r\nX-Zerotrust-Request: 1\r\n"
HEAD += b"Content-Type: application/json\r\nContent-Length: 20\r\n\r\n"


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    monkeypatch.setattr(unreadable, "_HEAD_SECONDS", 0.4)
    monkeypatch.setattr(unreadable, "_LINGER_SECONDS", 0.2)
    monkeypatch.setattr(credentials, "_BODY_SECONDS", 0.4)
    health = Health(probes={}, vital=frozenset(), metrics=lambda: b"", jwks={})
    app = build(issuer=cast("Any", None), health=health, hostnames=frozenset({"localhost"}), networks=(), https=False)
    runner = unreadable.Runner(app, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield runner.addresses[0][1]
    await runner.cleanup()


async def answer_to(port: int, *pieces: bytes, pause: float = 0.05) -> tuple[bytes, float]:
    """What comes back until the connection is closed, and after how many seconds."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    started = time.monotonic()

    async def dribble() -> None:
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(pause)

    writing = asyncio.ensure_future(dribble())
    try:
        answer = await asyncio.wait_for(reader.read(), 5)
    except ConnectionError:
        answer = b""
    writing.cancel()
    writer.close()
    return answer, time.monotonic() - started


def test_the_deadlines_are_the_promised_ones() -> None:
    assert unreadable._HEAD_SECONDS < 10
    assert credentials._BODY_SECONDS + unreadable._LINGER_SECONDS < 15


@pytest.mark.parametrize("pieces", [(), (b"G",), tuple(b"GET / HTTP/1.1\r\nHost: localhost" + b"x" * 100)], ids=len)
async def test_a_head_that_does_not_come_or_dribbles_is_closed(port: int, pieces: tuple[bytes | int, ...]) -> None:
    answer, seconds = await answer_to(port, *(bytes([one]) if isinstance(one, int) else one for one in pieces))
    assert answer == b""
    assert 0.3 < seconds < 2


async def test_a_body_that_does_not_come_is_refused_and_closed(port: int) -> None:
    answer, seconds = await answer_to(port, HEAD, b"{", b'"', b"r")
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"send the body within" in answer
    assert seconds < 2


async def test_a_client_in_time_is_not_hurried_afterwards(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(2):
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        await reader.readuntil(b'{"status": "ok"}')
        await asyncio.sleep(0.6)
    writer.close()
