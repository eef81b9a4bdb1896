"""The decision. ``decide()`` is the only maker of a ``Grant``.

A request is granted by the first rule, in the order of the file, that names the asker, the address and the role, and whose
requirements the ticket meets; a job pass, by the first of these that lets such passes be made. There are
no deny rules, so adding a rule never takes anything away, and removing one never gives anything.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from broker.authz.index import Index
from broker.core.errors import AccessDenied, AuthFailed, DirectoryUnavailable, StepUpRequired
from broker.core.grant import Grant
from broker.core.identity import Identity
from broker.core.roles import SHORTEST, Role, RoleName
from broker.core.rule import END_GRAIN_SECONDS, Address, Rule
from broker.core.scope import Scope, ScopeName
from broker.core.tags import EVENT_TO_COME, Placeholder, SessionTag, Values, encoded, group_text, principal_text


class Policy:
    """Roles and rules. Rules can be added until somebody is decided about by them; after that nothing changes."""

    def __init__(self, *, roles: Mapping[RoleName, Role], rules: Iterable[Rule] = ()) -> None:
        self.roles = roles
        self._digests: dict[tuple[RoleName, ScopeName | None], str] = {}
        self._rules: dict[int, Rule] = {}
        self._index = Index()
        self.add(rules)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """In the order of the file."""
        return tuple(self._rules.values())

    def __len__(self) -> int:
        """How many rules there are."""
        return len(self._rules)

    def add(self, rules: Iterable[Rule]) -> None:
        """Further rules, behind those there are: so that a long policy can be put together bit by bit."""
        for place, rule in enumerate(rules, start=len(self._rules)):
            self._rules[place] = rule
            self._index.add(place, rule)

    def rules_for(self, identity: Identity, address: Address | None, role: RoleName) -> Iterator[Rule]:
        """The rules that name somebody, hold for this address and give the role, in the order of the file."""
        for place in self._index.giving(identity, role):
            if self._rules[place].allows_from(address):
                yield self._rules[place]

    def rules_naming(self, identity: Identity) -> list[Rule]:
        """Every rule that names somebody, in the order of the file."""
        return [self._rules[place] for place in self._index.naming(identity)]

    def roles_for(self, identity: Identity, address: Address | None) -> list[Role]:
        """The roles somebody may have, with a better ticket perhaps, each once, by name."""
        names = {name for rule in self.rules_naming(identity) if rule.allows_from(address) for name in rule.roles}
        return [self.roles[name] for name in sorted(names)]

    def digest(self, name: RoleName, scope: ScopeName | None = None) -> str:
        """Identifies everything that a role, or one of its scopes, stands for; changes with any of it."""
        found = self._digests.get((name, scope))
        if found is None:
            role = self.roles[name]
            found = self._digests[name, scope] = _digest(role, None if scope is None else role.scope(scope))
        return found

    def fingerprint(self) -> str:
        """Identifies the whole policy: any change of a role or rule changes it."""
        found = hashlib.sha256()
        for name, role in sorted(self.roles.items()):
            for scope in (None, *(scope.name for scope in role.scopes)):
                found.update(f"{name}\0{self.digest(name, scope)}\0".encode())
        for rule in self._rules.values():
            found.update(repr(_written(rule)).encode())
        return found.hexdigest()

    def remains(self) -> list[dict[Any, Any]]:
        """What is to be let go of bit by bit when nobody has this policy any more: at once it takes its time."""
        return [self._rules, *self._index.remains()]


@dataclass(frozen=True, slots=True)
class Hindrance:
    """Why a rule that names somebody and their role gives it to them not now. ``needed``: what would help, if a ticket can."""

    reason: str
    needed: str | None = None


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


def hindrance(rule: Rule, identity: Identity, *, now: datetime) -> Hindrance | None:
    """What stands between somebody and a role of a rule that names both and holds for their address; None: nothing."""
    if not rule.takes(identity, now=now):
        return Hindrance("no_job_passes")
    needed = rule.require.unmet(identity, now=now)
    return None if needed is None else Hindrance("ticket_too_weak", needed)


def _giving(
    policy: Policy, identity: Identity, role: RoleName, address: Address | None, now: datetime
) -> Iterator[Rule]:
    """The rules that give somebody a role now, in the order of the file; where there is none, why not is raised."""
    given, needed, reason = False, None, "no_rule"
    for rule in policy.rules_for(identity, address, role):
        found = hindrance(rule, identity, now=now)
        if found is None:
            given = True
            yield rule
        elif found.needed is None:
            reason = found.reason
        else:
            needed = needed or found.needed
    if given:
        return
    if needed is not None:
        raise StepUpRequired(reason="ticket_too_weak", hint=f"this role needs {needed}: run kinit anew")
    if identity.groups_unknown is not None:
        raise DirectoryUnavailable(reason=identity.groups_unknown)
    raise AccessDenied(reason=reason)


def _lifetime(rule: Rule, identity: Identity, role: Role, now: datetime) -> tuple[timedelta, int | None]:
    """How long the credentials may live; and when they end (Unix seconds), where that is before the role's own duration."""
    good_until = rule.good_until(identity)
    if good_until >= now + role.duration:
        return role.duration, None
    end = int(good_until.timestamp())
    ends_at = end - end % END_GRAIN_SECONDS
    lifetime = timedelta(seconds=ends_at - int(now.timestamp()))
    if lifetime <= SHORTEST:
        raise AuthFailed(
            reason="ticket_ends_too_soon",
            hint="your ticket or job pass ends within 15 minutes: run kinit, or renew the pass, then try again",
        )
    return lifetime, ends_at


def _tags(role: Role, rule: Rule, identity: Identity) -> tuple[SessionTag, ...]:
    """What the session says of somebody. A tag of a group is left out where the rule names somebody by none."""
    if not role.tags:
        return ()
    group = rule.group_of(identity)
    values: Values = {
        Placeholder.PRINCIPAL: principal_text(identity.principal),
        Placeholder.REALM: encoded(identity.principal.realm),
        Placeholder.GROUP: None if group is None else group_text(group),
        Placeholder.RULE: rule.name,
        Placeholder.ROLE: role.name,
        Placeholder.EVENT: EVENT_TO_COME,
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


def _written(rule: Rule) -> tuple[object, ...]:
    """Everything that a rule says, in an order that is the same in every process."""
    return (
        rule.name,
        [(pattern.components, pattern.realm) for pattern in rule.principals],
        rule.groups,
        [str(network) for network in rule.networks],
        sorted(rule.require.indicators),
        str(rule.require.max_ticket_age),
        rule.require.channel_binding,
        sorted(rule.roles),
        str(rule.job_passes),
    )
