"""Where the Redis is that may be written to, while it moves: by sentinels, or in a cluster.

Connections ask when they are made, and are given up when what they lead to is the primary no more; so a failover costs what is
under way, and the next request finds the new one. All who can say are asked at once: one that was cut off from the others says
what it knew before, and others know better.

Whoever answers is trusted with nothing but the direction: where they lead is held to the configuration's TLS, and without TLS to
loopback, or the password would go wherever somebody sends it.
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Protocol, TypeVar, cast

from redis import asyncio as redis
from redis.asyncio.sentinel import SentinelManagedConnection, SentinelManagedSSLConnection
from redis.crc import key_slot
from redis.exceptions import AskError, ClusterDownError, MasterDownError, MovedError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError

from broker.config.values import is_loopback

# Behind the first answer the others get this long: they come in a millisecond, or from a host that is away.
_SECOND_OPINIONS = timedelta(milliseconds=20)
_CONNECTIONS = 4
_LOOK_EVERY = timedelta(seconds=1)

# What our reading, or redis-py's, makes of an answer that is none.
_STRANGE = (LookupError, TypeError, ValueError, AttributeError)

Address = tuple[str, int]
_T = TypeVar("_T")


class NoPrimary(RedisConnectionError):
    """Nobody who answers knows one."""


class PlainBeyondLoopback(RedisConnectionError):
    """What we were led to would be spoken to in the clear."""


class NotPrimary(RedisConnectionError):
    """What we speak to is the primary no more, or not of our keys; the connection is given up."""


class Finder(Protocol):
    """Knows where the primary is."""

    async def primary(self) -> Address:
        """Its host and port, at this moment.

        Raises:
            RedisError, OSError: Nobody can say.
        """

    async def aclose(self) -> None:
        """Let go of the connections."""


class _Hosts:
    """All who can say; asked at once."""

    def __init__(self, hosts: Sequence[Address], *, options: Mapping[str, Any]) -> None:
        self._clients = [_client(host, port, options) for host, port in hosts]
        # Who is slower than the first is not waited for, and not broken off either: half a connection would be left lying about.
        self._late: set[asyncio.Future[Any]] = set()

    async def answers(self, question: Callable[[redis.Redis], Awaitable[Any]]) -> list[Any]:
        """What came in time; nobody waits for those that are slower than the first.

        Raises:
            NoPrimary: Nothing came; it says why.
        """
        waiting = {asyncio.ensure_future(question(client)) for client in self._clients}
        found: list[Any] = []
        failures: set[str] = set()
        while waiting:
            done, waiting = await asyncio.wait(
                waiting,
                timeout=_SECOND_OPINIONS.total_seconds() if found else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if not done:
                break
            found += [task.result() for task in done if _is_answer(task)]
            failures.update(type(task.exception()).__name__ for task in done if not _is_answer(task))
        self._late |= waiting
        for task in waiting:
            task.add_done_callback(self._late.discard)
            task.add_done_callback(_is_answer)
        if not found:
            raise NoPrimary(f"none of {len(self._clients)} who know the primary answers: {', '.join(sorted(failures))}")
        return found

    async def aclose(self) -> None:
        if self._late:
            await asyncio.wait(self._late)
        await asyncio.gather(*(client.aclose() for client in self._clients), return_exceptions=True)

    def __len__(self) -> int:
        return len(self._clients)


class Sentinels:
    """See ``Finder``: of the answers, that of the latest failover counts."""

    def __init__(self, hosts: Sequence[Address], *, service: str, options: Mapping[str, Any]) -> None:
        self._hosts = _Hosts(hosts, options=options)
        self._service = service

    async def primary(self) -> Address:
        """See ``Finder``."""
        answers = await self._hosts.answers(lambda client: client.sentinel_master(self._service))
        known = [found for answer in answers if (found := _read(_of_sentinel, answer)) is not None]
        if not known:
            raise NoPrimary(f"{len(answers)} of {len(self._hosts)} sentinels answer, and none knows a primary")
        _epoch, primary = max(known)
        return primary

    async def aclose(self) -> None:
        """See ``Finder``."""
        await self._hosts.aclose()


class Slot:
    """See ``Finder``, for all keys with one hash tag: of the answers, the one that most give counts."""

    def __init__(self, hosts: Sequence[Address], *, tag: str, options: Mapping[str, Any]) -> None:
        self._hosts = _Hosts(hosts, options=options)
        self._slot = key_slot(tag.encode())

    async def primary(self) -> Address:
        """See ``Finder``."""
        answers = [_read(self._of_host, answer) for answer in await self._hosts.answers(_slots)]
        found = Counter(answer for answer in answers if answer is not None)
        if not found:
            raise NoPrimary("no host of the cluster knows who has our keys")
        return found.most_common(1)[0][0]

    def _of_host(self, ranges: Any) -> Address | None:
        """One vote, however often its answer names somebody."""
        # CLUSTER SLOTS: first, last, then the primary (host, port, id, ...) and its replicas.
        return next(
            (
                (_text(host), int(port))
                for first, last, (host, port, *_), *_ in ranges
                if first <= self._slot <= last and host
            ),
            None,
        )

    async def aclose(self) -> None:
        """See ``Finder``."""
        await self._hosts.aclose()


class Pool(redis.BlockingConnectionPool):
    """Connections to wherever the primary is. Whoever connects notices that it moved, and what is idle is given up with that.

    A primary that was cut off goes on as one, and a Sentinel that reaches it again waits eight seconds before it says
    otherwise. Until then a connection to it breaks by nothing, and hears no news. So it is asked now and then who the primary is.
    """

    is_master = True
    check_connection = False

    def __init__(self, *, finder: Finder, tls: bool, **options: Any) -> None:
        super().__init__(connection_class=_TlsConnection if tls else _Connection, **options)
        self.connection_kwargs["connection_pool"] = weakref.proxy(self)
        self._finder = finder
        self._tls = tls
        self._primary: Address | None = None
        self._look_at = 0.0

    async def ensure_connection(self, connection: Any) -> None:
        """Called by redis-py for each connection that is taken out, by this name."""
        now = asyncio.get_running_loop().time()
        if now >= self._look_at:
            self._look_at = now + _LOOK_EVERY.total_seconds()
            # Where nobody can say, what it is connected to is as good as anything.
            with contextlib.suppress(RedisError, OSError, TimeoutError):
                await self.get_master_address()
        if connection.is_connected and (connection.host, connection.port) != self._primary:
            await connection.disconnect()
        await super().ensure_connection(connection)

    async def get_master_address(self) -> Address:
        """Called by connections of redis-py, by this name."""
        found = await self._finder.primary()
        if not self._tls and not is_loopback(found[0]):
            raise PlainBeyondLoopback(f"{found[0]} is named as the primary, and there is no TLS")
        if found != self._primary:
            self._primary = found
            await self.disconnect(inuse_connections=False)
        return found

    async def aclose(self) -> None:
        """Also of what finds the primary."""
        await super().aclose()
        await self._finder.aclose()


class _Connection(SentinelManagedConnection):
    async def read_response(self, *args: Any, **options: Any) -> Any:
        """redis-py gives up a connection that says READONLY; these say as much."""
        try:
            return await super().read_response(*args, **options)
        except (MovedError, AskError, ClusterDownError, MasterDownError) as error:
            await self.disconnect()
            raise NotPrimary(type(error).__name__) from error


class _TlsConnection(_Connection, SentinelManagedSSLConnection):
    pass


def _client(host: str, port: int, options: Mapping[str, Any]) -> redis.Redis:
    return redis.Redis.from_pool(
        redis.BlockingConnectionPool(host=host, port=port, max_connections=_CONNECTIONS, **options)
    )


def _slots(client: redis.Redis) -> Awaitable[Any]:
    return cast("Awaitable[Any]", cast("Any", client).execute_command("CLUSTER SLOTS"))


def _is_answer(task: asyncio.Future[Any]) -> bool:
    """Whether it is one; a failure of one of several is no news."""
    if task.cancelled():
        return False
    error = task.exception()
    if error is not None and not isinstance(error, (RedisError, OSError, TimeoutError, *_STRANGE)):
        raise error
    return error is None


def _of_sentinel(state: Any) -> tuple[int, Address] | None:
    """Which failover it speaks of, and who is the primary since; None where it knows none that is up."""
    if state["is_sdown"] or state["is_odown"] or not state["is_master"]:
        return None
    return int(state["config-epoch"]), (str(state["ip"]), int(state["port"]))


def _read(reader: Callable[[Any], _T | None], answer: Any) -> _T | None:
    """None for what is no such answer: whoever talks nonsense must not keep us from asking the others."""
    try:
        return reader(answer)
    except _STRANGE:
        return None


def _text(host: Any) -> str:
    return host.decode("ascii", "replace") if isinstance(host, bytes) else str(host)
