"""What was revoked, as a value that only grows: pure, and the same in whatever order the news arrive.

Each subject has one entry, the latest; of two the greater is kept, so merging is commutative, associative and idempotent, and an
old copy (a dump of Redis, a late message) changes nothing. Stamps are milliseconds of the wall clock, but always above every
stamp that the ledger has seen: a clock that was put back cannot make a revocation that loses to an older one.

An epoch is a sum of stamps. It rises whenever one of its parts does, also when the news come from an instance whose clock is
behind.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import orjson

# What a hold without a role is for; no role can be called so.
EVERY_ROLE = "*"


class Kind(enum.StrEnum):
    """What an entry is about."""

    # All that was made for anybody so far.
    EVERYBODY = "everybody"
    # All that was made for one person so far.
    USER = "user"
    # Credentials of one person, from then on and until restored; ``which`` is the role or EVERY_ROLE.
    CREDENTIALS = "credentials"
    # One session, until it would have ended by itself; ``which`` is its id.
    SESSION = "session"
    # A deny at AWS against one person's sessions of one AWS role; ``which`` is the role's ARN. Held: it is wanted until
    # ``until``, and to be taken away from then on; not held: it was taken away.
    AWS_DENY = "aws_deny"
    # What the watch took from somebody until an operator clears it or they come with a newer ticket; ``which``: see ``holds``.
    SUSPICION = "suspicion"


# What ends nothing that is sealed or kept here.
_OF_NO_EPOCH = frozenset({Kind.SESSION, Kind.AWS_DENY, Kind.SUSPICION})
_NONE: Mapping[str, int] = {}
# What was ended is remembered for so much longer than it could have lived: a wall clock that is set ahead, and back again when
# somebody notices, must not make anybody forget it in between. Two hours are what is promised; longer would be felt by whoever
# ends many sessions, for so many of one person's are remembered and no more (``epochs``).
LINGER = timedelta(hours=3)


@dataclass(frozen=True, slots=True, order=True)
class Subject:
    """What an entry is about. ``user`` is a principal as printed, whatever its name type: no type escapes a revocation."""

    kind: Kind
    user: str = ""
    which: str = ""


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """The latest about a subject. The order of its members is the order of the merge: later wins, then held.

    ``stamp`` is in milliseconds of Unix time; ``held`` is False once restored; ``by`` says who did it; ``until`` is when the
    entry is of no more use (Unix seconds), 0 for never.
    """

    subject: Subject
    stamp: int
    held: bool
    by: str
    until: int = 0


class Ledger:
    """All entries, with the questions that every request asks of them."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._entries: dict[Subject, Entry] = {}
        self._by_user: dict[str, dict[Subject, Entry]] = {}
        self._changed: dict[str, int] = {}
        # The same once more, as it is asked for by every request.
        self._everybody = 0
        self._users: dict[str, int] = {}
        self._held: dict[str, set[str]] = {}
        self._suspicions: dict[str, dict[str, int]] = {}
        self._top = 0
        self._denies: dict[Subject, Entry] = {}
        # Grows with each change that ends something of somebody's here, but for single sessions.
        self.turn = 0
        self._digest: str | None = None
        self.take(entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(list(self._entries.values()))

    def take(self, entries: Iterable[Entry]) -> list[Entry]:
        """Merge; returns what was news."""
        news = []
        for entry in entries:
            known = self._entries.get(entry.subject)
            if known is None or entry > known:
                self._put(entry)
                news.append(entry)
        return news

    def next_stamp(self, now_ms: int) -> int:
        """A stamp above all that were seen or given."""
        self._top = max(now_ms, self._top + 1)
        return self._top

    def epoch(self, user: str) -> int:
        """What sessions and job passes of this person are sealed under; a lower one is dead."""
        return self._everybody + self._users.get(user, 0)

    def epoch_of_credentials(self, user: str) -> int:
        """What credentials of this person are cached under: it rises with each hold and each restore as well."""
        own = self._by_user.get(user, {})
        return self._everybody + sum(entry.stamp for entry in own.values() if entry.subject.kind not in _OF_NO_EPOCH)

    def is_held(self, user: str, role: str = EVERY_ROLE) -> bool:
        """Whether this person gets no credentials: of this role, or none at all."""
        held = self._held.get(user)
        return held is not None and not held.isdisjoint((role, EVERY_ROLE))

    def suspicions(self, user: str) -> Mapping[str, int]:
        """What the watch took from somebody, each with the stamp of when."""
        return self._suspicions.get(user, _NONE)

    def is_ended(self, user: str, session: str) -> bool:
        """Whether this one session was ended."""
        own = self._by_user.get(user)
        return own is not None and Subject(Kind.SESSION, user, session) in own

    def ended_sessions(self, user: str) -> int:
        """How many single sessions of this person are ended and remembered."""
        return sum(subject.kind is Kind.SESSION for subject in self._by_user.get(user, ()))

    def changed_since(self, turn: int, user: str) -> bool:
        """Whether anything of this person was revoked or restored after ``turn`` was read."""
        return turn != self.turn and any(self._changed.get(name, 0) > turn for name in (user, ""))

    def forget(self, now: int) -> None:
        """Drop what has been of no use since ``now`` (Unix seconds)."""
        for entry in self:
            if is_over(entry, now):
                del self._entries[entry.subject]
                own = self._by_user[entry.subject.user]
                del own[entry.subject]
                if not own:
                    del self._by_user[entry.subject.user]

    @property
    def digest(self) -> str:
        """The same for two instances that know the same; but for what comes and goes: single sessions, denies that are gone."""
        if self._digest is None:
            common = sorted(entry for entry in self._entries.values() if not _is_passing(entry))
            self._digest = hashlib.sha256(encoded(common)).hexdigest()
        return self._digest

    @property
    def denies(self) -> list[Entry]:
        """The denies at AWS that are wanted, or are still to be taken away."""
        return list(self._denies.values())

    def _put(self, entry: Entry) -> None:
        subject = entry.subject
        self._entries[subject] = entry
        self._by_user.setdefault(subject.user, {})[subject] = entry
        self._top = max(self._top, entry.stamp)
        if subject.kind is Kind.EVERYBODY:
            self._everybody = entry.stamp
        elif subject.kind is Kind.USER:
            self._users[subject.user] = entry.stamp
        elif subject.kind is Kind.CREDENTIALS:
            held = self._held.setdefault(subject.user, set())
            (held.add if entry.held else held.discard)(subject.which)
        elif subject.kind is Kind.AWS_DENY:
            self._denies.pop(subject, None)
            if entry.held:
                self._denies[subject] = entry
        elif subject.kind is Kind.SUSPICION:
            self._suspect(entry)
        if subject.kind is not Kind.SESSION:
            self._digest = None
        if subject.kind not in _OF_NO_EPOCH:
            self.turn += 1
            self._changed[subject.user] = self.turn

    def _suspect(self, entry: Entry) -> None:
        user, which = entry.subject.user, entry.subject.which
        others = {each: stamp for each, stamp in self.suspicions(user).items() if each != which}
        self._suspicions[user] = {**others, which: entry.stamp} if entry.held else others


def is_over(entry: Entry, now: int) -> bool:
    """Whether an entry is of no more use (``now`` in Unix seconds). A deny is, once it was taken away."""
    is_owed = entry.subject.kind is Kind.AWS_DENY and entry.held
    return entry.until != 0 and entry.until + LINGER.total_seconds() <= now and not is_owed


def _is_passing(entry: Entry) -> bool:
    return entry.subject.kind is Kind.SESSION or (entry.subject.kind is Kind.AWS_DENY and not entry.held)


def encoded(entries: Iterable[Entry]) -> bytes:
    """JSON, the same bytes for the same entries."""
    return orjson.dumps(
        [
            [
                entry.subject.kind.value,
                entry.subject.user,
                entry.subject.which,
                entry.stamp,
                entry.held,
                entry.by,
                entry.until,
            ]
            for entry in entries
        ]
    )


def decoded(plaintext: bytes) -> list[Entry]:
    """The inverse of ``encoded``."""
    rows: list[list[Any]] = orjson.loads(plaintext)
    return [
        Entry(subject=Subject(Kind(kind), user, which), stamp=stamp, held=held, by=by, until=until)
        for kind, user, which, stamp, held, by, until in rows
    ]
