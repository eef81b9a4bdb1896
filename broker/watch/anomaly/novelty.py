"""A network or a role that somebody never used before.

Novelty that is common says little: a role that others use by the same rule, a network that others come from, somebody who
travels all the time. Such a finding is of low severity, and nothing is ever held for it.
"""

from __future__ import annotations

from broker.audit.alert import Severity
from broker.watch.anomaly.finding import Finding, Kind
from broker.watch.anomaly.history import FOR_NETWORKS, FOR_ROLES, History
from broker.watch.anomaly.spans import NETWORKS_MAX, ROLES_MAX, Spans, begun_since, used

# Others who use a thing make it ordinary.
PEERS_ENOUGH = 3
# Whoever came from so many new networks within so many days is one who travels.
_TRAVELS = 3
_TRAVELS_DAYS = 30


def network(
    known: Spans, name: str, *, day: int, history: History, since: int, peers: int
) -> tuple[Spans, Finding | None]:
    """Somebody came from a network (/24 or /48); ``since`` is the first day of their history."""
    if name in known or not FOR_NETWORKS.is_met(history):
        return used(known, name, day=day, longest=NETWORKS_MAX), None
    # The networks of the first days are all new, and say nothing about travelling.
    recent = begun_since(known, max(day - _TRAVELS_DAYS, since + FOR_NETWORKS.days))
    after = used(known, name, day=day, longest=NETWORKS_MAX)
    why = [f"First time from {name}; {_counted(len(known), 'network')} known over {history.days} days."]
    ordinary = _peers(peers, "come from it")
    if recent >= _TRAVELS:
        ordinary += [f"{recent} other networks were new within {_TRAVELS_DAYS} days: this one travels."]
    severity = Severity.LOW if ordinary else Severity.MEDIUM
    return after, Finding(Kind.NETWORK, severity, begun_since(after, day), (*why, *ordinary))


def role(known: Spans, name: str, *, day: int, history: History, peers: int) -> tuple[Spans, Finding | None]:
    """Somebody used a role."""
    after = used(known, name, day=day, longest=ROLES_MAX)
    if name in known or not FOR_ROLES.is_met(history):
        return after, None
    why = [f"First use of {name}; {_counted(len(known), 'role')} used over {history.days} days."]
    ordinary = _peers(peers, "use it by the same rule")
    severity = Severity.LOW if ordinary else Severity.MEDIUM
    return after, Finding(Kind.ROLE, severity, begun_since(after, day), (*why, *ordinary), name)


def _peers(peers: int, what: str) -> list[str]:
    return [f"{peers} others {what}."] if peers >= PEERS_ENOUGH else []


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
