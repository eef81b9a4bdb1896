"""The decision. ``decide()`` is the only maker of a ``Grant``.

A request is granted by the first rule, in the order of the file, that names the asker, the address and the role, and whose
requirements the ticket meets, and what is shown beside it; a job pass, by the first of these that lets such passes be made. There
are no deny rules, so adding a rule never takes anything away, and removing one never gives anything.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from broker.authz.index import Index
from broker.authz.written import written, written_of_secrets
from broker.core.elevation import Box, Evidence
from broker.core.errors import (
    AccessDenied,
    ApprovalRequired,
    ApprovalsUnavailable,
    AuthFailed,
    BadRequest,
    BrokerError,
    DirectoryUnavailable,
    StepUpRequired,
)
from broker.core.grant import Grant
from broker.core.identity import Identity
from broker.core.roles import SHORTEST, Role, RoleName
from broker.core.rule import END_GRAIN_SECONDS, LEFT, Address, Rule
from broker.core.scope import Scope, ScopeName
from broker.core.secret_rule import SecretRule
from broker.core.step_up import StepUp
from broker.core.tags import EVENT_TO_COME, Placeholder, SessionTag, Values, encoded, group_text, principal_text


class Policy:
    """Roles, rules, and rules about secrets. Rules can be added until somebody is decided about; after that nothing changes."""

    def __init__(
        self, *, roles: Mapping[RoleName, Role], rules: Iterable[Rule] = (), secret_rules: Iterable[SecretRule] = ()
    ) -> None:
        self.roles = roles
        self.secret_rules = tuple(secret_rules)
        self._digests: dict[tuple[RoleName, ScopeName | None], str] = {}
        self._rules: dict[int, Rule] = {}
        self._index = Index()
        self._named: dict[str, Rule] = {}
        self.uses_boxes = False
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
            if rule.require.needs_box:
                self._named[rule.name] = rule
                self.uses_boxes = True

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

    def needs(self, identity: Identity, address: Address | None, role: RoleName) -> tuple[str, ...]:
        """What somebody has to add to a ticket for a role: by the rule that asks least, by the first of those that are alike."""
        rules = self.rules_for(identity, address, role)
        return min(
            (rule.require.needs for rule in rules), key=lambda needs: ("break_glass" in needs, len(needs)), default=()
        )

    def boxed_rule(self, name: str) -> Rule | None:
        """The rule of this name, if it needs a time box."""
        return self._named.get(name)

    def terms(self, rule: Rule, role: RoleName, scope: ScopeName | None) -> str:
        """Identifies what is asked for under a rule: it changes with the rule, and with what role and scope stand for."""
        return hashlib.sha256(f"{written(rule)!r}\0{self.digest(role, scope)}".encode()).hexdigest()

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
            found.update(repr(written(rule)).encode())
        for secret_rule in self.secret_rules:
            found.update(repr(written_of_secrets(secret_rule)).encode())
        return found.hexdigest()

    def remains(self) -> list[dict[Any, Any]]:
        """What is to be let go of bit by bit when nobody has this policy any more: at once it takes its time."""
        return [self._rules, self._named, *self._index.remains()]


@dataclass(frozen=True, slots=True)
class Hindrance:
    """Why a rule that names somebody and their role gives it to them not now. ``needed``: what would help, if anything can.

    ``step_up`` says the same of a ticket, for programs.
    """

    reason: str
    needed: str | None = None
    step_up: StepUp | None = None


class _Wanted(NamedTuple):
    """What is asked for, and what is shown for it. A tuple: one is made for every request."""

    policy: Policy
    identity: Identity
    role: RoleName
    scope: ScopeName | None
    now: datetime
    evidence: Evidence


_NOTHING = Evidence()


def decide(
    policy: Policy,
    *,
    identity: Identity,
    role: RoleName,
    address: Address | None,
    now: datetime,
    scope: ScopeName | None = None,
    evidence: Evidence = _NOTHING,
) -> Grant:
    """Grant a role to somebody, limited to one of its scopes where they ask for one.

    Raises:
        AccessDenied: No rule gives it; a role or scope that does not exist is refused in the same words and by the same way.
        StepUpRequired: A rule would, with a stronger or fresher ticket.
        ApprovalRequired: A rule would, with a reason, or once others approve.
        ApprovalsUnavailable: The same, and nobody can say whether they did.
        AuthFailed: The ticket ends so soon that AWS makes no credentials that end with it (15 minutes).
        DirectoryUnavailable: No rule gives it without a group, and which groups they are in is unknown: no word on the role.
    """
    wanted = _Wanted(policy, identity, role, scope, now, evidence)
    rule, box = next(_giving(wanted, address))
    chosen = policy.roles[role]
    limited = None if scope is None else chosen.scope(scope)
    if scope is not None and limited is None:
        raise AccessDenied(reason="no_scope")
    lifetime, ends_at = _lifetime(rule, box, identity, chosen, now)
    return Grant(
        principal=identity.principal,
        role=chosen,
        rule=rule.name,
        policy_digest=policy.digest(role, scope),
        lifetime=lifetime,
        ends_at=ends_at,
        tags=_tags(chosen, rule, identity),
        scope=limited,
        box=box,
    )


def delegable_until(
    policy: Policy, *, identity: Identity, role: RoleName, address: Address | None, now: datetime
) -> datetime:
    """Until when a job may have a role by a pass that is made now: as long as any rule lets it. Raises like ``decide``."""
    wanted = _Wanted(policy, identity, role, None, now, _NOTHING)
    return max(rule.good_until(identity) for rule, _ in _giving(wanted, address))


def askable(
    policy: Policy,
    *,
    identity: Identity,
    role: RoleName,
    scope: ScopeName | None,
    address: Address | None,
    now: datetime,
    break_glass: bool,
) -> Rule:
    """The rule under which somebody may ask for a time box, or break the glass: the first for which their ticket is good enough.

    Raises:
        AccessDenied: There is none; in the same words where there is no such role or scope.
        BadRequest: They can have it without.
        StepUpRequired: There is one, for a stronger or fresher ticket.
    """
    needed: Hindrance | None = None
    is_given = False
    chosen = policy.roles.get(role)
    for rule in policy.rules_for(identity, address, role):
        require = rule.require
        if not (require.break_glass if break_glass else require.approval) or not rule.takes(identity, now=now):
            is_given = is_given or not require.needs_box
            continue
        if scope is not None and (chosen is None or chosen.scope(scope) is None):
            break
        unmet = require.unmet(identity, now=now)
        if unmet is None:
            return rule
        needed = needed or Hindrance("ticket_too_weak", unmet, require.step_up(identity))
    if needed is not None:
        raise _refusal(needed, role=role, unknown=None)
    if identity.groups_unknown is not None:
        raise DirectoryUnavailable(reason=identity.groups_unknown)
    if is_given and not break_glass:
        raise BadRequest(reason="needs_no_approval", hint="this role needs no approval: give a reason, if it needs one")
    raise AccessDenied(reason="no_rule_to_ask_under")


def hindrance(
    policy: Policy,
    rule: Rule,
    *,
    identity: Identity,
    role: RoleName,
    now: datetime,
    scope: ScopeName | None = None,
    evidence: Evidence = _NOTHING,
) -> Hindrance | None:
    """What stands between somebody and a role of a rule that names both and holds for their address; None: nothing."""
    found = _weighed(rule, _Wanted(policy, identity, role, scope, now, evidence))
    return found if isinstance(found, Hindrance) else None


def _weighed(rule: Rule, wanted: _Wanted) -> Hindrance | Box | None:
    """What is in the way of it; else the box that it needs, if it needs one."""
    require, identity = rule.require, wanted.identity
    if not rule.takes(identity, now=wanted.now):
        return Hindrance("no_job_passes")
    needed = require.unmet(identity, now=wanted.now)
    if needed is not None:
        return Hindrance("ticket_too_weak", needed, require.step_up(identity))
    if require.needs_box:
        return _box(rule, wanted) or _closed(rule)
    if require.reason is not None and not wanted.evidence.has_reason(require.reason):
        given = "reason_missing" if wanted.evidence.reason is None else "reason_unfit"
        return Hindrance(given, require.reason_in_words())
    return None


def _box(rule: Rule, wanted: _Wanted) -> Box | None:
    return wanted.evidence.box(
        wanted.identity.principal,
        wanted.role,
        wanted.scope,
        terms=wanted.policy.terms(rule, wanted.role, wanted.scope),
        approvals=rule.require.approval,
        until=wanted.now + LEFT,
    )


def _closed(rule: Rule) -> Hindrance:
    if rule.require.break_glass:
        return Hindrance("glass_not_broken", "the glass to be broken")
    return Hindrance("not_approved", f"the approval of {rule.require.approval} by {rule.approvers}")


def _giving(wanted: _Wanted, address: Address | None) -> Iterator[tuple[Rule, Box | None]]:
    """The rules that give somebody a role now, in the order of the file; where there is none, why not is raised."""
    given, hindrances = False, []
    for rule in wanted.policy.rules_for(wanted.identity, address, wanted.role):
        found = _weighed(rule, wanted)
        if isinstance(found, Hindrance):
            hindrances.append(found)
        else:
            given = True
            yield rule, found
    if given:
        return
    helpful = [one for one in hindrances if one.needed is not None]
    if helpful:
        # Nobody is sent to break glass who could do something else.
        first = min(helpful, key=lambda one: one.reason == "glass_not_broken")
        raise _refusal(first, role=wanted.role, unknown=wanted.evidence.unknown)
    if wanted.identity.groups_unknown is not None:
        raise DirectoryUnavailable(reason=wanted.identity.groups_unknown)
    raise AccessDenied(reason=hindrances[-1].reason if hindrances else "no_rule")


def _refusal(found: Hindrance, *, role: RoleName, unknown: str | None) -> BrokerError:
    """What to raise; ``unknown``: why nobody can say whether a box is open."""
    hint = f"this role needs {found.needed}"
    if found.reason == "ticket_too_weak":
        error = StepUpRequired(reason=found.reason, hint=f"{hint}: run zerotrust login --step-up {role}")
        error.step_up = found.step_up
        return error
    if found.reason in ("reason_missing", "reason_unfit"):
        return ApprovalRequired(reason=found.reason, hint=f'{hint}: give it with --reason, or as "reason"')
    if unknown is not None:
        return ApprovalsUnavailable(reason=unknown)
    how = (
        ": in an emergency, zerotrust-admin break-glass"
        if found.reason == "glass_not_broken"
        else ": run zerotrust request"
    )
    return ApprovalRequired(reason=found.reason, hint=f"{hint}{how}")


def _lifetime(
    rule: Rule, box: Box | None, identity: Identity, role: Role, now: datetime
) -> tuple[timedelta, int | None]:
    """How long the credentials may live; and when they end (Unix seconds), where that is before the role's own duration."""
    good_until = rule.good_until(identity)
    if box is not None:
        good_until = min(good_until, box.ends)
    # AWS counts from when it is asked, some seconds from now: nothing outlives a box by them.
    late = timedelta(0) if box is None else timedelta(seconds=END_GRAIN_SECONDS)
    if good_until >= now + role.duration + late:
        return role.duration, None
    end = int(good_until.timestamp())
    ends_at = end - end % END_GRAIN_SECONDS
    lifetime = timedelta(seconds=ends_at - int(now.timestamp()))
    if lifetime <= SHORTEST:
        raise AuthFailed(
            reason="ticket_ends_too_soon",
            hint="your ticket ends within 15 minutes (a job: renew its pass): run zerotrust login",
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
