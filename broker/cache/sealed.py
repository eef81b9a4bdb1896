"""Credentials kept for the next request: sealed in this process, and behind it sealed in Redis for all instances.

Names are a keyed hash, entries are sealed (``entry.py``), and both are bound to everything that two requests must share to
share credentials: principal, role, scope, tags, policy, and the principal's epoch of revocation. So whoever controls Redis can
take entries away, and that is all; and what was revoked lies under a name that nobody looks up any more, here and in Redis.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import lru_cache
from typing import NamedTuple

from broker import wire
from broker.cache.entry import SHORTEST_LEFT, EntrySeal, Held, Spent, Tampered
from broker.cache.store import LONGEST_ENTRY, MemoryStore
from broker.cache.tamper import TamperAlarm
from broker.cache.turns import Turn, Turns
from broker.core.credentials import Credentials
from broker.core.grant import Grant
from broker.core.principal import Principal

# From here on a new set is fetched, so that nobody comes near the shortest life that is handed out.
REFRESH_AT = timedelta(seconds=wire.REFRESH_AT)

_PREFIX = "zerotrust:{cache}:credentials:"
_NOTHING = timedelta(0)
# Names that need not be computed again: the keyed hash costs more than all else that a hit asks of the cache.
_REMEMBERED = 4096

_Shared = tuple[object, ...]


class _Place(NamedTuple):
    """Where a grant's credentials lie, as long as its principal's epoch lasts."""

    grant: Grant
    identity: bytes
    name: str


class Fetching:
    """A turn to fetch a grant's credentials. Where another instance has ``found`` them meanwhile there is nothing to do.

    It belongs to the epoch in which it began: what is fetched while somebody is revoked is kept where nobody looks.
    """

    def __init__(self, cache: CredentialCache, place: _Place, turn: Turn) -> None:
        self._cache = cache
        self._place = place
        self._turn = turn
        self.found = turn.found.credentials if turn.found else None
        self.waited = turn.waited

    async def keep(self, credentials: Credentials) -> None:
        """Seal and store, here and for the others, until they are of no use to anybody."""
        await self._cache.keep(self._place, self._turn, credentials)


class CredentialCache:
    """Takes nothing but a Grant, so nobody can look up by a name and forget the realm."""

    def __init__(
        self,
        *,
        near: MemoryStore,
        turns: Turns | None,
        seal: EntrySeal,
        name_key: bytes,
        epoch: Callable[[Principal], int],
        alarm: TamperAlarm,
    ) -> None:
        """Share with other instances through ``turns``; without it this one is alone.

        Args:
            near: The entries of this process; only what opened once, or was sealed here, comes in.
            turns: Redis, and whose turn it is to fetch.
            seal: Seals and opens entries.
            name_key: Makes the names.
            epoch: How often somebody's credentials have been revoked.
            alarm: Hears of entries that somebody tampered with.
        """
        self._near = near
        self._turns = turns
        self._seal = seal
        self._name_key = name_key
        self._named = lru_cache(maxsize=_REMEMBERED)(self._name_of)
        self._epoch = epoch
        self._alarm = alarm

    def find(self, grant: Grant) -> Held | None:
        """What this process has, with more than ``SHORTEST_LEFT`` to live."""
        place = self._place(grant)
        return self._opened(place, self._near.get(place.name) or b"")

    @asynccontextmanager
    async def turn(self, grant: Grant, *, at_least: timedelta = _NOTHING) -> AsyncIterator[Fetching]:
        """The turn to fetch, or what another instance has fetched; one at a time for each name, across all instances.

        What others have fetched is of use only with ``at_least`` so much to live.
        """
        place = self._place(grant)
        if self._turns is None:
            yield Fetching(self, place, Turn(name=place.name, token=""))
            return
        own = self._near.get(place.name) or b""
        mine = self._opened(place, own)

        async def judge(entry: bytes) -> Held | None:
            held = await self._judged(place, entry, mine)
            return held if held is not None and held.left >= at_least else None

        async with self._turns.turn(place.name, seen=own, judge=judge) as turn:
            yield Fetching(self, place, turn)

    async def keep(self, place: _Place, turn: Turn, credentials: Credentials) -> None:
        """See ``Fetching``."""
        grant = place.grant
        entry, held = self._seal.seal(credentials, identity=place.identity, lifetime=grant.lifetime)
        if held.useful <= _NOTHING:
            return
        self._near.put(place.name, entry, held.useful)
        if self._turns is not None and len(entry) <= LONGEST_ENTRY:
            await self._turns.keep(turn, entry, held.useful)

    def is_due(self, grant: Grant, held: Held) -> bool:
        """Whether a new set should be fetched already; not where the ticket's end would end it no later."""
        # Never in the first half of the useful life: a role of 20 minutes would be fetched anew for every request.
        half = SHORTEST_LEFT + (grant.lifetime - SHORTEST_LEFT) / 2
        return grant.ends_at is None and held.left <= min(REFRESH_AT, half)

    async def ping(self) -> str | None:
        """None where what is shared works, or nothing is; else what is wrong with it."""
        return await self._turns.ping() if self._turns else None

    async def aclose(self) -> None:
        """Let go of what is shared."""
        if self._turns:
            await self._turns.aclose()

    def name(self, grant: Grant) -> str:
        """Where a grant's credentials lie; tells nothing without the key."""
        return self._place(grant).name

    def _place(self, grant: Grant) -> _Place:
        identity, name = self._named(_shared_by(grant, self._epoch(grant.principal)))
        return _Place(grant=grant, identity=identity, name=name)

    def _name_of(self, shared: _Shared) -> tuple[bytes, str]:
        """JSON, so no part runs into its neighbour."""
        identity = json.dumps(shared, separators=(",", ":")).encode()
        return identity, _PREFIX + hmac.new(self._name_key, identity, hashlib.sha256).hexdigest()

    def _opened(self, place: _Place, entry: bytes) -> Held | None:
        """Our own copy, which has opened before."""
        try:
            return self._seal.open(entry, identity=place.identity) if entry else None
        except (Spent, Tampered):
            return None

    async def _judged(self, place: _Place, entry: bytes, mine: Held | None) -> Held | None:
        """What another instance left in Redis, if it is better than what we have."""
        try:
            held = self._seal.open(entry, identity=place.identity)
        except Spent:
            return None
        except Tampered as error:
            await self._alarm.sound(place.grant, entry=place.name, reason=error.reason)
            return None
        if mine is not None and held.left <= mine.left:
            return None
        self._near.put(place.name, entry, held.useful)
        return held


def _shared_by(grant: Grant, epoch: int) -> _Shared:
    """Everything that must be equal for two requests to share credentials."""
    principal = grant.principal
    return (
        principal.components,
        principal.realm,
        int(principal.name_type),
        grant.role.name,
        grant.scope.name if grant.scope else None,
        grant.policy_digest,
        grant.ends_at,
        tuple((tag.key, tag.value) for tag in grant.tags),
        epoch,
    )
