"""The decision. ``decide()`` is the only maker of a ``Grant``.

A request is granted by the first rule, in the order of the file, that names the principal, the address and the role. There are
no deny rules, so adding a rule never takes anything away, and removing one never gives anything.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from broker.core.errors import AccessDenied, AuthFailed
from broker.core.grant import Grant
from broker.core.pattern import PrincipalPattern
from broker.core.principal import Principal
from broker.core.roles import SHORTEST, Role, RoleName

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# Where a ticket ends before the role would, credentials end with it: by the minute, so that requests with one
# ticket share one cache entry although clocks tick between them.
_END_GRAIN_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Rule:
    """Principals, and optionally where they ask from, to roles. Empty ``networks`` means anywhere."""

    name: str
    principals: tuple[PrincipalPattern, ...]
    networks: tuple[Network, ...]
    roles: frozenset[RoleName]

    def allows_from(self, address: Address | None) -> bool:
        """Whether the rule holds for this address; None (a local socket) is in no network."""
        if not self.networks:
            return True
        return address is not None and any(address in network for network in self.networks)


class Policy:
    """Roles and rules, indexed by principal, so that a decision does not read every rule."""

    def __init__(self, *, roles: Mapping[RoleName, Role], rules: Sequence[Rule]) -> None:
        self.roles = roles
        self._digests = {name: _digest(role) for name, role in roles.items()}
        self._rules = tuple(rules)
        self._literal: dict[tuple[tuple[str, ...], str], list[int]] = {}
        self._wildcard: dict[tuple[int, str], list[tuple[int, PrincipalPattern]]] = {}
        for place, rule in enumerate(self._rules):
            self._index(place, rule.principals)

    def rules_for(self, principal: Principal, address: Address | None) -> Iterator[Rule]:
        """The rules that name this principal and hold for this address, in the order of the file."""
        places = set(self._literal.get((principal.components, principal.realm), ()))
        candidates = self._wildcard.get((len(principal.components), principal.realm), ())
        places.update(place for place, pattern in candidates if pattern.matches(principal))
        for place in sorted(places):
            if self._rules[place].allows_from(address):
                yield self._rules[place]

    def roles_for(self, principal: Principal, address: Address | None) -> list[Role]:
        """The roles a principal may have, each once, by name."""
        names = {name for rule in self.rules_for(principal, address) for name in rule.roles}
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


def decide(
    policy: Policy,
    *,
    principal: Principal,
    role: RoleName,
    address: Address | None,
    ticket_end: datetime,
    now: datetime,
) -> Grant:
    """Grant a role to a principal.

    Raises:
        AccessDenied: No rule gives it; a role that does not exist is refused in the same words and by the same way.
        AuthFailed: The ticket ends so soon that AWS makes no credentials that end with it (15 minutes).
    """
    rule = next((rule for rule in policy.rules_for(principal, address) if role in rule.roles), None)
    if rule is None:
        raise AccessDenied(reason="no_rule")
    chosen = policy.roles[role]
    lifetime, ends_at = chosen.duration, None
    if ticket_end < now + chosen.duration:
        end = int(ticket_end.timestamp())
        ends_at = end - end % _END_GRAIN_SECONDS
        lifetime = timedelta(seconds=ends_at - int(now.timestamp()))
        if lifetime <= SHORTEST:
            raise AuthFailed(
                reason="ticket_ends_too_soon",
                hint="your ticket ends within 15 minutes: renew it with kinit, then try again",
            )
    return Grant(
        principal=principal,
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
