"""What a ticket lacks for a role, as values that a program can act upon."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class StepUp:
    """What a new ticket must be like; without members: new, and nothing else.

    ``indicators``: one of them (RFC 8129); empty where any will do. ``max_ticket_age``: counted from when somebody authenticates.
    ``channel_binding``: a new ticket alone does not help, the client has to bind it to its TLS connection (RFC 5929).
    """

    indicators: tuple[str, ...] = ()
    max_ticket_age: timedelta | None = None
    channel_binding: bool = False
