"""Where the detectors keep what they know: by shelf and name, as bytes, with a version that rises with each change.

Bounded: each shelf forgets what was longest unused. Whoever was never let in lies on a shelf of their own, so that a realm full
of strangers cannot push out those who are known.
"""

from __future__ import annotations

import enum
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping
from datetime import timedelta
from typing import NamedTuple, Protocol


class Shelf(enum.StrEnum):
    """What a state is of."""

    PERSON = "person"
    # Somebody who was only ever refused.
    STRANGER = "stranger"
    ADDRESS = "address"
    # Who else uses a role by a rule, or comes from a network.
    CROWD = "crowd"


# States, each below a kilobyte: some 10 MB where all are there.
LONGEST = {Shelf.PERSON: 10_000, Shelf.STRANGER: 1_000, Shelf.ADDRESS: 1_000, Shelf.CROWD: 5_000}
# In Redis, after the last change.
LIFE = {
    Shelf.PERSON: timedelta(days=60),
    Shelf.STRANGER: timedelta(days=2),
    Shelf.ADDRESS: timedelta(days=7),
    Shelf.CROWD: timedelta(days=40),
}


class Name(NamedTuple):
    """Whose state."""

    shelf: Shelf
    of: str


class State(NamedTuple):
    """A state; of two versions the higher is the later."""

    version: int
    text: bytes


class States(Protocol):
    """In this process (``InProcess``), or shared by instances (``shared.Shared``)."""

    async def read(self, names: Collection[Name]) -> dict[Name, State]:
        """Those that are there."""

    async def write(self, changed: Mapping[Name, bytes]) -> set[Name]:
        """Put these in place of what was read; the names of those that somebody else changed since and that stay as they are."""


class InProcess:
    """For one event loop."""

    def __init__(self) -> None:
        self._shelves: dict[Shelf, OrderedDict[str, State]] = {shelf: OrderedDict() for shelf in Shelf}

    async def read(self, names: Collection[Name]) -> dict[Name, State]:
        """See ``States``."""
        return {name: found for name in names if (found := self.find(name)) is not None}

    async def write(self, changed: Mapping[Name, bytes]) -> set[Name]:
        """See ``States``; nobody else is there."""
        for name, text in changed.items():
            known = self.find(name)
            self.put(name, State(1 if known is None else known.version + 1, text))
        return set()

    def find(self, name: Name) -> State | None:
        """One of them."""
        return self._shelves[name.shelf].get(name.of)

    def put(self, name: Name, state: State) -> None:
        """Keep it, as the last to be forgotten."""
        shelf = self._shelves[name.shelf]
        shelf[name.of] = state
        shelf.move_to_end(name.of)
        if len(shelf) > LONGEST[name.shelf]:
            shelf.popitem(last=False)

    def items(self) -> Iterable[tuple[Name, State]]:
        """All, the longest unused first."""
        return [(Name(shelf, of), state) for shelf, states in self._shelves.items() for of, state in states.items()]
