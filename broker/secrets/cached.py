"""A vault of others behind a cache: what was read is used for a while without asking again, and asked for once at a time.

The cache bounds how long a value lives on that was changed or taken away there: ``ttl``, and not a second more where the vault
does not answer. So an outage shorter than that is not seen by who reads what was read before, and a longer one is said. What this
process writes or deletes is new at once. What is leased is nobody else's: each reader gets one of their own.

In memory values are sealed under a key of the process, so that a value in use is the only one that lies open.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from weakref import WeakValueDictionary

from broker.core.clock import Clock
from broker.core.secret import Secret
from broker.keys.envelope import KEY_BYTES, Envelope
from broker.remote.failure import Missing, RemoteFailure, Unreachable
from broker.secrets.provider import Provider, Version

# Seconds: what is not there may be there soon, and a vault that stands still is not asked again by everybody at once.
MISSING_SECONDS = 2.0
UNREACHABLE_SECONDS = 1.0
# Values and failures. A broker has tens; who asks for names that do not exist has as many as they like.
ENTRIES_MAX = 4096

_Key = tuple[str, str | None]


@dataclass(frozen=True, slots=True)
class _Entry:
    until: float
    sealed: bytes = b""
    number: str = ""
    made: datetime | None = None
    failure: RemoteFailure | None = None


class CachedProvider:
    """See ``Provider``."""

    def __init__(self, provider: Provider, *, ttl: timedelta, clock: Clock) -> None:
        self._provider = provider
        self._ttl = ttl.total_seconds()
        self._clock = clock
        self._envelope = Envelope(keys=[os.urandom(KEY_BYTES)])
        self._entries: dict[_Key, _Entry] = {}
        self._turns: WeakValueDictionary[_Key, asyncio.Lock] = WeakValueDictionary()
        # Counts what was written here: a reading that began before keeps nothing.
        self._writes = 0

    async def read(self, path: str, *, version: str | None = None) -> Version:
        """See ``Provider``."""
        key = (path, version)
        entry = self._entry(key)
        if entry is not None:
            return self._opened(key, entry)
        turn = self._turns.setdefault(key, asyncio.Lock())
        async with turn:
            # Whoever waited for their turn finds what the one before them got.
            entry = self._entry(key)
            return self._opened(key, entry) if entry is not None else await self._read(key)

    async def write(self, path: str, fields: Mapping[str, Secret], *, cas: int | None = None) -> str:
        """See ``Provider``."""
        try:
            return await self._provider.write(path, fields, cas=cas)
        finally:
            # Also where it failed: it may have happened.
            self._forget(path)

    async def delete(self, path: str) -> None:
        """See ``Provider``."""
        try:
            await self._provider.delete(path)
        finally:
            self._forget(path)

    async def list(self, prefix: str) -> Sequence[str]:
        """See ``Provider``. Never cached."""
        return await self._provider.list(prefix)

    async def ping(self) -> str | None:
        """See ``Provider``."""
        return await self._provider.ping()

    async def close(self) -> None:
        """See ``Provider``."""
        self._entries.clear()
        await self._provider.close()

    async def _read(self, key: _Key) -> Version:
        path, version = key
        writes = self._writes
        # From before the question: the answer was true at the latest then.
        now = self._clock.boottime()
        try:
            found = await self._provider.read(path, version=version)
        except (Missing, Unreachable) as failure:
            lasts = MISSING_SECONDS if isinstance(failure, Missing) else UNREACHABLE_SECONDS
            self._keep(key, _Entry(self._clock.boottime() + min(lasts, self._ttl), failure=failure), writes)
            raise
        if found.lease_ends is None:
            fields = {name: value.reveal() for name, value in found.fields.items()}
            sealed = self._envelope.seal(json.dumps(fields).encode(), context=_context(key))
            self._keep(key, _Entry(now + self._ttl, sealed=sealed, number=found.number, made=found.made), writes)
        return found

    def _keep(self, key: _Key, entry: _Entry, writes: int) -> None:
        if writes != self._writes:
            return
        self._entries.pop(key, None)
        while len(self._entries) >= ENTRIES_MAX:
            del self._entries[next(iter(self._entries))]
        self._entries[key] = entry

    def _entry(self, key: _Key) -> _Entry | None:
        entry = self._entries.get(key)
        if entry is not None and self._clock.boottime() >= entry.until:
            del self._entries[key]
            return None
        return entry

    def _opened(self, key: _Key, entry: _Entry) -> Version:
        if entry.failure is not None:
            raise type(entry.failure)(str(entry.failure), reason=entry.failure.reason)
        fields = json.loads(self._envelope.open(entry.sealed, context=_context(key)))
        return Version(
            fields={name: Secret(value) for name, value in fields.items()}, number=entry.number, made=entry.made
        )

    def _forget(self, path: str) -> None:
        self._writes += 1
        for key in [key for key in self._entries if key[0] == path]:
            del self._entries[key]


def _context(key: _Key) -> bytes:
    return json.dumps(["zerotrust/cached-secret/v1", *key]).encode()
