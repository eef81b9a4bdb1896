"""The decision. ``decide()`` is the only maker of a ``Grant``.

A request is granted by the first rule, in the order of the file, that names the asker, the address and the role, and whose
requirements the ticket meets; a job pass, by the first of these that lets such passes be made. There are
no deny rules, so adding a rule never takes anything away, and removing one never gives anything.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from broker.core.errors import AccessDenied, AuthFailed, DirectoryUnavailable, StepUpRequired
from broker.core.grant import Grant
from broker.core.identity import Identity
from broker.core.pattern import PrincipalPattern
from broker.core.roles import SHORTEST, Role, RoleName

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# Where a ticket ends before the role would, credentials end with it: by the minute, so that requests with one
# ticket share one cache entry although clocks tick between them.
_END_GRAIN_SECONDS = 60
# What has to be left, so that the credentials of a ticket's last minutes still live as long as AWS wants.
_LEFT = SHORTEST + timedelta(seconds=_END_GRAIN_SECONDS)


@dataclass(frozen=True, slots=True)
class Requirements:
    """What a ticket must be like, beside naming the right person. The default asks for nothing.

    ``indicators``: at least one of them (RFC 8129), as MIT's ``require_auth`` counts. ``max_ticket_age`` is counted from when
    somebody authenticated, not from the last renewal.
    """

    indicators: frozenset[str] = frozenset()
    max_ticket_age: timedelta | None = None
    channel_binding: bool = False

    def unmet(self, identity: Identity, *, now: datetime) -> str | None:
        """What the caller must do, as words behind "this role needs"; None where the ticket is good enough."""
        if self.indicators and not self.indicators & identity.indicators:
            return f"a ticket obtained with {' or '.join(sorted(self.indicators))}"
        if self.max_ticket_age is not None and now + _LEFT > identity.authenticated_at + self.max_ticket_age:
            return f"a ticket obtained within the last {self.max_ticket_age - _LEFT}"
        if self.channel_binding and not identity.channel_bound:
            return "a client that binds the ticket to its TLS connection"
        return None

    def good_until(self, identity: Identity) -> datetime:
        """When the ticket stops meeting them, or ends."""
        if self.max_ticket_age is None:
            return identity.ticket_end
        return min(identity.ticket_end, identity.authenticated_at + self.max_ticket_age)


@dataclass(frozen=True, slots=True)
class Rule:
    """Whoever is named by a principal pattern or by a group (SID or name), to roles. Empty ``networks`` means anywhere.

    ``job_passes`` is for how long a job may go on by it after its owner showed a ticket; None: not at all.
    """

    name: str
    principals: tuple[PrincipalPattern, ...]
    groups: frozenset[str]
    networks: tuple[Network, ...]
    require: Requirements
    roles: frozenset[RoleName]
    job_passes: timedelta | None = None

    def allows_from(self, address: Address | None) -> bool:
        """Whether the rule holds for this address; None (a local socket) is in no network."""
        if not self.networks:
            return True
        return address is not None and any(address in network for network in self.networks)

    def takes(self, identity: Identity, *, now: datetime) -> bool:
        """Whether it holds for what somebody shows: a ticket or session always, a job pass for its time."""
        if identity.delegated_at is None:
            return True
        return self.job_passes is not None and now < identity.delegated_at + self.job_passes

    def good_until(self, identity: Identity) -> datetime:
        """When it stops holding for what somebody shows."""
        good_until = self.require.good_until(identity)
        if identity.delegated_at is None or self.job_passes is None:
            return good_until
        return min(good_until, identity.delegated_at + self.job_passes)


class Policy:
    """Roles and rules, indexed by principal, so that a decision does not read every rule."""

    def __init__(self, *, roles: Mapping[RoleName, Role], rules: Sequence[Rule]) -> None:
        self.roles = roles
        self._digests = {name: _digest(role) for name, role in roles.items()}
        self._rules = tuple(rules)
        self._literal: dict[tuple[tuple[str, ...], str], list[int]] = {}
        self._wildcard: dict[tuple[int, str], list[tuple[int, PrincipalPattern]]] = {}
        self._groups: dict[str, list[int]] = {}
        for place, rule in enumerate(self._rules):
            self._index(place, rule.principals)
            for group in rule.groups:
                self._groups.setdefault(group, []).append(place)

    def rules_for(self, identity: Identity, address: Address | None) -> Iterator[Rule]:
        """The rules that name this somebody and hold for this address, in the order of the file."""
        principal = identity.principal
        places = {place for group in identity.groups for place in self._groups.get(group, ())}
        places.update(self._literal.get((principal.components, principal.realm), ()))
        candidates = self._wildcard.get((len(principal.components), principal.realm), ())
        places.update(place for place, pattern in candidates if pattern.matches(principal))
        for place in sorted(places):
            if self._rules[place].allows_from(address):
                yield self._rules[place]

    def roles_for(self, identity: Identity, address: Address | None) -> list[Role]:
        """The roles somebody may have, with a better ticket perhaps, each once, by name."""
        names = {name for rule in self.rules_for(identity, address) for name in rule.roles}
        return [self.roles[name] for name in sorted(names)]

    def digest(self, name: RoleName) -> str:
        """Identifies everything that a role stands for; changes with any of it."""
        return self._digests[name]

    def _index(self, place: int, patterns: Iterable[PrincipalPattern]) -> None:
        for pattern in patterns:
            if pattern.is_literal:
                self._literal.setdefault((pattern.components, pattern.realm), []).append(place)
            else:
                key = (len(pattern.components), pattern.realm)
                self._wildcard.setdefault(key, []).append((place, pattern))


def decide(policy: Policy, *, identity: Identity, role: RoleName, address: Address | None, now: datetime) -> Grant:
    """Grant a role to somebody.

    Raises:
        AccessDenied: No rule gives it; a role that does not exist is refused in the same words and by the same way.
        StepUpRequired: A rule would, with a stronger or fresher ticket.
        AuthFailed: The ticket ends so soon that AWS makes no credentials that end with it (15 minutes).
        DirectoryUnavailable: No rule gives it without a group, and which groups they are in is unknown: no word on the role.
    """
    return _grant(policy, next(_giving(policy, identity, role, address, now)), identity, role, now)


def delegable_until(
    policy: Policy, *, identity: Identity, role: RoleName, address: Address | None, now: datetime
) -> datetime:
    """Until when a job may have a role by a pass that is made now: as long as any rule lets it. Raises like ``decide``."""
    return max(rule.good_until(identity) for rule in _giving(policy, identity, role, address, now))


def _giving(
    policy: Policy, identity: Identity, role: RoleName, address: Address | None, now: datetime
) -> Iterator[Rule]:
    """The rules that give somebody a role now, in the order of the file; where there is none, why not is raised."""
    given, unmet, reason = False, None, "no_rule"
    for rule in policy.rules_for(identity, address):
        if role not in rule.roles:
            continue
        if not rule.takes(identity, now=now):
            reason = "no_job_passes"
            continue
        needed = rule.require.unmet(identity, now=now)
        if needed is None:
            given = True
            yield rule
        unmet = unmet or needed
    if given:
        return
    if unmet is not None:
        raise StepUpRequired(reason="ticket_too_weak", hint=f"this role needs {unmet}: run kinit anew")
    if identity.groups_unknown is not None:
        raise DirectoryUnavailable(reason=identity.groups_unknown)
    raise AccessDenied(reason=reason)


def _grant(policy: Policy, rule: Rule, identity: Identity, role: RoleName, now: datetime) -> Grant:
    chosen = policy.roles[role]
    lifetime, ends_at = chosen.duration, None
    good_until = rule.good_until(identity)
    if good_until < now + chosen.duration:
        end = int(good_until.timestamp())
        ends_at = end - end % _END_GRAIN_SECONDS
        lifetime = timedelta(seconds=ends_at - int(now.timestamp()))
        if lifetime <= SHORTEST:
            raise AuthFailed(
                reason="ticket_ends_too_soon",
                hint="your ticket or job pass ends within 15 minutes: run kinit, or renew the pass, then try again",
            )
    return Grant(
        principal=identity.principal,
        role=chosen,
        rule=rule.name,
        policy_digest=policy.digest(role),
        lifetime=lifetime,
        ends_at=ends_at,
    )


def _digest(role: Role) -> str:
    hops = [[hop.arn.text, hop.external_id] for hop in role.chain]
    described = json.dumps([role.name, hops, int(role.duration.total_seconds())], separators=(",", ":"))
    return hashlib.sha256(described.encode()).hexdigest()
