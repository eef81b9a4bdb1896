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
from broker.core.scope import Scope, ScopeName
from broker.core.tags import Placeholder, SessionTag, Values, encoded, group_text, principal_text

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

    The order of ``groups`` says which one somebody in several counts as, where a tag names it.

    ``job_passes`` is for how long a job may go on by it after its owner showed a ticket; None: not at all.
    """

    name: str
    principals: tuple[PrincipalPattern, ...]
    groups: tuple[str, ...]
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

    def group_of(self, identity: Identity) -> str | None:
        """The first of its groups that somebody is in."""
        return next((group for group in self.groups if group in identity.groups), None)

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
        self._digests = {
            (name, scope.name if scope else None): _digest(role, scope)
            for name, role in roles.items()
            for scope in (None, *role.scopes)
        }
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

    def digest(self, name: RoleName, scope: ScopeName | None = None) -> str:
        """Identifies everything that a role, or one of its scopes, stands for; changes with any of it."""
        return self._digests[name, scope]

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
    identity: Identity,
    role: RoleName,
    address: Address | None,
    now: datetime,
    scope: ScopeName | None = None,
) -> Grant:
    """Grant a role to somebody, limited to one of its scopes where they ask for one.

    Raises:
        AccessDenied: No rule gives it; a role or scope that does not exist is refused in the same words and by the same way.
        StepUpRequired: A rule would, with a stronger or fresher ticket.
        AuthFailed: The ticket ends so soon that AWS makes no credentials that end with it (15 minutes).
        DirectoryUnavailable: No rule gives it without a group, and which groups they are in is unknown: no word on the role.
    """
    rule = next(_giving(policy, identity, role, address, now))
    chosen = policy.roles[role]
    limited = None if scope is None else chosen.scope(scope)
    if scope is not None and limited is None:
        raise AccessDenied(reason="no_scope")
    lifetime, ends_at = _lifetime(rule, identity, chosen, now)
    return Grant(
        principal=identity.principal,
        role=chosen,
        rule=rule.name,
        policy_digest=policy.digest(role, scope),
        lifetime=lifetime,
        ends_at=ends_at,
        tags=_tags(chosen, rule, identity),
        scope=limited,
    )


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
        if _lacks_group(policy.roles[role], rule, identity):
            reason = "tag_without_value"
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


def _lifetime(rule: Rule, identity: Identity, role: Role, now: datetime) -> tuple[timedelta, int | None]:
    """How long the credentials may live; and when they end (Unix seconds), where that is before the role's own duration."""
    good_until = rule.good_until(identity)
    if good_until >= now + role.duration:
        return role.duration, None
    end = int(good_until.timestamp())
    ends_at = end - end % _END_GRAIN_SECONDS
    lifetime = timedelta(seconds=ends_at - int(now.timestamp()))
    if lifetime <= SHORTEST:
        raise AuthFailed(
            reason="ticket_ends_too_soon",
            hint="your ticket or job pass ends within 15 minutes: run kinit, or renew the pass, then try again",
        )
    return lifetime, ends_at


def _lacks_group(role: Role, rule: Rule, identity: Identity) -> bool:
    """Whether a session of this role must name a group, and the rule knows none for somebody."""
    needed = any(not tag.optional and tag.template.names(Placeholder.GROUP) for tag in role.tags)
    return needed and rule.group_of(identity) is None


def _tags(role: Role, rule: Rule, identity: Identity) -> tuple[SessionTag, ...]:
    """What the session says of somebody. A tag that would say nothing is left out; a required one always says something here."""
    if not role.tags:
        return ()
    group = rule.group_of(identity)
    values: Values = {
        Placeholder.PRINCIPAL: principal_text(identity.principal),
        Placeholder.REALM: encoded(identity.principal.realm),
        Placeholder.GROUP: None if group is None else group_text(group),
        Placeholder.RULE: rule.name,
        Placeholder.ROLE: role.name,
    }
    rendered = ((tag, tag.template.render(values)) for tag in role.tags)
    return tuple(
        SessionTag(key=tag.key, value=value, transitive=tag.transitive, optional=tag.optional)
        for tag, value in rendered
        if value is not None
    )


def _digest(role: Role, scope: Scope | None) -> str:
    described = [
        role.name,
        [[hop.arn.text, hop.external_id] for hop in role.chain],
        int(role.duration.total_seconds()),
        [[tag.key, tag.template.text, tag.transitive, tag.optional] for tag in role.tags],
        scope and [scope.name, scope.policy, [arn.text for arn in scope.policy_arns]],
    ]
    return hashlib.sha256(json.dumps(described, separators=(",", ":")).encode()).hexdigest()
