"""From sightings to alerts: fetches what is known of everybody concerned, folds, and puts it back.

Nothing here decides anything about anybody: it says what is unusual, and why.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple

import orjson

from broker.watch.anomaly import crowd, denials, person
from broker.watch.anomaly.denials import Address, mark
from broker.watch.anomaly.finding import Finding, Said
from broker.watch.anomaly.person import Peers, Person
from broker.watch.anomaly.rate import DAY, Rate
from broker.watch.anomaly.sighting import Outcome, Sighting
from broker.watch.states import Name, Shelf, State, States

# What two instances change at the same moment is tried again; after that the last word stands.
_TRIES = 4

_Groups = Mapping[str, Sequence[Sighting]]


class Alert(NamedTuple):
    """A finding, and the sighting that brought it. ``about`` is None where it is about an address."""

    finding: Finding
    sighting: Sighting
    about: str | None


class Detectors:
    """All of them."""

    def __init__(self, *, states: States) -> None:
        self._states = states

    async def look(self, sightings: Sequence[Sighting]) -> list[Alert]:
        """What is unusual about these, which come in the order of their times."""
        persons: dict[str, list[Sighting]] = {}
        addresses: dict[str, list[Sighting]] = {}
        for sighting in sightings:
            if sighting.outcome is not Outcome.IN_THEIR_NAME:
                persons.setdefault(sighting.user, []).append(sighting)
            if sighting.outcome in (Outcome.DENIED, Outcome.IN_THEIR_NAME) and sighting.address:
                addresses.setdefault(sighting.address, []).append(sighting)
        alerts = await _settled(self._of_persons, persons)
        return alerts + await _settled(self._of_addresses, addresses)

    async def _of_persons(self, groups: _Groups) -> tuple[dict[str, list[Alert]], set[str]]:
        names = [Name(shelf, user) for user in groups for shelf in (Shelf.PERSON, Shelf.STRANGER)]
        held = await self._states.read(names)
        before = {user: _person(user, held, groups[user]) for user in groups}
        # A crowd matters where somebody joins it today.
        joining = [
            (name, sighting)
            for user, (_, known) in before.items()
            for sighting in groups[user]
            for name in _crowds(known, sighting)
        ]
        crowds = await self._states.read({name for name, _ in joining})
        peers = {name: crowd.decoded(state.text) for name, state in crowds.items()}
        changed: dict[Name, bytes] = {}
        found: dict[str, list[Alert]] = {}
        for user, (name, known) in before.items():
            after, found[user] = self._folded(known, groups[user], peers)
            changed[name] = person.encoded(after)
        for name, sighting in joining:
            peers[name] = crowd.joined(peers.get(name, {}), mark(sighting.user), day=sighting.at // DAY)
        lost = await self._states.write(changed | {name: crowd.encoded(peers[name]) for name, _ in joining})
        return found, {name.of for name in lost if name.shelf is not Shelf.CROWD}

    def _folded(
        self, known: Person, sightings: Sequence[Sighting], crowds: Mapping[Name, crowd.Crowd]
    ) -> tuple[Person, list[Alert]]:
        alerts = []
        for sighting in sightings:
            own, day = mark(sighting.user), sighting.at // DAY
            peers = Peers(*(crowd.others(crowds.get(name, {}), own, day=day) for name in _both(sighting)))
            known, findings = person.fold(known, sighting, peers=peers)
            alerts += [Alert(finding, sighting, sighting.user) for finding in findings]
        return known, alerts

    async def _of_addresses(self, groups: _Groups) -> tuple[dict[str, list[Alert]], set[str]]:
        held = await self._states.read([Name(Shelf.ADDRESS, address) for address in groups])
        changed: dict[Name, bytes] = {}
        found: dict[str, list[Alert]] = {}
        for where, sightings in groups.items():
            name = Name(Shelf.ADDRESS, where)
            address = _address(held.get(name))
            found[where] = []
            for sighting in sightings:
                address, finding = denials.spraying(address, sighting.user, where=where, at=sighting.at)
                if finding is not None:
                    found[where].append(Alert(finding, sighting, None))
            changed[name] = orjson.dumps(address, default=tuple)
        return found, {name.of for name in await self._states.write(changed)}


async def _settled(
    step: Callable[[_Groups], Awaitable[tuple[dict[str, list[Alert]], set[str]]]], groups: _Groups
) -> list[Alert]:
    """Again, for those whose state another instance has changed meanwhile: an alert of theirs may be there already."""
    alerts: list[Alert] = []
    for left in reversed(range(_TRIES)):
        found, lost = await step(groups) if groups else ({}, set())
        alerts += [alert for name, each in found.items() if name not in lost or not left for alert in each]
        groups = {name: groups[name] for name in lost}
    return alerts


def _person(user: str, held: Mapping[Name, State], sightings: Sequence[Sighting]) -> tuple[Name, Person]:
    """Where somebody's state lies, and what it is. Who is let in for the first time begins anew."""
    name = Name(Shelf.PERSON, user)
    if name not in held and all(sighting.outcome is not Outcome.USED for sighting in sightings):
        name = Name(Shelf.STRANGER, user)
    return name, person.decoded(held[name].text) if name in held else Person()


def _both(sighting: Sighting) -> tuple[Name, Name]:
    """The crowds of a sighting: of its role, by the rule; of its network."""
    return (
        Name(Shelf.CROWD, f"role\0{sighting.rule}\0{sighting.role}"),
        Name(Shelf.CROWD, f"network\0{sighting.network}"),
    )


def _crowds(known: Person, sighting: Sighting) -> list[Name]:
    """Those that somebody joins by this, today for the first time."""
    if sighting.outcome is not Outcome.USED:
        return []
    day = sighting.at // DAY
    used = ((known.roles, sighting.role), (known.networks, sighting.network))
    return [
        name
        for name, (spans, thing) in zip(_both(sighting), used, strict=True)
        if thing is not None and (thing not in spans or spans[thing].last < day)
    ]


def _address(state: State | None) -> Address:
    if state is None:
        return Address()
    marks, rate, said = orjson.loads(state.text)
    return Address(marks, Rate(*rate), {kind: Said(*each) for kind, each in said.items()})
