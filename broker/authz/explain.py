"""Why somebody may have a role, or not, rule by rule.

The verdict is ``decide()``'s own, asked with the same words; what is said of each rule comes from the questions that ``decide()``
asks of it. So an explanation cannot disagree with a decision.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from broker.authz.near import near_misses, near_roles
from broker.authz.policy import Policy, decide, hindrance
from broker.core.elevation import Evidence
from broker.core.errors import AccessDenied, ApprovalRequired, AuthFailed, DirectoryUnavailable, StepUpRequired
from broker.core.grant import Grant
from broker.core.identity import Identity
from broker.core.roles import RoleName
from broker.core.rule import Address, Rule
from broker.core.scope import ScopeName

_IN_WORDS = {
    "no_rule": "no rule gives it",
    "no_scope": "the role has no scope of this name",
    "no_job_passes": "the rule lets no job pass be used, or not for so long",
}


_NOTHING = Evidence()


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question, as it is put to each rule."""

    policy: Policy
    identity: Identity
    role: RoleName
    address: Address | None
    now: datetime
    scope: ScopeName | None
    evidence: Evidence


class Verdict(StrEnum):
    """What comes of asking."""

    ALLOWED = "allowed"
    STEP_UP = "step_up"
    APPROVAL = "approval"
    DENIED = "denied"


@dataclass(frozen=True, slots=True)
class Weighed:
    """A rule that concerns somebody or a role, and everything that keeps it from giving them the role now."""

    rule: Rule
    obstacles: tuple[str, ...]

    @property
    def gives(self) -> bool:
        """Whether nothing does."""
        return not self.obstacles


@dataclass(frozen=True, slots=True)
class Explanation:
    """``grant`` is there where the verdict is ALLOWED; ``why`` says in words what it rests on. ``near``: what was nearly met."""

    verdict: Verdict
    why: str
    grant: Grant | None
    weighed: tuple[Weighed, ...]
    near: tuple[str, ...]


def explain(
    policy: Policy,
    *,
    identity: Identity,
    role: RoleName,
    address: Address | None,
    now: datetime,
    scope: ScopeName | None = None,
    evidence: Evidence = _NOTHING,
) -> Explanation:
    """Everything that a policy says of somebody and a role, to an operator: an asker must not learn of rules for others."""
    asked = _Asked(policy, identity, role, address, now, scope, evidence)
    verdict, why, grant = outcome(
        policy, identity=identity, role=role, address=address, now=now, scope=scope, evidence=evidence
    )
    weighed = tuple(
        Weighed(rule, tuple(_obstacles(rule, asked)))
        for rule in policy.rules
        if role in rule.roles or rule.names(identity)
    )
    near: list[str] = []
    if verdict is Verdict.DENIED:
        near += near_roles(role, policy.roles) if role not in policy.roles else []
        near += [miss for each in weighed if role in each.rule.roles for miss in _misses(each.rule, identity)]
    return Explanation(verdict=verdict, why=why, grant=grant, weighed=weighed, near=tuple(near))


def outcome(
    policy: Policy,
    *,
    identity: Identity,
    role: RoleName,
    address: Address | None,
    now: datetime,
    scope: ScopeName | None = None,
    evidence: Evidence = _NOTHING,
) -> tuple[Verdict, str, Grant | None]:
    """What ``decide()`` says, its refusals as values."""
    try:
        grant = decide(policy, identity=identity, role=role, address=address, now=now, scope=scope, evidence=evidence)
    except StepUpRequired as error:
        return Verdict.STEP_UP, error.hint or "", None
    except ApprovalRequired as error:
        return Verdict.APPROVAL, error.hint or "", None
    except AuthFailed as error:
        return Verdict.STEP_UP, error.hint or "", None
    except DirectoryUnavailable as error:
        return Verdict.DENIED, f"the groups are unknown ({error.reason})", None
    except AccessDenied as error:
        return Verdict.DENIED, _IN_WORDS[error.reason], None
    return Verdict.ALLOWED, f"by rule {grant.rule}", grant


def _obstacles(rule: Rule, asked: _Asked) -> Iterator[str]:
    identity, address, role = asked.identity, asked.address, asked.role
    if not rule.names(identity):
        yield f"does not name {identity.principal}" + (", nor a group of theirs" if rule.groups else "")
    if not rule.allows_from(address):
        where = "a local socket" if address is None else str(address)
        yield f"holds from {', '.join(map(str, rule.networks))}, not from {where}"
    if role not in rule.roles:
        yield f"gives other roles: {', '.join(sorted(rule.roles))}"
        return
    if role not in asked.policy.roles:
        return
    found = hindrance(
        asked.policy,
        rule,
        identity=identity,
        role=role,
        now=asked.now,
        scope=asked.scope,
        evidence=asked.evidence,
    )
    if found is not None:
        yield f"needs {found.needed}" if found.needed else _IN_WORDS[found.reason]


def _misses(rule: Rule, identity: Identity) -> Iterator[str]:
    return iter(()) if rule.names(identity) else near_misses(identity, rule)
