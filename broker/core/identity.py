"""Somebody who was authenticated, and how; and what they show instead of a ticket from then on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from broker.core.principal import Principal
from broker.core.secret import Secret

# What a ticket can be renewed for in Active Directory by default (MaxRenewAge): nobody's absence counts for longer.
LONGEST_DELEGATION = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who, and what the ticket says beside the name. All times are timezone-aware.

    ``authenticated_at`` is when the password, card or code was shown, however often the ticket was renewed since.
    ``groups`` are SIDs of the realm's own domain, empty without Active Directory; and names, once the realm's directory was
    asked (``groups_unknown``: why it could not say). ``mutual_token`` proves the broker to the client. ``delegated_at`` is when
    a job pass was first made for a ticket, where that is what was shown; ``ticket_end`` is then the pass's end.
    ``impersonated_by`` are the services that made the ticket in the principal's name (S4U), as far as it names them; None where
    the principal was there.
    """

    principal: Principal
    ticket_end: datetime
    authenticated_at: datetime
    channel_bound: bool
    indicators: frozenset[str]
    groups: frozenset[str]
    mutual_token: bytes | None
    groups_unknown: str | None = None
    delegated_at: datetime | None = None
    impersonated_by: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class SealedSession:
    """What a client is given, to show it with later requests. ``id`` is what it is called when it is ended; it opens nothing."""

    id: str
    value: Secret
    made: datetime
    lifetime: timedelta

    @property
    def ends(self) -> datetime:
        """When it ends by itself."""
        return self.made + self.lifetime


@dataclass(frozen=True, slots=True)
class UnverifiedRequest:
    """A request as it came, for whoever checks a signature over it (RFC 9421).

    ``url`` is scheme, Host and target as the client sent them; ``headers`` are all field lines in order.
    """

    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class UnverifiedProof:
    """A ``DPoP`` header (RFC 9449), and the request that it came with: what it must have been made for.

    ``url`` is scheme, authority and path as the client addressed us, without query.
    """

    text: str
    method: str
    url: str
