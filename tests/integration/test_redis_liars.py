"""Of those who say where Redis is, one lies or talks nonsense: the others are heard."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from broker.assembly.primary import NoPrimary, Sentinels, Slot

OPTIONS = {"socket_timeout": 5, "socket_connect_timeout": 5, "driver_info": None}
TRUE = ("127.0.0.1", 7001)
FALSE = ("127.0.0.9", 666)
# What strangers say in place of an answer: numbers, lists of something else, half a map, bytes that are no text.
NONSENSE = (
    b":7\r\n",
    b"*-1\r\n",
    b"*1\r\n*1\r\n:1\r\n",
    b"*2\r\n:1\r\n:2\r\n",
    b"*2\r\n$2\r\nip\r\n$1\r\n\xff\r\n",
    b"*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$1\r\nh\r\n$1\r\nx\r\n",
    b"$1\r\nx\r\n",
)


HELLO = b"%1\r\n+proto\r\n:3\r\n"


def mapped(*words: str) -> bytes:
    return f"%{len(words) // 2}\r\n".encode() + b"".join(f"${len(word)}\r\n{word}\r\n".encode() for word in words)


def sentinel(address: tuple[str, int], *, epoch: int) -> bytes:
    return mapped("ip", address[0], "port", str(address[1]), "flags", "master", "config-epoch", str(epoch))


def slots(address: tuple[str, int], *, times: int = 1) -> bytes:
    one = b"*3\r\n:0\r\n:16383\r\n*2\r\n$%d\r\n%s\r\n:%d\r\n" % (len(address[0]), address[0].encode(), address[1])
    return b"*%d\r\n" % times + one * times


@contextlib.asynccontextmanager
async def saying(*answers: bytes) -> AsyncIterator[list[tuple[str, int]]]:
    """One server for each answer, which gives it to every question."""

    def serve(answer: bytes) -> object:
        async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while said := await reader.read(4096):
                writer.write(HELLO if b"HELLO" in said else answer)
            writer.close()

        return asyncio.start_server(served, "127.0.0.1", 0)

    servers = [await serve(answer) for answer in answers]  # type: ignore[misc]
    try:
        yield [server.sockets[0].getsockname()[:2] for server in servers]
    finally:
        for server in servers:
            server.close()


@pytest.mark.parametrize("nonsense", NONSENSE)
async def test_a_sentinel_that_talks_nonsense_keeps_nobody_from_hearing_the_others(nonsense: bytes) -> None:
    async with saying(nonsense, sentinel(TRUE, epoch=3), nonsense) as hosts:
        finder = Sentinels(hosts, service="zerotrust", options=OPTIONS)
        assert await finder.primary() == TRUE
        await finder.aclose()
        alone = Sentinels(hosts[:1], service="zerotrust", options=OPTIONS)
        with pytest.raises(NoPrimary):
            await alone.primary()
        await alone.aclose()


@pytest.mark.parametrize("nonsense", NONSENSE)
async def test_a_host_of_a_cluster_that_talks_nonsense_keeps_nobody_from_hearing_the_others(nonsense: bytes) -> None:
    async with saying(nonsense, slots(TRUE), nonsense) as hosts:
        finder = Slot(hosts, tag="shared", options=OPTIONS)
        assert await finder.primary() == TRUE
        await finder.aclose()
        alone = Slot(hosts[:1], tag="shared", options=OPTIONS)
        with pytest.raises(NoPrimary):
            await alone.primary()
        await alone.aclose()


async def test_a_host_that_claims_our_keys_a_thousand_times_has_one_vote() -> None:
    async with saying(slots(FALSE, times=1000), slots(TRUE), slots(TRUE)) as hosts:
        finder = Slot(hosts, tag="shared", options=OPTIONS)
        assert await finder.primary() == TRUE
        await finder.aclose()
