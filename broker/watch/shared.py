"""States that instances share, through a Redis that is trusted with nothing.

A state is sealed and bound to its name, and its name tells nothing without a key: who has Redis can neither read who does what
nor write "quiet". An older state put back, or one deleted, is overruled by every instance that knows a later one, for it
carries its version inside. What does not open is as good as not there.

Two instances that change the same state at once: the second finds other bytes than it read, and begins anew. Without Redis each
goes on by itself with what it knows, and the one that came further is believed afterwards.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import struct
from collections.abc import Awaitable, Collection, Mapping
from datetime import timedelta
from typing import Any, cast

from redis import asyncio as redis
from redis.exceptions import RedisError

from broker.core.clock import Clock
from broker.keys.envelope import CannotOpen
from broker.keys.hierarchy import DailyEnvelope
from broker.watch.states import LIFE, InProcess, Name, State

_PREFIX = "zerotrust:{shared}:watch:"
_CONTEXT = b"watch-state/v1/"
_NAME_CHARS = 32  # 128 bits
_VERSION = struct.Struct(">Q")
# What is no state of ours may be of any length.
_LONGEST = 64 << 10
# After a failure Redis is left alone for so long.
_PAUSE = timedelta(seconds=5)
_SAID_EVERY = timedelta(minutes=1)

# KEYS: the state. ARGV: what was read there ("" for nothing), what shall be there, its milliseconds.
_SWAP = """
local there = redis.pcall('GET', KEYS[1])
if type(there) == 'table' then there = '' end
if (there or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
"""

# KEYS: the state. ARGV: what was read there, the same sealed anew. Its end stays.
_RENEW = """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL') end
return 1
"""
# Keys that Redis looks at for one answer.
_PAGE = 500

_log = logging.getLogger(__name__)


class Shared:
    """See ``states.States``."""

    def __init__(self, *, client: redis.Redis, envelope: DailyEnvelope, name_key: bytes, clock: Clock) -> None:
        """Take a client that has timeouts of its own."""
        self._client = client
        self._swap = client.register_script(_SWAP)
        self._renew = client.register_script(_RENEW)
        self._envelope = envelope
        self._name_key = name_key
        self._clock = clock
        self._own = InProcess()
        # What was last read, as it lay there.
        self._lay: dict[Name, bytes] = {}
        self._pause_ends = 0.0
        self._is_down = False
        self._quiet_until = 0.0
        self.forged = 0

    async def read(self, names: Collection[Name]) -> dict[Name, State]:
        """See ``States``: the later of what lies in Redis and what this instance knows."""
        found = await self._own.read(names)
        blobs = await self._asked(names)
        for name, blob in blobs.items():
            self._lay[name] = blob
            state = self._opened(name, blob)
            if state is not None and (name not in found or state.version > found[name].version):
                found[name] = state
                self._own.put(name, state)
        return found

    async def write(self, changed: Mapping[Name, bytes]) -> set[Name]:
        """See ``States``. Where Redis does not answer, this instance alone knows."""
        lay, self._lay = self._lay, {}
        sealed: dict[Name, tuple[State, bytes]] = {}
        for name, text in changed.items():
            known = self._own.find(name)
            state = State(1 if known is None else known.version + 1, text)
            sealed[name] = state, self._sealed(name, state)
        swapped = await self._swapped({name: (lay.get(name, b""), blob) for name, (_, blob) in sealed.items()})
        lost = {name for name, is_done in swapped.items() if not is_done}
        for name, (state, _) in sealed.items():
            if name not in lost:
                self._own.put(name, state)
        return lost

    @property
    def name(self) -> str:
        """What holds sealed things here is called."""
        return "watch"

    async def reseal(self) -> frozenset[str]:
        """See ``broker.keys.sealed``: every state there is, whoever wrote it.

        Raises:
            RedisError, OSError: Nobody knows.
        """
        needed: set[str] = set()
        cursor = 0
        while True:
            cursor, keys = await self._client.scan(cursor, match=f"{_PREFIX}*", count=_PAGE)
            for key in keys:
                needed |= await self._renewed(cast("bytes", key))
            if not cursor:
                return frozenset(needed)

    # ---- inside ----

    async def _renewed(self, key: bytes) -> set[str]:
        envelope, context = self._envelope.now(), _CONTEXT + key
        try:
            blob = cast("bytes", await self._client.getrange(key.decode("ascii", "replace"), 0, _LONGEST))
            plaintext = envelope.open(blob, context=context)
        except CannotOpen:
            return set()
        if not envelope.is_newest(blob):
            await cast("Awaitable[Any]", self._renew([key], [blob, envelope.seal(plaintext, context=context)]))
        return set(filter(None, [envelope.version_of(blob)]))

    async def _asked(self, names: Collection[Name]) -> Mapping[Name, bytes]:
        if not names or self._is_paused():
            return {}
        pipeline = self._client.pipeline(transaction=False)
        for name in names:
            pipeline.getrange(self._key(name), 0, _LONGEST)
        answers = await self._answers(pipeline)
        return {name: blob for name, blob in zip(names, answers, strict=False) if isinstance(blob, bytes) and blob}

    async def _swapped(self, wanted: Mapping[Name, tuple[bytes, bytes]]) -> Mapping[Name, bool]:
        if not wanted or self._is_paused():
            return {}
        pipeline = self._client.pipeline(transaction=False)
        for name, (before, after) in wanted.items():
            life = int(LIFE[name.shelf].total_seconds() * 1000)
            await cast("Awaitable[Any]", self._swap([self._key(name)], [before, after, life], client=pipeline))
        answers = await self._answers(pipeline)
        # A write that Redis refuses (full, read-only) is nobody else's change.
        return {name: answer != 0 for name, answer in zip(wanted, answers, strict=False)}

    async def _answers(self, pipeline: Any) -> list[Any]:
        try:
            answers: list[Any] = await pipeline.execute(raise_on_error=False)
        except (RedisError, OSError, TimeoutError) as error:
            if not self._is_down:
                _log.warning("watch: Redis failed, this instance goes on by itself: %s", type(error).__name__)
            self._is_down = True
            self._pause_ends = self._clock.boottime() + _PAUSE.total_seconds()
            return []
        self._is_down = False
        return answers

    def _is_paused(self) -> bool:
        return self._is_down and self._clock.boottime() < self._pause_ends

    def _key(self, name: Name) -> str:
        message = f"{name.shelf}\0{name.of}".encode()
        return _PREFIX + hmac.new(self._name_key, message, hashlib.sha256).hexdigest()[:_NAME_CHARS]

    def _sealed(self, name: Name, state: State) -> bytes:
        return self._envelope.now().seal(_VERSION.pack(state.version) + state.text, context=self._context(name))

    def _opened(self, name: Name, blob: bytes) -> State | None:
        try:
            plaintext = self._envelope.now().open(blob, context=self._context(name))
        except CannotOpen as error:
            self._count_forged(error.reason)
            return None
        (version,) = _VERSION.unpack_from(plaintext)
        return State(version, plaintext[_VERSION.size :])

    def _context(self, name: Name) -> bytes:
        return _CONTEXT + self._key(name).encode()

    def _count_forged(self, reason: str) -> None:
        self.forged += 1
        now = self._clock.boottime()
        if now >= self._quiet_until:
            self._quiet_until = now + _SAID_EVERY.total_seconds()
            _log.warning(
                "watch: what lies in Redis does not open (%s) and is not believed, %d so far", reason, self.forged
            )
