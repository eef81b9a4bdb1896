"""The keyring: every key version there is, wrapped, as a set that only grows. Pure.

    master key  ->  key-encryption keys (KEK)  ->  key versions of each kind  ->  derived keys (``hierarchy``)

Whoever adds to it adds a new entry with a name of its own, and what is destroyed gets a tombstone. So two rings are merged by
taking all of both, in any order and as often as one likes, and hosts that rotate at the same moment lose nothing. Each entry is
sealed with everything it says as context: a KEK by the master key, all else by a KEK. So a place that is trusted with nothing
may keep a ring. It can lose entries, or put old ones back; it can make none.

A version whose ``seals_from`` is OWN is the master key itself (see ``hierarchy``): the entry says since when it is known, and
holds no key. A new version seals only from a moment on that lies after everybody has heard of it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass, field
from typing import Any, Self

from broker.keys.envelope import CannotOpen, Envelope
from broker.keys.hierarchy import KeyVersion, Kind

# A time (ms of Unix time) before all others.
OWN = 0
# The kind that a tombstone of a KEK names.
KEK = "kek"
_ID_CHARS = 16
_TEXT_MAX = 4096
# By member, what those of ours look like. Whatever else lies there goes no further: not to a master key that is asked over a
# network, and would turn away what is too long for it without saying whose fault that is.
_TEXTS = {name: re.compile(r"[0-9a-f]{1,64}") for name in ("id", "kek")} | {"kind": re.compile(r"[a-z]{1,16}")}
_MASTER_MAX = 1024
# ms of Unix time: a date that there is, in the year 9999 at the latest.
_TIME_MAX = 253_402_300_799_999
_NO_ENTRY = "not an entry of a keyring"


@dataclass(frozen=True, slots=True, order=True)
class Kek:
    """A key-encryption key, as one master wrapped it. ``made`` in ms of Unix time."""

    id: str
    master: str
    made: int
    wrapped: bytes

    @property
    def name(self) -> str:
        """One for each KEK and master."""
        return f"{KEK}/{self.id}/{self.master}"

    @property
    def context(self) -> bytes:
        """What it is sealed as."""
        return _context("keyring-kek/v1", self.id, self.made)


@dataclass(frozen=True, slots=True, order=True)
class Wrapped:
    """A key version, as one KEK wrapped it. Times in ms of Unix time."""

    kind: str
    id: str
    kek: str
    made: int
    seals_from: int
    wrapped: bytes

    @property
    def name(self) -> str:
        """One for each version and KEK."""
        return f"key/{self.kind}/{self.id}/{self.kek}"

    @property
    def context(self) -> bytes:
        """What it is sealed as."""
        return _context("keyring-key/v1", self.kind, self.id, self.made, self.seals_from)


@dataclass(frozen=True, slots=True, order=True)
class Gone:
    """A tombstone: what it names is destroyed, whoever still has it."""

    kind: str
    id: str
    kek: str
    at: int
    wrapped: bytes

    @property
    def name(self) -> str:
        """One for each destroyed thing and KEK."""
        return f"gone/{self.kind}/{self.id}/{self.kek}"

    @property
    def context(self) -> bytes:
        """What it is sealed as."""
        return _context("keyring-gone/v1", self.kind, self.id, self.at)


Entry = Kek | Wrapped | Gone
_TYPES: dict[str, type[Entry]] = {KEK: Kek, "key": Wrapped, "gone": Gone}


@dataclass(frozen=True, slots=True)
class Ring:
    """Entries by their names."""

    entries: Mapping[str, Entry] = field(default_factory=dict)

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> Self:
        """Of these, in whatever order."""
        kept: dict[str, Entry] = {}
        for entry in entries:
            there = kept.get(entry.name)
            # Two that wrapped the same at once have other nonces: everybody keeps the same one.
            kept[entry.name] = entry if there is None else min(there, entry, key=astuple)
        return cls(kept)

    def merged(self, other: Ring | Iterable[Entry]) -> Ring:
        """All of both."""
        return Ring.of([*self, *other])

    def without(self, names: Iterable[str]) -> Ring:
        """The same less these."""
        left = set(names)
        return Ring({name: entry for name, entry in self.entries.items() if name not in left})

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries.values())

    def gone(self) -> frozenset[tuple[str, str]]:
        """What is destroyed: kind and id."""
        return frozenset((entry.kind, entry.id) for entry in self if isinstance(entry, Gone))

    def keks(self) -> list[Kek]:
        """Those in force, the newest first; one of several masters several times."""
        gone = self.gone()
        found = [entry for entry in self if isinstance(entry, Kek) and (KEK, entry.id) not in gone]
        return sorted(found, key=lambda kek: (kek.made, kek.id), reverse=True)

    def versions(self, kind: Kind, *, destroyed: bool = False) -> list[Wrapped]:
        """Those of a kind that are in force, each once, the newest first; or with what is destroyed and still here."""
        gone = frozenset() if destroyed else self.gone()
        found: dict[str, Wrapped] = {}
        for entry in sorted(entry for entry in self if isinstance(entry, Wrapped) and entry.kind == kind):
            if (entry.kind, entry.id) not in gone:
                found.setdefault(entry.id, entry)
        return sorted(found.values(), key=lambda version: (version.seals_from, version.id), reverse=True)


def kek_id(key: bytes) -> str:
    """What a KEK is called."""
    return hashlib.sha256(b"zerotrust/kek-id/v1" + key).hexdigest()[:_ID_CHARS]


def wrapped_version(  # each is said by name
    key: KeyVersion, *, kind: Kind, kek: bytes, made: int, seals_from: int
) -> Wrapped:
    """The entry of a version; of the master's own (``seals_from`` OWN) without the key."""
    bare = Wrapped(kind=kind, id=key.id, kek=kek_id(kek), made=made, seals_from=seals_from, wrapped=b"")
    plaintext = b"" if seals_from == OWN else key.key
    sealed = Envelope(keys=[kek]).seal(plaintext, context=bare.context)
    return Wrapped(bare.kind, bare.id, bare.kek, made, seals_from, sealed)


