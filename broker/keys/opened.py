"""A keyring with what it holds laid open: which entries one of us made, and the keys themselves.

Entries come from places that are trusted with nothing, so each is opened before it counts. What does not open stays where it
lies: a host whose master key is another may have put it there.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection, Iterable, Sequence

from broker.keys import rotation
from broker.keys.envelope import KEY_BYTES, CannotOpen, Envelope
from broker.keys.hierarchy import KeyHierarchy, KeyVersion, Kind, Use, Versions
from broker.keys.keyring import KEK, OWN, Entry, Gone, Kek, Ring, Wrapped, kek_id, tombstone, unwrapped, wrapped_version
from broker.keys.master.port import MasterKey, MasterRefused

# Asking a master may cost money and a second: of KEKs that do not open so many are tried at a time, and each once.
_TRIED_AT_ONCE = 8
_REFUSED_MAX = 10_000
# Entries opened before others get their turn: a millisecond.
_OPENED_AT_ONCE = 64


class OpenedRing:
    """For one thread. ``ring`` holds nothing that did not open."""

    def __init__(self, *, master: MasterKey, own: Sequence[bytes]) -> None:
        """Take the master key, and the bytes that are versions themselves where it shows them, the one in force first."""
        self._master = master
        self._own = [KeyVersion(key) for key in own]
        self.ring = Ring()
        self._keks: dict[str, bytes] = {}
        self._keys: dict[tuple[str, str], KeyVersion] = {(kind, key.id): key for kind in Kind for key in self._own}
        self._refused: set[Entry] = set()

    @property
    def strangers(self) -> int:
        """Entries that were met and did not open."""
        return len(self._refused)

    @property
    def own_ids(self) -> list[str]:
        """The versions that are master keys themselves."""
        return [key.id for key in self._own]

    @property
    def held(self) -> frozenset[str]:
        """The ids of all versions that could open something."""
        return frozenset(one for _, one in self._keys)

    def is_over(self, entry: Entry) -> bool:
        """Whether it is of something that is destroyed, so that nobody else is to have it from us."""
        gone = self.ring.gone()
        return _is_over(entry, gone) or (
            not isinstance(entry, Kek) and (KEK, entry.kek) in gone and entry.name not in self.ring.entries
        )

    def published(self) -> Ring:
        """What others may have."""
        return Ring({one.name: one for one in self.ring if not self.is_over(one)})

    async def admit(self, entries: Iterable[Entry]) -> list[Entry]:
        """Take over what opens; returns what was not known before.

        Raises:
            MasterUnavailable: A KEK came that only the master can open; nothing was taken over.
        """
        gone = self.ring.gone()
        new = [
            one
            for one in entries
            if self.ring.entries.get(one.name) != one and one not in self._refused and not _is_over(one, gone)
        ]
        keks = [kek for kek in new if isinstance(kek, Kek)][:_TRIED_AT_ONCE]
        opened = {kek: key for kek in keks if (key := await self._opened(kek)) is not None}
        self._keks |= {kek.id: key for kek, key in opened.items()}
        # One of a KEK that is not here yet may open tomorrow.
        others = [one for one in new if not isinstance(one, Kek) and one.kek in self._keks]
        taken: list[Entry] = [*opened]
        for number, one in enumerate(others):
            taken += [one] if self._opens(one) else []
            if not (number + 1) % _OPENED_AT_ONCE:
                await asyncio.sleep(0)
        if len(self._refused) > _REFUSED_MAX:
            self._refused.clear()
        self._refused |= {*keks, *others}.difference(taken)
        before = self.ring
        if not taken:
            return []
        self.ring = before.merged(taken)
        return [one for one in self.ring if before.entries.get(one.name) != one]

    async def _opened(self, kek: Kek) -> bytes | None:
        try:
            key = await self._master.unwrap(kek.wrapped, context=kek.context)
        except CannotOpen:
            return None
        except MasterRefused:
            # A master has many words for what it does not take. Where it opens one of ours, it was this one: whoever may write
            # to the place where it lay must not keep us from starting or rotating.
            if not await self._opens_ours():
                raise
            return None
        return key if len(key) == KEY_BYTES and kek_id(key) == kek.id else None

    async def _opens_ours(self) -> bool:
        """Whether the master opens one that it opened before. Raises MasterUnavailable."""
        ours = next((one for one in self.ring.keks() if one.master == self._master.id), None)
        return ours is not None and await self._master.unwrap(ours.wrapped, context=ours.context) == self._keks[ours.id]

    def _opens(self, entry: Wrapped | Gone) -> bool:
        try:
            plaintext = unwrapped(entry, kek=self._keks[entry.kek])
        except CannotOpen:
            return False
        if isinstance(entry, Wrapped) and entry.seals_from != OWN:
            self._keys[entry.kind, entry.id] = KeyVersion(plaintext)
        return True

    # ---- what there is ----

    @property
    def sealing_kek(self) -> Kek | None:
        """The newest KEK in force that is open here."""
        return next((kek for kek in self.ring.keks() if kek.id in self._keks), None)

    def in_force(self, *, now: int, unripe: Collection[str], needed: Collection[str]) -> Versions | None:
        """The keys of each kind, the one that seals first; None while a kind has none.

        What is destroyed opens as long as a store of ours ``needed`` it, so that nobody can take it from us too early.
        """
        found: dict[Kind, list[KeyVersion]] = {}
        gone = self.ring.gone()
        for kind in Kind:
            made = [one for one in self.ring.versions(kind) if one.seals_from != OWN and (kind, one.id) in self._keys]
            ids = [one.id for one in rotation.in_force(made, now=now, unripe=unripe)]
            own = [one for one in self.own_ids if (kind, one) not in gone]
            is_ready = any(rotation.may(one, now=now, unripe=unripe) for one in made)
            ids = [*ids, *own] if is_ready else [*own, *ids]
            ids += sorted(one for where, one in gone if where == kind and one in needed and (kind, one) in self._keys)
            found[kind] = [self._keys[kind, one] for one in ids]
        return found if all(found.values()) else None

    def beats(self) -> Envelope:
        """What instances' words are sealed with: by the KEKs, which all hosts share also while their masters differ.

        Raises:
            LookupError: There is none yet.
        """
        newest = self.sealing_kek
        if newest is None:
            raise LookupError("no key-encryption key is open")
        order = [self._keks[newest.id], *(key for one, key in self._keks.items() if one != newest.id)]
        return Envelope(keys=[KeyHierarchy(master=kek).derive(Use.INSTANCE_SEAL) for kek in order])

    # ---- what comes to it; each returns entries, to be admitted once they are kept ----

    async def new_kek(self, *, now: int) -> tuple[Kek, bytes]:
        """A KEK, wrapped by the master.

        Raises:
            MasterUnavailable: It cannot be.
        """
        key = os.urandom(KEY_BYTES)
        return await self.wrapped_kek(key, made=now), key

    async def wrapped_kek(self, key: bytes, *, made: int) -> Kek:
        """The entry of a KEK. Raises like ``new_kek``."""
        bare = Kek(id=kek_id(key), master=self._master.id, made=made, wrapped=b"")
        wrapped = await self._master.wrap(key, context=bare.context)
        return Kek(id=bare.id, master=bare.master, made=made, wrapped=wrapped)

    async def missing_wraps(self) -> list[Entry]:
        """Entries for KEKs that our master has not wrapped, because another did. Raises like ``new_kek``."""
        ours = {kek.id for kek in self.ring.keks() if kek.master == self._master.id}
        lacking = {kek.id: kek for kek in self.ring.keks() if kek.id not in ours and kek.id in self._keks}
        return [await self.wrapped_kek(self._keks[kek.id], made=kek.made) for kek in lacking.values()]

    def new_version(self, kind: Kind, *, now: int, seals_from: int) -> Wrapped:
        """A random version.

        Raises:
            LookupError: No KEK is open.
        """
        key = KeyVersion(os.urandom(KEY_BYTES))
        return wrapped_version(key, kind=kind, kek=self._kek(), made=now, seals_from=seals_from)

    def own_versions(self, *, now: int) -> list[Entry]:
        """Entries for what is its own version and has none. Raises like ``new_version``."""
        kek = self._kek()
        known = {(one.kind, one.id) for one in self.ring if isinstance(one, Wrapped | Gone)}
        return [
            wrapped_version(key, kind=kind, kek=kek, made=now, seals_from=OWN)
            for kind in Kind
            for key in self._own
            if (kind, key.id) not in known
        ]

    def destroyed(self, kind: str, identifier: str, *, now: int) -> Gone:
        """A tombstone. Raises like ``new_version``."""
        return tombstone(kind, identifier, kek=self._kek(), at=now)

    def rewrapped(self, kek: bytes) -> list[Entry]:
        """Entries for everything that this KEK has not wrapped."""
        there, under = {entry.name for entry in self.ring}, kek_id(kek)
        found: dict[tuple[str, str, str], Entry] = {}
        for entry in sorted(one for one in self.ring if isinstance(one, Wrapped)):
            if f"key/{entry.kind}/{entry.id}/{under}" not in there and (entry.kind, entry.id) in self._keys:
                key = self._keys[entry.kind, entry.id]
                found.setdefault(
                    ("key", entry.kind, entry.id),
                    wrapped_version(key, kind=Kind(entry.kind), kek=kek, made=entry.made, seals_from=entry.seals_from),
                )
        for grave in sorted(one for one in self.ring if isinstance(one, Gone)):
            if f"gone/{grave.kind}/{grave.id}/{under}" not in there:
                found.setdefault(("gone", grave.kind, grave.id), tombstone(grave.kind, grave.id, kek=kek, at=grave.at))
        return list(found.values())

    def key_of(self, kek: Kek) -> bytes:
        """The KEK itself."""
        return self._keks[kek.id]

    def prune(self, *, needed: Collection[str]) -> list[str]:
        """Let go of what is destroyed and not ``needed`` here: the key and its wrapped forms; returns the entries' names."""
        gone = self.ring.gone()
        done: list[Entry] = [
            one for one in self.ring if isinstance(one, Wrapped) and (one.kind, one.id) in gone and one.id not in needed
        ]
        left = [one for one in self.ring if one not in done]
        # A wrapping goes with its KEK, once there is another of the same; until then the KEK stays as well.
        elsewhere = {_what(one) for one in left if not isinstance(one, Kek) and (KEK, one.kek) not in gone}
        done += [one for one in left if not isinstance(one, Kek) and (KEK, one.kek) in gone and _what(one) in elsewhere]
        still = {one.kek for one in left if not isinstance(one, Kek) and one not in done}
        done += [one for one in left if isinstance(one, Kek) and (KEK, one.id) in gone and one.id not in still]
        if done:
            self.ring = self.ring.without(one.name for one in done)
            kept = {(one.kind, one.id) for one in self.ring if isinstance(one, Wrapped)}
            kept |= {(kind, one) for kind in Kind for one in self.own_ids}
            self._keys = {place: key for place, key in self._keys.items() if place in kept}
            wrapping = {one.id for one in self.ring if isinstance(one, Kek)}
            self._keks = {one: key for one, key in self._keks.items() if one in wrapping}
        return [one.name for one in done]

    def _kek(self) -> bytes:
        newest = self.sealing_kek
        if newest is None:
            raise LookupError("no key-encryption key is open")
        return self._keks[newest.id]


def _what(entry: Wrapped | Gone) -> tuple[str, str, str]:
    return type(entry).__name__, entry.kind, entry.id


def _is_over(entry: Entry, gone: Collection[tuple[str, str]]) -> bool:
    """Whether it is of something whose tombstone is known already: whoever has it still, nobody takes it from them."""
    if isinstance(entry, Kek):
        return (KEK, entry.id) in gone
    return isinstance(entry, Wrapped) and (entry.kind, entry.id) in gone
