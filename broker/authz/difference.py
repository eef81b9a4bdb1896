"""What changes from one policy to another, for people and not for the text.

Each kind of people is put to ``decide()`` of both policies in each circumstance that their rules tell apart (``everybody``).
A rule that is renamed, moved, split or made superfluous makes no difference; nobody's gain is hidden by it either.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from broker.authz.everybody import Kind, circumstances, kinds
from broker.authz.explain import outcome
from broker.authz.policy import Policy
from broker.authz.supposed import Supposed
from broker.core.grant import Grant
from broker.core.roles import Role, RoleName
from broker.core.rule import Rule
from broker.core.tags import Placeholder


class Change(StrEnum):
    """Of somebody's access, or of a role itself."""

    GAINS = "gains"
    LOSES = "loses"
    OTHERWISE = "gets otherwise"
    ROLE = "role"


@dataclass(frozen=True, slots=True)
class Difference:
    """``who`` as rules name them, empty for a role's own; ``when`` or what, in words."""

    change: Change
    who: str
    role: RoleName
    details: tuple[str, ...]


def differences(old: Policy, new: Policy, *, now: datetime) -> Iterator[Difference]:
    """Each difference for people, then those of the roles that somebody may have in both."""
    given: set[RoleName] = set()
    for kind in kinds([*old.rules, *new.rules]):
        before, after = _by_role(old, kind, now), _by_role(new, kind, now)
        given |= before.keys() | after.keys()
        for role in sorted(before.keys() | after.keys()):
            yield from _of(kind, role, (old, before.get(role, [])), (new, after.get(role, [])), now)
    for role in sorted(given & old.roles.keys() & new.roles.keys()):
        facets = tuple(_facets(old.roles[role], new.roles[role]))
        if facets:
            yield Difference(Change.ROLE, "", role, facets)


def _by_role(policy: Policy, kind: Kind, now: datetime) -> dict[RoleName, list[Rule]]:
    found: dict[RoleName, list[Rule]] = {}
    for rule in policy.rules_naming(kind.example.identity(now=now)):
        for role in rule.roles:
            found.setdefault(role, []).append(rule)
    return found


def _of(
    kind: Kind, role: RoleName, old: tuple[Policy, list[Rule]], new: tuple[Policy, list[Rule]], now: datetime
) -> Iterator[Difference]:
    """One kind of people and one role."""
    if _demands(*old, role) == _demands(*new, role) and _same_tags(old[0], new[0], role):
        return
    found: dict[Change, list[str]] = {}
    for supposed in circumstances(kind.example, [*old[1], *new[1]]):
        before, after = (_granted(policy, supposed, role, now) for policy in (old[0], new[0]))
        change = _change(before, after)
        if change is None and before and after and _beside(before, old[1]) != _beside(after, new[1]):
            change = Change.OTHERWISE
        if change is not None:
            found.setdefault(change, []).append(_words(supposed))
    for change, words in found.items():
        yield Difference(change, kind.text, role, tuple(words))


def _granted(policy: Policy, supposed: Supposed, role: RoleName, now: datetime) -> Grant | None:
    identity, address, evidence = supposed.identity(now=now), supposed.address, supposed.evidence
    return outcome(policy, identity=identity, role=role, address=address, now=now, evidence=evidence)[2]


def _beside(grant: Grant, rules: list[Rule]) -> object:
    """What the rule that decides asks for beside a ticket, and of whom."""
    rule = next(rule for rule in rules if rule.name == grant.rule)
    require = rule.require
    approvers = rule.approvers
    people = frozenset(map(str, approvers.principals)), frozenset(approvers.groups)
    return require.reason, require.approval, require.break_glass, require.time_box if grant.box else None, people


def _demands(policy: Policy, rules: list[Rule], role: RoleName) -> list[object]:
    """What the rules ask for, each once and in their order; with their names and groups only where a tag says them."""
    named = role in policy.roles and {
        part for tag in policy.roles[role].tags for part in tag.template.parts if isinstance(part, Placeholder)
    }
    demands = [
        (
            frozenset(rule.networks),
            rule.require,
            rule.approvers,
            rule.job_passes,
            rule.name if named and Placeholder.RULE in named else None,
            rule.groups if named and Placeholder.GROUP in named else None,
        )
        for rule in rules
    ]
    return list(dict.fromkeys(demands))  # the second of two that are alike never decides


def _same_tags(old: Policy, new: Policy, role: RoleName) -> bool:
    return role in old.roles and role in new.roles and old.roles[role].tags == new.roles[role].tags


def _change(before: Grant | None, after: Grant | None) -> Change | None:
    if before is None or after is None:
        if before is after:
            return None
        return Change.GAINS if before is None else Change.LOSES
    # What the role itself brings along is said of the role.
    is_same = (before.ends_at, before.tags) == (after.ends_at, after.tags) or before.role != after.role
    return None if is_same else Change.OTHERWISE


def _words(supposed: Supposed) -> str:
    words = ["on a local socket" if supposed.address is None else f"from {supposed.address}"]
    words += [f"with {indicator}" for indicator in supposed.indicators]
    words += [f"logged in {supposed.age} ago"] if supposed.age else []
    words += ["with a bound ticket"] if supposed.bound else []
    words += ["with a reason"] if supposed.evidence.any_reason else []
    words += ["once approved"] if supposed.evidence.approved else []
    words += ["with the glass broken"] if supposed.evidence.broken else []
    words += [f"by a job pass made {supposed.job} ago"] if supposed.job is not None else []
    return ", ".join(words)


def _facets(old: Role, new: Role) -> Iterator[str]:
    before, after = [hop.arn.text for hop in old.chain], [hop.arn.text for hop in new.chain]
    if before != after:
        yield f"chain: {' -> '.join(before)} becomes {' -> '.join(after)}"
    elif old.chain != new.chain:
        # The IDs themselves are nobody's business.
        changed = [one.arn.text for one, other in zip(old.chain, new.chain, strict=True) if one != other]
        yield f"external ID of {', '.join(changed)}"
    if old.duration != new.duration:
        yield f"duration: {old.duration} becomes {new.duration}"
    if old.tags != new.tags:
        yield f"tags: {_keys(old)} becomes {_keys(new)}"
    for name in sorted({scope.name for scope in (*old.scopes, *new.scopes)}):
        if old.scope(name) != new.scope(name):
            what = "new" if old.scope(name) is None else "gone" if new.scope(name) is None else "changed"
            yield f"scope {name}: {what}"


def _keys(role: Role) -> str:
    return ", ".join(f"{tag.key}={tag.template.text}" for tag in role.tags) or "none"
