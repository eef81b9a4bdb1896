"""What a record says about somebody, as the detectors see it; the same from an event of this broker and from a line of its log.

Only who was proven by a ticket, a session or a job pass is seen: input of nobody leaves no state.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Any, NamedTuple

from broker.audit.event import Event, Kind
from broker.watch.anomaly.travel import Place

# What is one network: what a provider or an office mostly has.
_IPV4_PREFIX = 24
_IPV6_PREFIX = 48

# The member of a record whose ticket a service made (S4U).
IMPERSONATED = "impersonated_by"

PlaceOf = Callable[[str], Place | None]


class Outcome(enum.Enum):
    """What came of it."""

    USED = "used"
    DENIED = "denied"
    ENDED = "ended"
    EXPIRED = "expired"
    # Refused, and of somebody else's making: it names the person, and says something about the address alone.
    IN_THEIR_NAME = "in_their_name"


# Refusals that are somebody's own doing. Others (AWS fails, a disk is full, too busy) say nothing about who asked; nor do those
# that an alert brought about, or it would feed on itself.
_DENIED = (
    "no_approver",
    "no_job_passes",
    "no_operator",
    "no_rule",
    "no_rule_to_ask_under",
    "no_scope",
    "no_secret_rule",
    "not_present",
    "path_malformed",
    "operator_not_present",
    "pass_lineage",
    "pass_other_network",
    "pass_other_role",
    "pass_unknown",
    "pass_wider",
    "request_unknown",
    "role_malformed",
    "scope_malformed",
    "self_approval",
    "ticket_replayed",
    "ticket_too_weak",
)
# Tickets that were not admitted: a service or a machine can have one made in anybody's name, and must not get them held.
_IN_THEIR_NAME = (
    "impersonated",
    "name_not_of_account",
    "pac_of_another_domain",
    "realm_not_allowed",
    "session_key_not_aes",
)
_DENIED_PREFIXES = ("dpop_", "signature_")
_ENDED = ("revoked", "session_ended", "ended_meanwhile", "pass_cancelled", "pass_ended")
_EXPIRED = ("session_expired", "pass_expired", "ticket_expired", "secret_expired")
_OF_REFUSALS = {
    **dict.fromkeys(_DENIED, Outcome.DENIED),
    **dict.fromkeys(_IN_THEIR_NAME, Outcome.IN_THEIR_NAME),
    **dict.fromkeys(_ENDED, Outcome.ENDED),
    **dict.fromkeys(_EXPIRED, Outcome.EXPIRED),
}

# What somebody gets for themselves; what precedes or follows it by itself (an intent, a renewal) is no doing of theirs.
_USED = frozenset({Kind.ISSUED, Kind.SHOWN, Kind.DELEGATED, Kind.RENEWED, Kind.ATTENUATED, Kind.CANCELLED, Kind.ENDED})
_USED |= {Kind.REVOKED, Kind.RESTORED}
# Who approves from where they never were is whom the watch is for.
_USED |= {
    Kind.ELEVATION_REQUESTED,
    Kind.ELEVATION_APPROVED,
    Kind.ELEVATION_DENIED,
    Kind.BREAK_GLASS,
    Kind.REVIEW_CLOSED,
}
# Uses of a role: the rest is about themselves.
_OF_A_ROLE = frozenset({Kind.ISSUED, Kind.DELEGATED, Kind.RENEWED})


# What stands before a rule's name where it is a rule about secrets; no role has a slash.
_OF_SECRETS = "secrets/"


class Sighting(NamedTuple):
    """Somebody did something, ``number`` times in a moment (``at``: Unix seconds); ``role`` and ``rule`` where one was used."""

    user: str
    at: int
    outcome: Outcome
    reason: str
    role: str | None = None
    rule: str = ""
    address: str | None = None
    network: str | None = None
    place: Place | None = None
    request_id: str | None = None
    number: int = 1


def outcome_of(kind: Kind, reason: str | None, *, impersonated: bool) -> Outcome | None:
    """What a record is to the detectors; None: nothing. ``impersonated``: a service came in the person's name."""
    if kind in _USED or (kind is Kind.SECRET and reason is None):
        return Outcome.USED
    if kind not in (Kind.REFUSED, Kind.SECRET) or reason is None:
        return None
    outcome = Outcome.DENIED if reason.startswith(_DENIED_PREFIXES) else _OF_REFUSALS.get(reason)
    return Outcome.IN_THEIR_NAME if outcome is not None and impersonated else outcome


def of_event(event: Event, *, number: int, place_of: PlaceOf) -> Sighting | None:
    """What an event says; None where it says nothing about anybody."""
    outcome = outcome_of(event.kind, event.reason, impersonated=IMPERSONATED in event.details)
    if outcome is None or event.principal is None or event.timestamp is None:
        return None
    return Sighting(
        user=str(event.principal),
        at=int(event.timestamp.timestamp()),
        outcome=outcome,
        reason=event.reason or "",
        role=_used(event.kind, outcome, role=event.role, rule=event.details.get("rule")),
        rule=event.details.get("rule", ""),
        address=event.source_ip,
        network=_network_of(event.source_ip),
        place=place_of(event.source_ip) if event.source_ip else None,
        request_id=event.request_id,
        number=number,
    )


def of_record(record: Mapping[str, Any], *, place_of: PlaceOf) -> Sighting | None:
    """The same of a record as it is in the log.

    Raises:
        ValueError, TypeError, KeyError: It is no record of ours.
    """
    try:
        kind = Kind(record["event"])
    except ValueError:
        return None  # Of a later version.
    outcome, address = outcome_of(kind, record["reason"], impersonated=IMPERSONATED in record), record["source_ip"]
    if outcome is None or record["user"] is None:
        return None
    moment = datetime.strptime(record["timestamp"], "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    return Sighting(
        user=record["user"],
        at=int(moment.timestamp()),
        outcome=outcome,
        reason=record["reason"] or "",
        role=_used(kind, outcome, role=record["role"], rule=record.get("rule")),
        rule=record.get("rule", ""),
        address=address,
        network=_network_of(address),
        place=place_of(address) if address else None,
        request_id=record["request_id"],
    )


def _used(kind: Kind, outcome: Outcome, *, role: str | None, rule: str | None) -> str | None:
    """The role; of secrets the rule, which says which ones: paths are too many to have habits, and rules are few."""
    if kind is Kind.SECRET and outcome is Outcome.USED:
        return f"{_OF_SECRETS}{rule}"
    return role if kind in _OF_A_ROLE else None


@lru_cache(maxsize=4096)
def _network_of(address: str | None) -> str | None:
    if not address:
        return None
    parsed = ip_address(address)
    prefix = _IPV4_PREFIX if parsed.version == 4 else _IPV6_PREFIX  # noqa: PLR2004
    return str(ip_network((parsed, prefix), strict=False))
