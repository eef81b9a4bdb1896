"""How many connections a process of the agent serves at once, and that places come back."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from zerotrust_kerberos.agent import http
from zerotrust_kerberos.agent.http import Door, Reply, Request

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

PLACES = 3
ASKED = b"GET / HTTP/1.1\r\n\r\n"


async def _answer(_request: Request) -> Reply:
    return Reply(200, b"here", kind="text/plain")


async def test_beyond_all_places_a_connection_is_closed_unread_until_one_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "CONNECTIONS_MAX", PLACES)
    monkeypatch.setattr(http, "PATIENCE", 600.0)
    door = Door(_answer, of=lambda _socket: os.geteuid())
    path = str(tmp_path / "door.sock")
    async with await asyncio.start_unix_server(door.connected, path), asyncio.timeout(60):
        silent = [await asyncio.open_unix_connection(path) for _ in range(PLACES)]
        await _comes_to(door, PLACES)
        reader, writer = await asyncio.open_unix_connection(path)
        assert await reader.read() == b""
        writer.close()
        silent[0][1].close()
        await _comes_to(door, PLACES - 1)
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(ASKED)
        assert (await reader.read()).endswith(b"here")
        for _, each in (*silent[1:], (reader, writer)):
            each.close()
        await door.empty.wait()


async def _comes_to(door: Door, number: int) -> None:
    while door.open != number:  # noqa: ASYNC110  the door tells nobody, but that it is empty
        await asyncio.sleep(0)
