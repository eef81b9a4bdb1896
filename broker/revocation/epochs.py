"""Who may go on: the questions that every request asks, and the one place where a revocation takes effect.

A revocation counts here at once, is acknowledged when it is on this host's disk, and is then told to the other instances. What
gives something back counts only when it is on the disk. What is heard from others is kept here too, so that each instance that
heard of a revocation can tell all others again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeVar

from broker.core.clock import Clock
from broker.core.errors import AuthFailed, RevocationsUnavailable, Revoked
from broker.core.fault import of_error
from broker.core.happening import Happening
from broker.core.principal import Principal
from broker.core.workers import Workers
from broker.revocation.file import LedgerFile
from broker.revocation.ledger import EVERY_ROLE, Entry, Kind, Ledger, Subject
from broker.revocation.spread import Spread, is_told_to_end

# Promised: within a second. Others are asked twice as often, and more, for news that were not pushed.
LOOK_EVERY = timedelta(milliseconds=400)
# An operator waits for a disk this long; a client's answer waits for nobody.
_DISK = timedelta(seconds=2)
# Single sessions that one person may have ended and not yet over. Who ends more ends all of them: nobody fills our memory.
_ENDED_MAX = 1_000

_POLL_SECONDS = 0.02
_HANGS = "the disk under state.directory does not answer"

_log = logging.getLogger(__name__)

_T = TypeVar("_T")


class Epochs:
    """One for each instance. Made inside a running event loop; ``open()`` before use."""

    def __init__(self, *, file: LedgerFile, spread: Spread | None, clock: Clock) -> None:
        """Take the file, and what tells other instances where there can be any.

        Raises:
            Damaged, OSError: The file cannot be believed or read: what was revoked is not known.
        """
        self._file = file
        self._spread = spread
        self._clock = clock
        self._ledger = Ledger(file.read())
        self._worker = Workers(name="revocations", number=1)
        # Whether all that is known is on the disk of this host.
        self._is_kept = True
        # A job that the disk has not answered yet: others need not queue behind it.
        self._hung: asyncio.Future[Any] | None = None
        self._failure: str | None = None

    # ---- asked at each use ----

    def of(self, principal: Principal) -> int:
        """What somebody's sessions and job passes are sealed under; what was sealed under less is dead."""
        return self._ledger.epoch(str(principal))

    def of_credentials(self, principal: Principal | str) -> int:
        """What somebody's credentials are cached under, and what they asked for or approved counts under."""
        return self._ledger.epoch_of_credentials(str(principal))

    def is_ended(self, principal: Principal | str, session: str) -> bool:
        """Whether this session was ended by itself; or another thing of somebody's that has a name and an end."""
        return self._ledger.is_ended(str(principal), session)

    def suspicions(self, principal: Principal | str) -> Mapping[str, int]:
        """What the watch took from somebody, each with its stamp (ms of Unix time)."""
        return self._ledger.suspicions(str(principal))

    def mark(self) -> int:
        """Where we stand: to be shown to ``require`` at the end of what begins now."""
        return self._ledger.turn

    def require(self, principal: Principal, *, role: str = EVERY_ROLE, since: int | None = None) -> None:
        """Make sure that somebody may go on: at all or with this role, and was not revoked since a ``mark()``.

        Raises:
            Revoked: Their access is revoked, until it is restored.
            AuthFailed: What they showed ended meanwhile.
        """
        user = str(principal)
        if self._ledger.is_held(user, role):
            raise Revoked(reason="revoked")
        if since is not None and self._ledger.changed_since(since, user):
            raise AuthFailed(reason="ended_meanwhile", hint="your sessions were ended: ask again with a ticket")

    # ---- changed ----

    @property
    def entries(self) -> Sequence[Entry]:
        """All that is known."""
        return list(self._ledger)

    async def enter(self, subjects: Sequence[Subject], *, by: str, held: bool = True, until: int = 0) -> bool:
        """Put these in force, or out of force (``held`` False), from here on and for good; whether Redis took the news.

        Raises:
            RevocationsUnavailable: They are not on the disk. A revocation counts here all the same, as long as we run.
        """
        stamp = self._ledger.next_stamp(int(self._clock.now().timestamp() * 1000))
        entries = [Entry(subject=subject, stamp=stamp, held=held, by=by, until=until) for subject in subjects]
        if held:
            self._ledger.take(entries)
        await self._kept(entries)
        return self._spread is None or await self._spread.tell(entries)

    @property
    def denies(self) -> list[Entry]:
        """The denies at AWS that are wanted, or are still to be taken away."""
        return self._ledger.denies

    async def settle(self, entry: Entry, *, until: int) -> None:
        """A deny at AWS was taken away: remember so until then (Unix seconds), so that all instances hear. Raises like ``enter``.

        It is of the same revocation, and loses to any that came after, also where that was not heard of here yet.
        """
        await self._amend(Entry(subject=entry.subject, stamp=entry.stamp + 1, held=False, by=entry.by, until=until))

    async def reopen(self, gone: Entry, *, until: int) -> Entry:
        """A deny that was taken away may lie at AWS again: it is owed anew to take it away. Raises like ``enter``.

        It beats the entry that says it is gone, and loses to any revocation that came after, as ``settle`` does.
        """
        owed = Entry(subject=gone.subject, stamp=gone.stamp, held=True, by=gone.by, until=until)
        await self._amend(owed)
        return owed

    async def _amend(self, entry: Entry) -> None:
        await self._kept([entry])
        if self._spread is not None:
            await self._spread.tell([entry])

    async def end_session(self, principal: Principal | str, session: str, *, until: int) -> None:
        """End this one session (``until``: its own end, Unix seconds), everywhere. Raises like ``enter``."""
        user = str(principal)
        if self._ledger.ended_sessions(user) < _ENDED_MAX:
            await self.enter([Subject(Kind.SESSION, user, session)], by=user, until=until)
        else:
            await self.enter([Subject(Kind.USER, user)], by=user)

    async def heard_everywhere(self, patience: timedelta) -> list[str]:
        """Wait until all instances that are there know what we know, or patience ends; those that do not."""
        if self._spread is None:
            return []
        deadline = self._clock.boottime() + patience.total_seconds()
        while behind := self._spread.behind(self._ledger):
            if self._clock.boottime() >= deadline:
                return behind
            await asyncio.sleep(_POLL_SECONDS)
        return []

    # ---- kept in step ----

    async def open(self) -> None:
        """Hear what others know before anybody is served; where Redis does not answer, what the disk knows must do."""
        await asyncio.gather(self._look_at_disk(), self._look_at_redis())

    async def keep_in_step(self) -> None:
        """Runs until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(_again(self._look_at_disk))
            group.create_task(_again(self._look_at_redis))
            if self._spread is not None:
                group.create_task(self._spread.listen(self._take))

    @property
    def name(self) -> str:
        """What holds sealed things here is called."""
        return "revocations"

    async def reseal(self) -> frozenset[str]:
        """See ``broker.keys.sealed``: the file of this host, and what lies among the instances."""
        needed = await self._on_disk(self._file.reseal)
        return needed if self._spread is None else needed | await self._spread.reseal(self._ledger)

    async def close(self) -> None:
        """Write down what was just heard, and say that this instance ends, so that nobody waits for it."""
        await self._look_at_disk()
        if self._spread is not None:
            await self._spread.leave()
        self._worker.stop()

    async def ping(self) -> str | None:
        """None while all is heard and kept, else what is not."""
        if self._failure is not None:
            return self._failure
        return None if self._spread is None else self._spread.fault()

    async def _look_at_redis(self) -> None:
        if self._spread is not None:
            self._take(await self._spread.pull(self._ledger))
        self._ledger.forget(int(self._clock.now().timestamp()))

    async def _look_at_disk(self) -> None:
        with contextlib.suppress(RevocationsUnavailable):
            if not self._is_kept or await self._on_disk(self._file.is_changed):
                await self._kept()

    def _take(self, heard: Iterable[Entry]) -> None:
        if self._ledger.take(heard):
            self._is_kept = False

    async def _kept(self, further: Sequence[Entry] = ()) -> None:
        """All of it, and these, on stable storage; from here on they count, with what others put there."""
        entries, now = [*self._ledger, *further], int(self._clock.now().timestamp())
        self._is_kept = True
        try:
            found = await self._on_disk(lambda: self._file.keep(entries, now=now))
        except RevocationsUnavailable:
            self._is_kept = False
            raise
        self._ledger.take(found)

    async def _on_disk(self, job: Callable[[], _T]) -> _T:
        if self._hung is not None and not self._hung.done():
            raise RevocationsUnavailable(_HANGS)
        future = self._worker.do(job)
        await asyncio.wait([future], timeout=_DISK.total_seconds())
        if not future.done():
            self._hung = future
            self._fail(_HANGS)
            raise RevocationsUnavailable(_HANGS)
        try:
            found = future.result()
        except OSError as error:
            self._fail(of_error(error))
            raise RevocationsUnavailable(str(error)) from error
        self._failure = None
        return found

    def _fail(self, why: str) -> None:
        if self._failure != why:
            _log.error("revocations cannot be written down: %s", why, extra=Happening.REVOCATIONS_UNWRITTEN.said())
        self._failure = why


async def _again(look: Callable[[], Awaitable[None]]) -> None:
    while not is_told_to_end():
        await asyncio.sleep(LOOK_EVERY.total_seconds())
        await look()
