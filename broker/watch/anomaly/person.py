"""What is remembered of one person, and how one sighting changes it: all detectors in their order.

Some hundred bytes each as JSON, which is how they are kept: in memory, sealed in Redis, sealed on the disk.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from broker.watch.anomaly import denials, hours, novelty, reuse, travel, volume
from broker.watch.anomaly.finding import Finding, Said, worth_saying
from broker.watch.anomaly.history import History
from broker.watch.anomaly.hours import Hours
from broker.watch.anomaly.rate import DAY, Rate
from broker.watch.anomaly.sighting import Outcome, Sighting
from broker.watch.anomaly.spans import Span, Spans
from broker.watch.anomaly.travel import Place, Spot


class Peers(NamedTuple):
    """How many others use the role by the same rule, and how many come from the network."""

    of_role: int = 0
    of_network: int = 0


# Never changed in place, like all mappings below.
_NONE: Mapping[str, Any] = {}


class Person(NamedTuple):
    """All of it. ``since`` and ``last_day`` are Unix days, of uses only: refusals make no history."""

    since: int = -1
    last_day: int = -1
    history: History = History()
    hours: Hours = Hours()
    rates: Mapping[str, Rate] = _NONE
    networks: Spans = _NONE
    roles: Spans = _NONE
    last: Spot | None = None
    denied: Rate = Rate()
    expired: Rate = Rate()
    said: Mapping[str, Said] = _NONE


def fold(person: Person, sighting: Sighting, *, peers: Peers) -> tuple[Person, list[Finding]]:
    """The person after this, and what is worth saying about it."""
    if sighting.outcome is Outcome.USED:
        person, found = _used(person, sighting, peers)
    else:
        person, found = _refused(person, sighting)
    said, findings = person.said, []
    for each in found:
        if each is not None:
            said, finding = worth_saying(said, each, at=sighting.at)
            findings += [finding] if finding else []
    return person._replace(said=said), findings


def _used(person: Person, sighting: Sighting, peers: Peers) -> tuple[Person, list[Finding | None]]:
    at, history, found = sighting.at, person.history, []
    day = max(at // DAY, person.last_day)
    since = day if person.since < 0 else person.since
    rhythm, finding = hours.fold(person.hours, at=at, history=history)
    found.append(finding)
    last, networks, roles, rates = person.last, person.networks, person.roles, person.rates
    if sighting.network is not None:
        if sighting.place is not None:
            here = Spot(sighting.place, at, sighting.network)
            last, finding = travel.fold(last, here, networks=networks, history=history)
            found.append(finding)
        networks, finding = novelty.network(
            networks, sighting.network, day=day, history=history, since=since, peers=peers.of_network
        )
        found.append(finding)
    if sighting.role is not None:
        roles, finding = novelty.role(roles, sighting.role, day=day, history=history, peers=peers.of_role)
        found.append(finding)
        rates, finding = volume.fold(rates, sighting.role, at=at, number=sighting.number, history=history)
        found.append(finding)
    history = History(history.days + (day != person.last_day), history.used + sighting.number)
    changed = person._replace(
        since=since,
        last_day=day,
        history=history,
        hours=rhythm,
        rates=rates,
        networks=networks,
        roles=roles,
        last=last,
    )
    return changed, found


def _refused(person: Person, sighting: Sighting) -> tuple[Person, list[Finding | None]]:
    history, number = person.history, sighting.number
    finding: Finding | None
    if sighting.outcome is Outcome.ENDED:
        finding = reuse.ended(
            sighting.reason, network=sighting.network, known=person.networks, history=history, count=number
        )
        return person, [finding]
    if sighting.outcome is Outcome.EXPIRED:
        expired, finding = reuse.expired(
            person.expired,
            sighting.reason,
            at=sighting.at,
            number=number,
            network=sighting.network,
            known=person.networks,
            history=history,
        )
        return person._replace(expired=expired), [finding]
    denied, finding = denials.fold(
        person.denied, at=sighting.at, number=number, reason=sighting.reason, history=history
    )
    return person._replace(denied=denied), [finding]


def encoded(person: Person) -> bytes:
    """JSON."""
    return orjson.dumps(person, default=tuple)


def decoded(text: bytes) -> Person:
    """The inverse of ``encoded``."""
    row: list[Any] = orjson.loads(text)
    since, last_day, history, rhythm, rates, networks, roles, last, denied, expired, said = row
    return Person(
        since=since,
        last_day=last_day,
        history=History(*history),
        hours=Hours(*rhythm),
        rates={name: Rate(*rate) for name, rate in rates.items()},
        networks={name: Span(*span) for name, span in networks.items()},
        roles={name: Span(*span) for name, span in roles.items()},
        last=None if last is None else Spot(Place(*last[0]), *last[1:]),
        denied=Rate(*denied),
        expired=Rate(*expired),
        said={kind: Said(*each) for kind, each in said.items()},
    )
