"""What has to be done about keys, each time somebody looks: by schedule, or because an operator asks.

Each duty looks at what there is and adds what is missing, so an interrupted one is resumed by whoever looks next, and two who do
the same at once have done it twice, which loses nothing:

    a KEK -> wrapped by our master -> every version wrapped by it -> new versions where they are due
          -> a new KEK where the master was changed -> the old one destroyed -> retired versions destroyed

A changed master is at work once every instance that is heard has it: until then the old one opens too.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta

from broker.keys import rotation
from broker.keys.hierarchy import Kind
from broker.keys.keyring import KEK, OWN, Entry, Kek, Ring, Wrapped
from broker.keys.master.local import LocalMaster
from broker.keys.master.port import MasterUnavailable, Rotatable
from broker.keys.replica import KeysFailed, Replica
from broker.keys.rotation import ROTATED, Schedule

# Somebody who holds the turn for ever delays what is due by this much.
_TURN_IS_WAITED_FOR = timedelta(minutes=10)
# Masters that are asked over a network are asked this often whether they rotated.
_MASTER_EVERY = timedelta(minutes=1)

_SECOND = 1000

# What was done (key_rotated, key_rewrapped, key_destroyed), and of what.
Tell = Callable[[str, Mapping[str, object]], Awaitable[None]]

_log = logging.getLogger(__name__)


class Duties:
    """For one instance."""

    def __init__(self, *, replica: Replica, schedule: Schedule) -> None:
        """Take the parts; whatever ``tell`` is given goes on record."""
        self._replica = replica
        self._opened = replica.opened
        self._schedule = schedule
        self.tell: Tell = _untold
        self._asked_at: int | None = None
        self.master_is_stale = False

    async def begin(self) -> None:
        """Make the first keys where there are none, and no master key that stands for them.

        Raises:
            KeysFailed: They could not be kept.
        """
        for _ in range(2):
            if isinstance(self._replica.master, LocalMaster) or not self._lacking(self._opened.ring):
                return
            # Whoever begins at the same moment gets a look at what the first one made.
            if not await self._replica.is_our_turn():
                await asyncio.sleep(self._replica.pace.ripe.total_seconds())
                await self._replica.look()
                continue
            break
        await self._need_a_kek()
        now = self._replica.now()

        def make(ring: Ring) -> list[Entry]:
            return [self._opened.new_version(kind, now=now, seals_from=now) for kind in self._lacking(ring)]

        await self._replica.add(make)
        await self._replica.look()

    def _lacking(self, ring: Ring) -> list[Kind]:
        return [kind for kind in Kind if all(is_own(version) for version in ring.versions(kind))]

    async def keep_doing(self) -> None:
        """Runs until cancelled."""
        while True:
            await self._replica.look()
            await self.do()
            await asyncio.sleep(self._replica.pace.look.total_seconds())

    async def do(self) -> None:
        """Everything that is due. What fails is tried again at the next look."""
        replica = self._replica
        if not replica.is_in_step:
            return
        overdue = rotation.due(self._opened.ring, self._schedule, now=replica.now() - _ms(_TURN_IS_WAITED_FOR))
        if not (overdue or await replica.is_our_turn()):
            return
        try:
            await self._need_a_kek()
            await self._fill_in()
            for kind in rotation.due(self._opened.ring, self._schedule, now=replica.now()):
                if version := await self.rotate(kind, only_if_due=True):
                    await self.tell("key_rotated", {"kind": str(kind), "version": version, "why": "due"})
            await self._follow_the_master()
            await self._destroy()
        except (KeysFailed, MasterUnavailable) as error:
            _log.warning("keys: not done, and tried again: %s", error)

    async def rotate(self, kind: Kind, *, only_if_due: bool = False) -> str | None:
        """A new version of a kind, which seals in a moment; its id, or None where somebody was quicker.

        Raises:
            KeysFailed: It is not kept, or not everybody knows it yet: then it does not seal.
            MasterUnavailable: There was nothing to wrap it with, and the master wraps nothing now.
        """
        # An operator may be quicker than the first round of duties, or ask another instance than the one whose turn it is.
        await self._need_a_kek()
        now = self._replica.now()

        def make(ring: Ring) -> list[Entry]:
            if only_if_due and kind not in rotation.due(ring, self._schedule, now=now):
                return []
            seals_from = now + _ms(self._replica.pace.grace)
            return [self._opened.new_version(kind, now=now, seals_from=seals_from)]

        for entry in await self._replica.add(make):
            if isinstance(entry, Wrapped):
                _log.info("keys: %s: version %s seals in a moment", kind, entry.id)
                return entry.id
        return None

    async def rotate_master(self) -> None:
        """The master's next version, where it makes one itself; what it wraps follows.

        Raises:
            KeysFailed: It is rotated by the operator, in another place.
            MasterUnavailable: It did not answer.
        """
        master = self._replica.master
        if not isinstance(master, Rotatable):
            raise KeysFailed("this master key is changed where it lies: see docs/keys.md")
        await master.rotate()
        self._asked_at = None

    # ---- one by one ----

    async def _need_a_kek(self) -> None:
        if self._opened.sealing_kek is not None:
            return
        if self._opened.ring.keks():
            raise KeysFailed("the keyring is wrapped by another master key")
        kek, _ = await self._opened.new_kek(now=self._replica.now())
        await self._opened.admit([kek])
        # Another instance of this host may have made one meanwhile: both are kept, and the newest wraps.
        await self._replica.add(lambda _: [kek])

    async def _fill_in(self) -> None:
        """What an interrupted duty left undone: KEKs that our master has not wrapped, entries that the newest KEK has not."""
        newest = self._opened.sealing_kek
        if newest is None:
            return
        now, key = self._replica.now(), self._opened.key_of(newest)
        missing = [
            *await self._opened.missing_wraps(),
            *self._opened.own_versions(now=now),
            *self._opened.rewrapped(key),
        ]
        if missing:
            await self._replica.add(lambda _: missing)

    async def _follow_the_master(self) -> None:
        """A new KEK, where the newest is wrapped by a master, or a version of ours, that is no longer the newest."""
        replica, newest = self._replica, self._opened.sealing_kek
        if newest is None:
            return
        now = replica.now()
        if self._asked_at is None or now - self._asked_at >= _ms(_MASTER_EVERY):
            self._asked_at = now
            wraps = [kek for kek in self._opened.ring.keks() if kek.id == newest.id]
            foreign = any(kek.master != replica.master.id for kek in wraps)
            self.master_is_stale = foreign or not all(
                [await replica.master.is_newest(kek.wrapped) for kek in wraps if kek.master == replica.master.id]
            )
        if self.master_is_stale and not self.hosts_behind():
            kek, key = await self._opened.new_kek(now=now)
            await self._opened.admit([kek])
            await replica.add(lambda _: [kek, *self._opened.rewrapped(key)])
            self.master_is_stale = False
            await self.tell("key_rewrapped", {"kek": kek.id, "master": kek.master})
        elif self._is_master_due() and isinstance(replica.master, Rotatable):
            await self.rotate_master()
            await self.tell("key_rotated", {"kind": "master", "version": replica.master.id, "why": "due"})

    def hosts_behind(self) -> list[str]:
        """Hosts that have another master key than we do."""
        beats = self._replica.fleet.beats.values()
        return sorted({beat.host for beat in beats if beat.master != self._replica.master.id})

    def _is_master_due(self) -> bool:
        at = self.master_due_at
        return at is not None and at <= self._replica.now()

    def age(self, kind: Kind) -> float:
        """Of the newest version, in seconds; nothing while there is none."""
        newest = next(iter(self._opened.ring.versions(kind)), None)
        return 0.0 if newest is None else (self._replica.now() - newest.made) / _SECOND

    def due_at(self, kind: Kind) -> int | None:
        """When a kind is to be followed (ms of Unix time)."""
        return self._schedule.due_at(self._opened.ring, kind)

    def due_in(self, kind: Kind | None) -> float:
        """In how many seconds a kind, or the master key, is to be followed; infinity where there is nothing yet."""
        at = self.master_due_at if kind is None else self.due_at(kind)
        return math.inf if at is None else (at - self._replica.now()) / _SECOND

    @property
    def master_due_at(self) -> int | None:
        """When it is to be followed; None while nothing was wrapped by it."""
        newest = self._opened.sealing_kek
        return None if newest is None else newest.made + _ms(self._schedule.master)

    async def _destroy(self) -> None:
        """What nobody needs: KEKs that wrap nothing alone, and versions that no store of anybody's needs."""
        replica, ring, now = self._replica, self._opened.ring, self._replica.now()
        if not replica.is_in_step or not await replica.may_destroy():
            return
        newest = self._opened.sealing_kek
        others = {kek.id for kek in ring.keks() if newest and kek.id != newest.id}
        old = [one for one in sorted(others) if self._wraps_nothing_alone(one)]
        graves = [self._opened.destroyed(KEK, one, now=now) for one in old]
        told = [{"kind": KEK, "version": one} for one in old]
        needs = {**replica.fleet.needs(), replica.instance: replica.needs}
        for kind in ROTATED:
            for version in rotation.unneeded(rotation.retired(ring, kind, now=now), needs):
                graves.append(self._opened.destroyed(kind, version.id, now=now))
                told.append({"kind": str(kind), "version": version.id})
        if graves:
            await replica.add(lambda _: graves)
            for details in told:
                await self.tell("key_destroyed", details)

    def _wraps_nothing_alone(self, kek: str) -> bool:
        entries = [entry for entry in self._opened.ring if not isinstance(entry, Kek)]
        elsewhere = {(type(entry), entry.kind, entry.id) for entry in entries if entry.kek != kek}
        return all((type(entry), entry.kind, entry.id) in elsewhere for entry in entries if entry.kek == kek)


async def _untold(what: str, details: Mapping[str, object]) -> None:
    _log.info("keys: %s: %s", what, dict(details))


def is_own(version: Wrapped) -> bool:
    """Whether it is the master key itself."""
    return version.seals_from == OWN


def _ms(age: timedelta) -> int:
    return age // timedelta(milliseconds=1)