def tombstone(kind: str, identifier: str, *, kek: bytes, at: int) -> Gone:
    """The entry that says that something is destroyed."""
    bare = Gone(kind=kind, id=identifier, kek=kek_id(kek), at=at, wrapped=b"")
    return Gone(kind, identifier, bare.kek, at, Envelope(keys=[kek]).seal(b"", context=bare.context))


def unwrapped(entry: Wrapped | Gone, *, kek: bytes) -> bytes:
    """What an entry holds, where one of us made it.

    Raises:
        CannotOpen: None of us did, or it is another's.
    """
    plaintext = Envelope(keys=[kek]).open(entry.wrapped, context=entry.context)
    holds_a_key = isinstance(entry, Wrapped) and entry.seals_from != OWN
    if (KeyVersion(plaintext).id != entry.id) if holds_a_key else plaintext:
        raise CannotOpen("altered")
    return plaintext


def encoded(entry: Entry) -> bytes:
    """A line of JSON; its name first, for people."""
    members = {name: getattr(entry, name) for name in entry.__dataclass_fields__}
    members["wrapped"] = base64.b64encode(entry.wrapped).decode()
    return json.dumps({"name": entry.name, **members}, separators=(",", ":")).encode()


def decoded(text: bytes) -> Entry:
    """The entry of such a line. What it says is believed once it opens.

    Raises:
        ValueError: It is none.
    """
    try:
        members: Any = json.loads(text) if len(text) <= _TEXT_MAX else None
        name = members.pop("name")
        made = _TYPES[name.partition("/")[0]]
        members["wrapped"] = base64.b64decode(members["wrapped"], validate=True)
        entry = made(**members)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(_NO_ENTRY) from error
    if not all(_is_fit(member, getattr(entry, member)) for member in made.__dataclass_fields__) or entry.name != name:
        raise ValueError(_NO_ENTRY)
    return entry


def _is_fit(member: str, value: Any) -> bool:
    if member == "wrapped":
        return bool(value)
    if member == "master":
        return isinstance(value, str) and len(value) <= _MASTER_MAX and value.isprintable()
    if member in _TEXTS:
        return isinstance(value, str) and _TEXTS[member].fullmatch(value) is not None
    return type(value) is int and 0 <= value <= _TIME_MAX


def _context(*parts: object) -> bytes:
    return json.dumps(parts, separators=(",", ":")).encode()
