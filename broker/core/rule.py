"""A rule as the operator writes it: who, from where, with what kind of ticket, to which roles."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from broker.core.elevation import BOX_DEFAULT
from broker.core.identity import Identity
from broker.core.pattern import PrincipalPattern
from broker.core.roles import SHORTEST, RoleName
from broker.core.step_up import StepUp

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# Where a ticket ends before the role would, credentials end with it: by the minute, so that requests with one
# ticket share one cache entry although clocks tick between them.
END_GRAIN_SECONDS = 60
# What has to be left, so that the credentials of a ticket's last minutes still live as long as AWS wants.
LEFT = SHORTEST + timedelta(seconds=END_GRAIN_SECONDS)
# Approvers in a hint, which is one line of a terminal.
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Requirements:
    """What a ticket must be like, beside naming the right person. The default asks for nothing.

    ``indicators``: at least one of them (RFC 8129), as MIT's ``require_auth`` counts. ``max_ticket_age`` is counted from when
    somebody authenticated, not from the last renewal.

    The rest is beside the ticket (``core.elevation``): ``reason`` is a pattern that a stated reason begins with, empty for any;
    ``approval`` is by how many others, ``break_glass`` by nobody and loudly, either for at most ``time_box``.
    """

    indicators: frozenset[str] = frozenset()
    max_ticket_age: timedelta | None = None
    channel_binding: bool = False
    reason: str | None = None
    approval: int = 0
    break_glass: bool = False
    time_box: timedelta = BOX_DEFAULT

    def unmet(self, identity: Identity, *, now: datetime, left: timedelta = LEFT) -> str | None:
        """What the caller must do, as words behind "this role needs"; None where the ticket is good enough, for ``left`` more."""
        if self.indicators and not self.indicators & identity.indicators:
            return f"a ticket obtained with {' or '.join(sorted(self.indicators))}"
        if self.max_ticket_age is not None and now + left > identity.authenticated_at + self.max_ticket_age:
            return f"a ticket obtained within the last {self.max_ticket_age - left}"
        if self.channel_binding and not identity.channel_bound:
            return "a client that binds the ticket to its TLS connection"
        return None

    def step_up(self, identity: Identity, *, left: timedelta = LEFT) -> StepUp:
        """All that a new ticket of somebody must have to meet them for ``left`` more: what this one has is lost with it."""
        return StepUp(
            indicators=tuple(sorted(self.indicators)),
            max_ticket_age=None if self.max_ticket_age is None else self.max_ticket_age - left,
            channel_binding=self.channel_binding and not identity.channel_bound,
        )

    @property
    def needs_box(self) -> bool:
        """Whether a time box has to be open."""
        return self.approval > 0 or self.break_glass

    @property
    def needs(self) -> tuple[str, ...]:
        """What is asked for beside the ticket, in words for programs."""
        boxed = ("break_glass",) if self.break_glass else ("approval",) if self.approval else ()
        return (*boxed, "reason") if boxed or self.reason is not None else ()

    @property
    def is_elevated(self) -> bool:
        """Whether anything is asked for beside the ticket."""
        return self.needs_box or self.reason is not None

    def reason_in_words(self) -> str:
        """What kind of reason is asked for."""
        return f"a reason that begins like {self.reason}" if self.reason else "a reason"

    def good_until(self, identity: Identity) -> datetime:
        """When the ticket stops meeting them, or ends."""
        if self.max_ticket_age is None:
            return identity.ticket_end
        return min(identity.ticket_end, identity.authenticated_at + self.max_ticket_age)


@dataclass(frozen=True, slots=True)
class Approvers:
    """Who may approve what a rule gives, by name or by a group."""

    principals: tuple[PrincipalPattern, ...] = ()
    groups: tuple[str, ...] = ()

    def names(self, identity: Identity) -> bool:
        """Whether somebody is among them."""
        by_name = any(pattern.matches(identity.principal) for pattern in self.principals)
        return by_name or any(group in identity.groups for group in self.groups)

    def __str__(self) -> str:
        """For people: the first few of them."""
        named = [*map(str, self.principals), *self.groups]
        more = f" and {len(named) - _SHOWN} more" if len(named) > _SHOWN else ""
        return ", ".join(named[:_SHOWN]) + more


@dataclass(frozen=True, slots=True)
class Naming:
    """What rules of every kind say: whom they mean (by a principal pattern, or by a group's SID or name), from where, how known.

    Empty ``networks`` means anywhere.
    """

    name: str
    principals: tuple[PrincipalPattern, ...]
    groups: tuple[str, ...]
    networks: tuple[Network, ...]
    require: Requirements

    def names(self, identity: Identity) -> bool:
        """Whether it means this somebody, by name or by a group."""
        by_name = any(pattern.matches(identity.principal) for pattern in self.principals)
        return by_name or self.group_of(identity) is not None

    @property
    def groups_that_count(self) -> frozenset[str]:
        """Those it names, whoever they are to it."""
        return frozenset(self.groups)

    def group_of(self, identity: Identity) -> str | None:
        """The first of its groups that somebody is in."""
        return next((group for group in self.groups if group in identity.groups), None)

    def allows_from(self, address: Address | None) -> bool:
        """Whether the rule holds for this address; None (a local socket) is in no network."""
        if not self.networks:
            return True
        return address is not None and any(address in network for network in self.networks)


@dataclass(frozen=True, slots=True)
class Rule(Naming):
    """Whoever it names, to roles.

    The order of ``groups`` says which one somebody in several counts as, where a tag names it.

    ``job_passes`` is for how long a job may go on by it after its owner showed a ticket; None: not at all. ``approvers`` open
    what it asks approval for.
    """

    roles: frozenset[RoleName]
    job_passes: timedelta | None = None
    approvers: Approvers = Approvers()

    def takes(self, identity: Identity, *, now: datetime) -> bool:
        """Whether it holds for what somebody shows: a ticket or session always, a job pass for its time."""
        if identity.delegated_at is None:
            return True
        # A job states no reason, and nobody approves one: it would go on by itself what was meant to be looked at each time.
        if self.require.is_elevated:
            return False
        return self.job_passes is not None and now < identity.delegated_at + self.job_passes

    @property
    def groups_that_count(self) -> frozenset[str]:
        """Those it names, of whoever asks and of whoever approves."""
        return frozenset((*self.groups, *self.approvers.groups))

    def good_until(self, identity: Identity) -> datetime:
        """When it stops holding for what somebody shows."""
        good_until = self.require.good_until(identity)
        if identity.delegated_at is None or self.job_passes is None:
            return good_until
        return min(good_until, identity.delegated_at + self.job_passes)
