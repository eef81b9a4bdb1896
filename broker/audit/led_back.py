"""The way back: from what happened in AWS to the records of the requests behind it.

An event leads to a record by what AWS itself wrote: the access key id of the session, or of the one that an AssumeRole made; the
request that a session tag names; and where neither is recorded, as of the hops on the way, by the session's name and the time of
an ``intent``. What no record explains is the finding: a session that nobody recorded.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from broker.audit.cloudtrail import Happened, moment
from broker.audit.event import Kind
from broker.audit.search import Chain, Found, said, search_members

_SESSION, _SERVICE = "AssumedRole", "AWSService"
# A chain is walked within 5 s of its intent; CloudTrail cuts off fractions of a second; AWS's clock is not ours.
_WALK = timedelta(seconds=5)
_CLOCKS = timedelta(seconds=30)
_OF_AN_INTENT = said("event", Kind.INTENT)
# Of a person's records there may be thousands.
_KEPT = (
    *("timestamp", "instance", "seq", "event", "user", "session_name", "source_identity", "role", "rule"),
    *("request_id", "minted_by", "access_key_id"),
)


@dataclass(frozen=True, slots=True)
class Resolved:
    """An event, the record it leads to, and by what; without a record: why there is none."""

    event: Happened
    record: Mapping[str, Any] | None
    by: str


@dataclass(slots=True)
class _Known:
    """What the records say of the keys, requests and names that events speak of."""

    keys: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    requests: dict[str, list[Mapping[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    names: dict[str, list[Mapping[str, Any]]] = field(default_factory=lambda: defaultdict(list))


def resolve(
    chains: Sequence[Chain], events: Sequence[Happened], *, roles: Collection[str] | None
) -> tuple[list[Resolved], int]:
    """The record of each event that may be of the broker's making, and how many events were of others.

    Args:
        chains: Record files.
        events: What happened in AWS.
        roles: The ARNs of the roles of the broker's chains; None where they are not known: then every session counts.

    Raises:
        OSError: A file cannot be read.
    """
    possible = [one for one in events if one.caller_type != _SERVICE and (one.assumes or one.caller_type == _SESSION)]
    known = _look_up(chains, possible)
    every = [_resolved(one, known) for one in possible]
    # Whoever walks recorded chains is the broker's base identity: what else it assumes concerns us, whichever role it is.
    base = {one.event.caller for one in every if one.record is not None and one.event.assumes}
    found = [one for one in every if roles is None or _is_ours(one.event, roles, base)]
    return found, len(events) - len(found)


def _is_ours(event: Happened, roles: Collection[str], base: Collection[str]) -> bool:
    return event.role in roles or event.issuer in roles or (event.assumes and event.caller in base)


def _look_up(chains: Sequence[Chain], events: Iterable[Happened]) -> _Known:
    events = list(events)
    keys = {key for one in events for key in (one.made, one.key) if key}
    requests = {name for one in events for name in one.requests}
    names = {one.session_name for one in events if one.assumes and one.session_name}
    known = _Known()
    for found in search_members(chains, ("access_key_id",), keys):
        record = _kept(found)
        known.keys.setdefault(str(record["access_key_id"]), record)
    for found in search_members(chains, ("request_id", "session_name"), requests | names, also=_OF_AN_INTENT):
        record = _kept(found)
        if record["request_id"] in requests:
            known.requests[str(record["request_id"])].append(record)
        if record["session_name"] in names:
            known.names[str(record["session_name"])].append(record)
    return known


def _kept(found: Found) -> Mapping[str, Any]:
    return {member: found.says.get(member) for member in _KEPT}


def _resolved(event: Happened, known: _Known) -> Resolved:
    for by, key in (("the key it made", event.made), ("its key", event.key)):
        record = known.keys.get(key or "")
        if record is not None:
            return _of_one_person(event, record, by)
    if not event.assumes:
        return Resolved(event, None, f"no record of the key {event.key}")
    named = [record for name in event.requests for record in known.requests.get(name, [])]
    if named:
        fitting = [record for record in named if _fits(event, record)]
        if fitting:
            return Resolved(event, fitting[-1], "its tag")
        return Resolved(event, None, f"its tag names a request of {named[0].get('session_name')}, or of another time")
    near = [record for record in known.names.get(event.session_name or "", []) if _fits(event, record)]
    if near:
        return Resolved(event, near[-1], "name and time")
    return Resolved(event, None, f"nobody's request for {event.session_name} at that time")


def _of_one_person(event: Happened, record: Mapping[str, Any], by: str) -> Resolved:
    said = record.get("source_identity")
    if event.source_identity not in (None, said):
        return Resolved(event, None, f"{by} was given to {said}, and AWS names {event.source_identity}")
    return Resolved(event, record, by)


def _fits(event: Happened, record: Mapping[str, Any]) -> bool:
    """Whether this intent can have caused it: of the same name, and not longer before than a chain is walked."""
    asked = moment(str(record.get("timestamp")))
    if event.time is None or asked is None or record.get("session_name") != event.session_name:
        return False
    return asked - _CLOCKS - timedelta(seconds=1) <= event.time <= asked + _WALK + _CLOCKS
