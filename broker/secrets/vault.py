"""The integrated vault: secrets in versions, sealed wherever they lie, with what people should know of them.

Each operation reads a secret's head, makes the next one of it (``changes``), and swaps the two where nobody else was faster:
what lies in the store is the state before or the state after. The store is trusted with nothing (``seals``, ``marks``).

Beyond the port it has what a vault of one's own can promise: check-and-set, soft deletion, destruction, archiving, metadata.
Callers say who acts, for the metadata; whether they may, and the record of it, are the caller's.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import replace

from broker.core.clock import Clock
from broker.core.secret import Secret
from broker.keys.envelope import Envelope
from broker.remote.failure import Conflict, Malformed, Missing
from broker.secrets import changes
from broker.secrets.encoding import check_path, fields_as_bytes, fields_of
from broker.secrets.metadata import (
    THE_BROKER,
    Actor,
    Details,
    Due,
    Metadata,
    Stamp,
    Tally,
    VersionInfo,
    check_actor,
    overdue,
)
from broker.secrets.provider import Version
from broker.secrets.rewrap import Rewrapped, rewrapped
from broker.secrets.rows import Hear, Rows, Saved
from broker.secrets.store import Store
from broker.secrets.unfit import Archived, Expired, Unfit
from broker.secrets.uses import Uses

__all__ = ["Saved", "Vault"]

# Somebody was faster so often: the store is not what it should be, or it is a crowd.
_TRIES = 16
_BORN_BYTES = 8
# One spelling, ASCII digits, within 64 bits.
_NUMBER = re.compile(r"[1-9][0-9]{0,17}")


class Vault:
    """See ``Provider`` for what it has in common with others' vaults. Every failure is of ``broker.remote.failure``."""

    def __init__(
        self, *, store: Store, envelope: Envelope, clock: Clock, hear: Hear = lambda _name, _what, _failure: None
    ) -> None:
        """Take where rows lie, what they are sealed with (``Use.VAULT_SEAL``), and who hears of rows that somebody changed."""
        self._rows = Rows(store=store, envelope=envelope, hear=hear)
        self._store = store
        self._clock = clock
        self._uses = Uses(store=store)

    # ---- the port ----

    async def read(self, path: str, *, version: str | None = None, by: Actor = THE_BROKER) -> Version:
        """See ``Provider``. The newest version or this one; notes the use.

        Raises:
            Missing: ``not_found``, ``no_such_version``, ``deleted`` or ``destroyed``.
            Expired: Its date has passed.
            Archived: It is put away.
            Malformed: What lies there is not what was put there.
        """
        metadata, text = await self._rows.values(path, lambda found: self._readable(found, version))
        info = self._readable(metadata, version)
        self._uses.note(await self._rows.name(path), Stamp(self._clock.now(), by))
        return Version(fields=fields_of(text), number=str(info.number), made=info.made.at)

    async def write(
        self,
        path: str,
        fields: Mapping[str, Secret],
        *,
        cas: int | None = None,
        details: Details | None = None,
        by: Actor = THE_BROKER,
    ) -> str:
        """See ``Provider``. ``details`` take the place of those that are there.

        ``cas`` as in KV version 2: the newest number, be that version deleted or not; 0 where there is no secret.

        Raises:
            Unfit: Path, fields or values are nothing that the vault keeps.
            Conflict: ``cas_mismatch``.
            Archived: It is put away.
        """
        check_path(path)
        check_actor(by)
        text = fields_as_bytes(fields)
        for _ in range(_TRIES):
            before = await self._rows.found(path)
            after = changes.written(
                None if before is None else before.metadata,
                path=path,
                cas=cas,
                details=details,
                stamp=Stamp(self._clock.now(), by),
                born=os.urandom(_BORN_BYTES).hex(),
            )
            if await self._rows.swapped(before, after, puts={after.newest: text}):
                return str(after.newest)
        raise _crowded(path)

    async def delete(self, path: str, versions: Collection[int] | None = None, *, by: Actor = THE_BROKER) -> None:
        """Put the newest version away, or these; ``undelete`` brings them back. Raises Missing, Archived."""
        await self._changed(path, by, lambda before, stamp: changes.deleted(before, numbers=versions, stamp=stamp))

    async def list(self, prefix: str, *, archived: bool = False) -> Sequence[str]:
        """The paths below ``prefix`` in order, "" for all; those that are put away only where asked for."""
        return sorted([one.path async for one in self.catalogue(prefix) if archived or one.archived is None])

    async def ping(self) -> str | None:
        """See ``Provider``."""
        return await self._store.ping()

    async def close(self) -> None:
        """Write down what was used last, and let the store go."""
        try:
            await self.note_uses()
        finally:
            await self._store.close()

    # ---- what it has beyond the port ----

    async def metadata(self, path: str) -> Metadata:
        """What is known of it, be it archived or expired. Raises Missing."""
        metadata = (await self._rows.there(path)).metadata
        return replace(metadata, used=await self._uses.of(await self._rows.seals(), await self._rows.name(path)))

    async def versions(self, path: str) -> Sequence[VersionInfo]:
        """Those that anything is known of, the oldest first. Raises Missing."""
        return (await self._rows.there(path)).metadata.versions

    async def annotate(self, path: str, change: Callable[[Details], Details], *, by: Actor = THE_BROKER) -> Metadata:
        """Change what people should know: ``lambda details: replace(details, contact=...)``. Raises Missing, Unfit."""
        return await self._changed(
            path, by, lambda before, stamp: changes.annotated(before, details=change(before.details), stamp=stamp)
        )

    async def undelete(self, path: str, versions: Collection[int] | None = None, *, by: Actor = THE_BROKER) -> None:
        """Bring the newest version back, or these. Raises Missing, also for what is destroyed; Archived."""
        await self._changed(path, by, lambda before, _: changes.undeleted(before, numbers=versions))

    async def destroy(self, path: str, versions: Collection[int], *, by: Actor = THE_BROKER) -> None:
        """The values of these are gone for ever; that they were stays known. Raises Missing, Archived."""
        await self._changed(path, by, lambda before, stamp: changes.destroyed(before, numbers=versions, stamp=stamp))
        await self._store.scrub()

    async def archive(self, path: str, *, by: Actor = THE_BROKER) -> None:
        """Put it away: nobody reads, writes or is reminded of it. Raises Missing."""
        await self._changed(path, by, lambda before, stamp: changes.archived(before, stamp=stamp))

    async def unarchive(self, path: str, *, by: Actor = THE_BROKER) -> None:
        """Take it back. Raises Missing."""
        await self._changed(path, by, lambda before, _: changes.unarchived(before))

    async def purge(self, path: str, *, by: Actor = THE_BROKER) -> None:
        """All of it is gone for ever, but that it was there and which numbers are used up. Raises Missing."""
        await self._changed(path, by, lambda before, stamp: changes.purged(before, stamp=stamp))
        await self._store.scrub()

    def catalogue(self, prefix: str = "") -> AsyncIterator[Metadata]:
        """The metadata of every secret below ``prefix``, in no order; without the uses."""
        return self._rows.below(prefix)

    async def due(self) -> Sequence[Due]:
        """What is overdue for rotation, the longest overdue first."""
        now = self._clock.now()
        found = [due async for one in self.catalogue() if (due := overdue(one, now=now)) is not None]
        return sorted(found, key=lambda due: (due.since, due.path))

    async def tally(self, *, pause: float = 0.0) -> Tally:
        """How many there are, and in which state; with so many seconds for others behind each page."""
        now, found, damaged = self._clock.now(), Tally(), list[Malformed]()
        async for one in self._rows.each(pause=pause, damaged=damaged.append):
            if one.metadata.purged is None:
                found = found.and_(one.metadata, now=now)
        return found.beside(len(damaged))

    async def note_uses(self) -> None:
        """Write down when secrets were last read; from time to time, so that reading costs no writing."""
        await self._uses.flush(await self._rows.seals())

    async def rewrap(self, *, tell: Callable[[Rewrapped], None] = lambda _: None) -> Rewrapped:
        """Seal all that an older key sealed with the newest; to be broken off and begun again at will. ``tell``: progress."""
        return await rewrapped(self._rows, tell=tell)

    async def saved(self) -> AsyncIterator[Saved]:
        """Everything, opened, for a backup: each secret as it is at one moment. Raises Malformed for what does not open."""
        async for found in self._rows.each():
            if found.metadata.purged is None and (saved := await self._rows.saved(found.name)) is not None:
                yield saved

    async def adopt(self, saved: Saved) -> bool:
        """Take in what ``saved`` gave, of this vault or another; False, and nothing done, where the path has a secret."""
        metadata = replace(saved.metadata, used=None)
        for _ in range(_TRIES):
            before = await self._rows.found(metadata.path)
            if before is not None and before.metadata.purged is None:
                return False
            born = os.urandom(_BORN_BYTES).hex()
            after = metadata if before is None else changes.adopted(before.metadata, metadata, born=born)
            if await self._rows.swapped(before, after, puts=saved.versions):
                if saved.used is not None:
                    self._uses.note(await self._rows.name(metadata.path), saved.used)
                return True
        raise _crowded(metadata.path)

    # ---- inside ----

    async def _changed(self, path: str, by: Actor, change: Callable[[Metadata, Stamp], Metadata]) -> Metadata:
        check_actor(by)
        for _ in range(_TRIES):
            before = await self._rows.there(path)
            after = change(before.metadata, Stamp(self._clock.now(), by))
            if after == before.metadata or await self._rows.swapped(before, after):
                return after
        raise _crowded(path)

    def _readable(self, metadata: Metadata, version: str | None) -> VersionInfo:
        path = metadata.path
        if metadata.archived is not None:
            raise Archived(f"{path} is archived — fix: unarchive it first", reason="archived")
        if metadata.is_expired(self._clock.now()):
            raise Expired(f"{path} has expired — fix: write a new version and move its date", reason="expired")
        number = metadata.newest if version is None else _number(version)
        info = metadata.version(number)
        if info is None:
            raise Missing(f"{path} has no version {number}", reason="no_such_version")
        if info.destroyed is not None:
            raise Missing(f"version {number} of {path} is destroyed", reason="destroyed")
        if info.deleted is not None:
            raise Missing(f"version {number} of {path} is deleted", reason="deleted")
        return info


def _number(version: str) -> int:
    # Digits of other scripts are numbers to Python.
    if not _NUMBER.fullmatch(version):
        raise Unfit("the version is no number — fix: give one that `versions` shows", reason="unfit_version")
    return int(version)


def _crowded(path: str) -> Conflict:
    return Conflict(f"{path} is changed by others faster than by us — fix: try again", reason="contended")
