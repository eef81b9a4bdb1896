"""When keys follow each other: what is due, what seals, what nobody needs any more. Pure.

Times are ms of Unix time, ages ``timedelta``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from broker.core.identity import LONGEST_DELEGATION
from broker.keys.hierarchy import Kind
from broker.keys.keyring import OWN, Ring, Wrapped

# Kinds that change while the broker runs. A new name key would lose everything that has a name, and what signs is published.
ROTATED = (Kind.DATA, Kind.SESSION)

# What seals is kept this long after another seals, whatever anybody says of it: for what nobody can seal anew, because it is
# with clients (a job pass, and the days at both ends of its keys' time), or not worth it (credentials in the cache: an hour).
_REST = {Kind.DATA: timedelta(hours=2), Kind.SESSION: LONGEST_DELEGATION + timedelta(days=2)}


@dataclass(frozen=True, slots=True)
class Schedule:
    """How old a key may become."""

    master: timedelta
    data: timedelta
    session: timedelta

    def due_at(self, ring: Ring, kind: Kind) -> int | None:
        """When a kind's newest version, sealing or about to, is to be followed; None where none ever is, or there is none."""
        age = {Kind.DATA: self.data, Kind.SESSION: self.session}.get(kind)
        newest = next(iter(ring.versions(kind)), None)
        return None if newest is None or age is None else newest.made + _ms(age)


def due(ring: Ring, schedule: Schedule, *, now: int) -> list[Kind]:
    """The kinds that need a new version now."""
    at = {kind: schedule.due_at(ring, kind) for kind in ROTATED}
    return [kind for kind, moment in at.items() if moment is not None and moment <= now]


def in_force(versions: Sequence[Wrapped], *, now: int, unripe: Collection[str]) -> list[Wrapped]:
    """The newest that may seal first, then all others, the newest first. ``unripe``: ids that not everybody may know yet."""
    may_seal = [version for version in versions if may(version, now=now, unripe=unripe)]
    # Where nothing may, whatever is there must: keys that nobody else knows are better than none.
    sealing = (may_seal or sorted(versions, key=lambda version: version.seals_from))[:1]
    return [*sealing, *(version for version in versions if version not in sealing)]


def may(version: Wrapped, *, now: int, unripe: Collection[str]) -> bool:
    """Whether a version may seal."""
    return version.seals_from <= now and version.id not in unripe


def retired(ring: Ring, kind: Kind, *, now: int) -> list[Wrapped]:
    """Versions that have sealed nothing for so long that only a store can still need them."""
    versions = in_force(ring.versions(kind), now=now, unripe=())
    if not versions or versions[0].seals_from == OWN:
        return []
    sealing, *others = versions
    rested: list[Wrapped] = []
    # Each has sealed until the next newer one did.
    following = sealing
    for version in others:
        if version.seals_from > now:
            continue
        if now - following.seals_from >= _ms(_REST[kind]):
            rested.append(version)
        # Which master key was in force when is not known: all of them were before the first version that was made.
        following = version if version.seals_from != OWN else following
    return rested


def unneeded(candidates: Sequence[Wrapped], needs: Mapping[str, Collection[str] | None]) -> list[Wrapped]:
    """Those that nobody needs, by what each instance says that it needs. None says nothing yet, so that all is kept."""
    if any(needed is None for needed in needs.values()):
        return []
    all_needed = {one for needed in needs.values() for one in needed or ()}
    return [version for version in candidates if version.id not in all_needed]


def _ms(age: timedelta) -> int:
    return age // timedelta(milliseconds=1)
