"""Somebody who was authenticated, and how."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from broker.core.principal import Principal


@dataclass(frozen=True, slots=True)
class Identity:
    """Who, and what the ticket says beside the name. All times are timezone-aware.

    ``authenticated_at`` is when the password, card or code was shown, however often the ticket was renewed since.
    ``groups`` are SIDs of the realm's own domain; empty without Active Directory. ``mutual_token`` proves the broker
    to the client.
    """

    principal: Principal
    ticket_end: datetime
    authenticated_at: datetime
    channel_bound: bool
    indicators: frozenset[str]
    groups: frozenset[str]
    mutual_token: bytes | None
