"""Credentials in memory: each for one login, role, scope and reason; asked for once however many want them.

They are sealed while nobody reads them, renewed twenty minutes before their end where somebody used them, and forgotten where
nobody did. The SDKs ask again at every signing with less than fifteen minutes left, so less is never handed out from here.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import NamedTuple

from broker import wire
from broker.locked import AtRest
from zerotrust_kerberos import times
from zerotrust_kerberos.credential_process import members_of
from zerotrust_kerberos.failures import Failure

# Seconds left. 900 is where the SDKs begin to ask again; a minute is for clocks.
LEAST = 15 * 60 + 60
AHEAD = wire.REFRESH_AT
# Seconds. All machines of a fleet were started at once, and are not to renew at once.
_JITTER = 120
# Entries. Somebody has a few roles; a mistake in a script must not become memory.
_ENTRIES_MAX = 256
# Questions to the broker at once, each a process. Whoever has more of them, all different, asks the broker without us.
_FLIGHTS_MAX = 64


class Wanted(NamedTuple):
    """Of whom, by which login, and what: all of it decides what the broker allows and AWS records, so none of it is shared.

    ``login`` is when somebody proved who they are. Who logs in again, with a password where it was a certificate before, has to
    be judged again.
    """

    principal: str
    login: int
    role: str
    scope: str | None
    reason: str | None


Fetch = Callable[[], "asyncio.Future[bytes | Failure]"]


class _Entry:
    __slots__ = ("ends", "sealed", "timer", "used")

    def __init__(self, body: bytes, *, ends: float, used: bool) -> None:
        self.sealed = AtRest(body)
        self.ends = ends
        self.used = used
        self.timer: asyncio.TimerHandle | None = None


class Keeper:
    """For one user."""

    def __init__(self, *, now: Callable[[], float], chance: Callable[[], float]) -> None:
        """``now`` is seconds since the epoch, ``chance`` from 0 to 1."""
        self._now = now
        self._chance = chance
        self._entries: dict[Wanted, _Entry] = {}
        self._flights: dict[Wanted, asyncio.Future[bytes | Failure]] = {}
        self._awaited: set[Wanted] = set()

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to keep and nobody is waiting."""
        return not self._entries and not self._flights

    async def credentials(self, wanted: Wanted, fetch: Fetch) -> bytes:
        """The broker's body; ``fetch`` is called where there is none that lasts.

        Raises:
            Failure: The broker's, or of those on the way.
        """
        entry = self._entries.get(wanted)
        if entry is not None and entry.ends - self._now() > LEAST:
            entry.used = True
            return entry.sealed.open()
        flight = self._flight(wanted, fetch)
        self._awaited.add(wanted)
        # Shielded: whoever hangs up must not take the answer from all others.
        landed = await asyncio.shield(flight)
        if isinstance(landed, Failure):
            raise landed
        return landed

    def _flight(self, wanted: Wanted, fetch: Fetch) -> asyncio.Future[bytes | Failure]:
        if wanted not in self._flights:
            if len(self._flights) >= _FLIGHTS_MAX:
                raise Failure("output_failed", "more questions at once than an agent asks")
            flight = self._flights[wanted] = fetch()
            flight.add_done_callback(lambda landed: self._landed(wanted, fetch, landed))
        return self._flights[wanted]

    def _landed(self, wanted: Wanted, fetch: Fetch, landed: asyncio.Future[bytes | Failure]) -> None:
        del self._flights[wanted]
        used = wanted in self._awaited
        self._awaited.discard(wanted)
        body = landed.result()
        if isinstance(body, Failure):
            return
        ends = _ends(body)
        life = ends - self._now()
        self._forget(wanted)
        if life <= LEAST or len(self._entries) >= _ENTRIES_MAX:
            return
        entry = self._entries[wanted] = _Entry(body, ends=ends, used=used)
        # What AWS gave for little more than twenty minutes is not renewed at once, over and over.
        ahead = max(life / 2, life - AHEAD - _JITTER * self._chance())
        entry.timer = asyncio.get_running_loop().call_later(ahead, self._ahead, wanted, fetch)

    def _ahead(self, wanted: Wanted, fetch: Fetch) -> None:
        entry = self._entries[wanted]
        if not entry.used:
            self._forget(wanted)
            return
        left = max(0.0, entry.ends - LEAST - self._now())
        entry.timer = asyncio.get_running_loop().call_later(left, self._forget, wanted)
        entry.used = False
        with contextlib.suppress(Failure):  # the next question tries again
            self._flight(wanted, fetch)

    def _forget(self, wanted: Wanted) -> None:
        entry = self._entries.pop(wanted, None)
        if entry is not None:
            entry.sealed.wipe()
            if entry.timer is not None:
                entry.timer.cancel()


def _ends(body: bytes) -> float:
    """When credentials end, in seconds since the epoch; now past for what cannot be read, which is then not kept."""
    try:
        return times.seconds(members_of(body, ("Expiration",))["Expiration"])
    except Failure:
        return 0.0
