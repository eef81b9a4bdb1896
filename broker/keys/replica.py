"""One instance's replica of the keyring: in step with the file of its host and with other hosts, and the hierarchy with it.

Every look: what the file and Redis hold is opened and merged; what they lack is put there; what is due is done (``duties``). A
new version goes to the disk first, then to the others, and seals only when both had time to arrive. Where Redis is away nothing
is rotated, and everything goes on; where the disk takes nothing, neither.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from broker.core.clock import Clock
from broker.core.happening import Happening
from broker.core.workers import Workers
from broker.keys.courier import Courier, NotShared, entries_of
from broker.keys.fleet import Beat, Fleet
from broker.keys.hierarchy import KeyHierarchy, Kind
from broker.keys.keyring import Entry, Ring, Wrapped, encoded
from broker.keys.master.port import MasterKey, MasterUnavailable
from broker.keys.opened import OpenedRing
from broker.keys.ringfile import RingDamaged, RingFile
from broker.keys.sealed import Sealed

_DISK = timedelta(seconds=2)
# A dead master is asked this often; others cost nothing to ask.
_PING_EVERY = timedelta(seconds=5)

_HANGS = "the disk does not answer"
_T = TypeVar("_T")
_log = logging.getLogger(__name__)


class KeysFailed(Exception):
    """What was asked for was not done; the message says why. Nothing is lost."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How quickly a version spreads.

    ``ripe``: what was first seen just now may seal here only when others have looked twice. ``grace``: a new version seals
    nowhere before, which is longer, so that clocks that differ a little change nothing.
    """

    look: timedelta = timedelta(seconds=1)
    ripe: timedelta = timedelta(seconds=3)
    grace: timedelta = timedelta(seconds=6)
    reseal: timedelta = timedelta(seconds=5)


class Replica:
    """What one instance has of the keyring; ``open()`` before anything is sealed."""

    def __init__(  # each is said by name
        self,
        *,
        instance: str,
        file: RingFile,
        courier: Courier | None,
        master: MasterKey,
        own: Sequence[bytes],
        patience: timedelta,
        clock: Clock,
        pace: Pace | None = None,
    ) -> None:
        """Take the parts.

        Args:
            instance: What this one is called among others; another at each start.
            file: The host's.
            courier: To other hosts, where there is a Redis.
            master: Wraps and unwraps.
            own: The master key and its predecessors, where they are versions themselves; else none.
            patience: For how long keys in memory go on without a master that answers.
            clock: The time.
            pace: How quickly versions spread.
        """
        self.pace = pace or Pace()
        self.instance = instance
        self.host = socket.gethostname()
        self.master = master
        self.opened = OpenedRing(master=master, own=own)
        self.hierarchy = KeyHierarchy(master=own[0], former=own[1:]) if own else KeyHierarchy.of({})
        self.fleet = Fleet(instance=instance, opened=self.opened, clock=clock)
        self.faults: dict[str, str] = {}
        # What each store says that it needs; None while it has not said.
        self.store_needs: dict[str, frozenset[str] | None] = {}
        self._file = file
        self._courier = courier
        self._patience = patience
        self._clock = clock
        self._worker = Workers(name="keys", number=1)
        self._hung: asyncio.Future[Any] | None = None  # a job that the disk has not answered yet
        self._stores: list[Sealed] = []
        self._are_all_registered = False
        self._ripe_at: dict[str, float] = {}
        self._answered = clock.boottime()
        self._asked = float("-inf")
        self._is_withheld = False
        self._written: Ring | None = None  # the ring as we last wrote it
        # What lay with the courier, and our ring, when both were last the same.
        self._in_step: tuple[Mapping[bytes, bytes], Ring] | None = None

    # ---- begun and ended ----

    async def open(self) -> None:
        """Take up what the disk and the others hold. Where the others do not answer, the disk must do.

        Raises:
            RingDamaged, OSError: The file cannot be believed or read: what it held would be lost.
            MasterUnavailable: The master does not answer, and nothing opens without it.
        """
        await self._worker.do(self._file.claim)
        # What the disk holds has been there for as long as anybody knows; what the others lack is held back by and by.
        await self.read()
        await self._look_at_others()
        self.install()

    async def read(self) -> None:
        """Take up what the disk holds, for somebody who only looks. Raises like ``open``."""
        # Whoever starts waits for the disk.
        entries = await self._worker.do(self._file.read)
        await self.opened.admit(entries)
        if entries and not self.opened.ring.entries:
            raise RingDamaged(self._file.path, "was sealed with another key")
        self.install()

    def register(self, store: Sealed) -> None:
        """Something whose seals follow the keys, and whose needs keep them."""
        self._stores.append(store)
        self.store_needs[store.name] = None

    def all_are_registered(self) -> None:
        """From here on what the stores say is all that is needed."""
        self._are_all_registered = True

    async def close(self) -> None:
        """Let nobody wait for us."""
        if self._courier is not None:
            try:
                await self._courier.leave(goodbye=self.fleet.sealed(None))
            except (NotShared, LookupError) as error:
                _log.info("keys: nobody was told that we end: %s", error)
        await self.master.close()
        self._file.close()
        self._worker.stop()

    # ---- what others ask ----

    def now(self) -> int:
        """Ms of Unix time."""
        return int(self._clock.now().timestamp() * 1000)

    @property
    def needs(self) -> frozenset[str] | None:
        """The ids of all versions that a store of ours needs; None while one has not said, or may yet be registered."""
        if not self._are_all_registered or any(needed is None for needed in self.store_needs.values()):
            return None
        return frozenset().union(*(needed or () for needed in self.store_needs.values()))

    def sealing(self, kind: Kind) -> str | None:
        """The id of the version that seals, or would; None while there is none."""
        try:
            return self.hierarchy.sealing(kind)
        except LookupError:
            return None

    @property
    def unripe(self) -> list[str]:
        """Ids of versions that others may not know yet."""
        boot = self._clock.boottime()
        return [one for one, at in self._ripe_at.items() if boot < at]

    @property
    def is_in_step(self) -> bool:
        """Whether disk and courier have all that we have: nothing may be made or destroyed otherwise."""
        are_well = not self.faults.keys() & {"disk", "redis", "master"}
        return are_well and (self._courier is None or self._in_step is not None)

    @property
    def is_withheld(self) -> bool:
        """Whether the master was away for longer than anybody is patient."""
        return self._is_withheld

    async def is_our_turn(self) -> bool:
        """Whether nobody else of the fleet takes care of the ring at this moment."""
        try:
            return self._courier is None or await self._courier.is_our_turn()
        except NotShared:
            return False

    async def may_destroy(self) -> bool:
        """Whether every instance can be heard: over the courier; without one, by being the only one of this host."""
        try:
            return self._courier is not None or await self._on_disk(self._file.is_ours_alone)
        except OSError:
            return False

    async def ping(self) -> str | None:
        """None while all is well."""
        if self._is_withheld:
            return "the master key does not answer, and patience with it has ended"
        return next((f"{what}: {why}" for what, why in sorted(self.faults.items())), None)

    # ---- changed ----

    async def add(self, make: Callable[[Ring], Iterable[Entry]]) -> list[Entry]:
        """Bring what ``make`` adds to a ring to the disk, then to the others, then in force; returns what is new.

        ``make`` sees everything that this host has written, and nobody of this host writes meanwhile.

        Raises:
            KeysFailed: The disk did not take it, or the others did not: then they get it later, and it does not seal before.
        """
        known = self.opened.ring
        made: list[Entry] = []

        def alter(there: Ring) -> Ring:
            ring = there.merged(known)
            made[:] = make(ring)
            return ring.merged(made)

        try:
            await self.opened.admit(await self._on_disk(lambda: self._file.change(alter)))
            self._hold_back(made)
            if made and self._courier is not None:
                self._in_step = None
                await self._courier.put({entry.name: encoded(entry) for entry in made})
        except (OSError, NotShared, MasterUnavailable) as error:
            raise KeysFailed(_said(error)) from error
        finally:
            self.install()
        return made

    def install(self) -> None:
        """Put in force what may be."""
        needed = self.needs
        versions = self.opened.in_force(
            now=self.now(), unripe=self.unripe, needed=self.opened.held if needed is None else needed
        )
        if versions is not None and not self._is_withheld:
            self.hierarchy.take(versions)

    # ---- one look ----

    async def look(self) -> None:
        """Hear, tell, and put in force. What fails is said once, and done by a later look."""
        await self._ask_master()
        try:
            await self._look_at_disk()
            await self._look_at_others()
        except MasterUnavailable as error:
            self._fail("master", str(error))
        self.install()

    async def keep_resealing(self) -> None:
        """Runs until cancelled: one store after the other seals anew what an older version sealed, and says what it needs."""
        self.all_are_registered()
        time, due = asyncio.get_running_loop().time, dict.fromkeys(self.store_needs, 0.0)
        while True:
            for store in [store for store in self._stores if time() >= due[store.name]]:
                due[store.name] = (await self._resealed(store)).total_seconds() + time()
            await asyncio.sleep(self.pace.look.total_seconds())

    async def _resealed(self, store: Sealed) -> timedelta:
        """Once; when to do so again. One that failed may be back at the next look."""
        try:
            self.store_needs[store.name] = await store.reseal()
        except Exception as error:  # noqa: BLE001  # whatever it is: nobody knows what it needs, and all is kept
            self.store_needs[store.name] = None
            self._fail(f"store {store.name}", f"{type(error).__name__}: {error}")
            return self.pace.look
        self.faults.pop(f"store {store.name}", None)
        return self.pace.reseal

    async def _ask_master(self) -> None:
        boot = self._clock.boottime()
        if boot - self._asked < _PING_EVERY.total_seconds() and "master" not in self.faults:
            return
        self._asked = boot
        fault = await self.master.ping()
        if fault is None:
            self._answered = self._clock.boottime()
            self.faults.pop("master", None)
            self._is_withheld = False
            return
        self._fail("master", fault)
        if not self._is_withheld and self._clock.boottime() - self._answered > self._patience.total_seconds():
            _log.error(
                "keys: the master key does not answer, and patience with it has ended: nothing is given out",
                extra=Happening.KEYS_WITHHELD.said(),
            )
            self._is_withheld = True
            self.hierarchy.withhold()

    async def _look_at_disk(self) -> None:
        try:
            lies = self.opened.ring if not await self._on_disk(self._file.is_changed) else None
            if lies is None:
                lies = Ring.of(await self._on_disk(self._file.read))
                self._hold_back(await self.opened.admit(lies))
        except RingDamaged as error:
            self._fail("disk", str(error))
            lies = Ring()
        except OSError as error:
            self._fail("disk", str(error))
            return
        needed = self.needs
        # What nobody needs here any more goes.
        pruned = self.opened.prune(needed=self.opened.held if needed is None else needed)
        if pruned or self._written is not self.opened.ring or self._lacks(lies):
            await self._write(pruned)

    def _lacks(self, lies: Ring) -> bool:
        return any(lies.entries.get(name) != entry for name, entry in self.opened.ring.entries.items())

    async def _write(self, pruned: Collection[str]) -> None:
        """Bring the ring to the disk, and take away what was ``pruned``."""
        ring = self.opened.ring
        if not ring.entries:
            return
        try:
            lies = await self._on_disk(lambda: self._file.change(lambda there: there.without(pruned).merged(ring)))
        except OSError as error:
            self._fail("disk", str(error))
            return
        self._hold_back(await self.opened.admit(lies))
        self._written = ring
        self.faults.pop("disk", None)

    async def _look_at_others(self) -> None:
        if self._courier is None:
            return
        try:
            found, beats = await self._courier.exchange(self._beat())
            if self._in_step is None or self._in_step[0] != found or self._in_step[1] is not self.opened.ring:
                await self._come_in_step(self._courier, found)
            if over := self.fleet.hear(beats):
                await self._courier.bury(over)
            self.faults.pop("redis", None)
        except NotShared as error:
            self._in_step = None
            self._fail("redis", str(error))

    async def _come_in_step(self, courier: Courier, found: Mapping[bytes, bytes]) -> None:
        entries = await entries_of(found)
        self._hold_back(await self.opened.admit(entries))
        ours = self.opened.published()
        lacking = {name: entry for name, entry in ours.entries.items() if entries.entries.get(name) != entry}
        over = [entry.name for entry in entries if self.opened.is_over(entry)]
        if lacking or over:
            self._hold_back(lacking.values())
            await courier.put({name: encoded(entry) for name, entry in lacking.items()}, away=over)
            self._in_step = None
        else:
            self._in_step = found, self.opened.ring
            # All of it lay there for others to see. Where Redis loses it again, no older version is to seal for a while: what
            # that sealed, nobody would seal anew.
            self._hold_back(self.opened.ring, at=self._clock.boottime())

    def _hold_back(self, entries: Iterable[Entry], *, at: float | None = None) -> None:
        """What is new here, or to others, seals here when everybody had time to look, or from ``at`` on."""
        at = self._clock.boottime() + self.pace.ripe.total_seconds() if at is None else at
        for entry in entries:
            if isinstance(entry, Wrapped):
                self._ripe_at.setdefault(entry.id, at)

    def _beat(self) -> bytes | None:
        seals = {kind.value: one for kind in Kind if (one := self.sealing(kind))}
        if self.opened.sealing_kek is None:
            return None
        return self.fleet.sealed(Beat(host=self.host, master=self.master.id, needs=self.needs, seals=seals))

    async def _on_disk(self, job: Callable[[], _T]) -> _T:
        if self._hung is not None and not self._hung.done():
            raise OSError(_HANGS)
        future = self._worker.do(job)
        await asyncio.wait([future], timeout=_DISK.total_seconds())
        if not future.done():
            # Others need not queue behind it.
            self._hung = future
            raise OSError(_HANGS)
        return future.result()

    def _fail(self, what: str, why: str) -> None:
        if self.faults.get(what) != why:
            _log.warning("keys: %s: %s", what, why)
        self.faults[what] = why


def _said(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'the state directory'}: {error.strerror}"
    return str(error) or type(error).__name__
