"""What operators ask of a policy, without asking anything of AWS: the same rooms answer that decide about requests.

Answers are plain values, for a terminal and for JSON. Nothing here makes or hands out anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from broker.authz import difference
from broker.authz import lint as linter
from broker.authz.explain import Explanation, explain
from broker.authz.policy import Policy
from broker.authz.supposed import Supposed, SupposedEvidence
from broker.core.roles import Role, RoleName
from broker.core.rule import Address, Network, Rule
from broker.core.scope import ScopeName

Answer = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Asker:
    """Somebody whom a question is about, as texts: ``principal`` is a printed name."""

    principal: str
    groups: Sequence[str] = ()
    address: Address | None = None
    indicators: Sequence[str] = ()
    age: timedelta = timedelta(0)
    bound: bool = False
    job: timedelta | None = None
    reason: str | None = None
    approved: bool = False
    broken_glass: bool = False


class Questions:
    """About one policy."""

    def __init__(self, *, roles: Mapping[RoleName, Role], rules: Iterable[Rule]) -> None:
        self._policy = Policy(roles=roles, rules=rules)

    def explain(self, asker: Asker, *, role: str, scope: str | None, now: datetime) -> Answer:
        """``verdict`` (allowed, step_up, approval, denied), ``why``, the ``rules`` that concern either, ``near``, the ``chain``.

        Raises:
            MalformedPrincipal: The asker has no name.
        """
        supposed = Supposed(
            principal=Supposed.named(asker.principal),
            groups=frozenset(asker.groups),
            address=asker.address,
            indicators=frozenset(asker.indicators),
            age=asker.age,
            bound=asker.bound,
            job=asker.job,
            evidence=SupposedEvidence(reason=asker.reason, approved=asker.approved, broken=asker.broken_glass),
        )
        found = explain(
            self._policy,
            identity=supposed.identity(now=now),
            role=RoleName(role),
            address=supposed.address,
            now=now,
            scope=None if scope is None else ScopeName(scope),
            evidence=supposed.evidence,
        )
        return {"principal": str(supposed.principal), "role": role, **_explained(found)}

    def who_can(self, role: str) -> list[Answer]:
        """The rules that give a role, each with everybody it names and what it asks of them."""
        return [_rule(rule) for rule in self._policy.rules if role in rule.roles]

    def roles_into(self, account: str) -> list[str]:
        """The roles whose credentials are of an account."""
        return sorted(name for name, role in self._policy.roles.items() if role.target.account == account)

    def lint(
        self, *, accounts: Iterable[str] | None, networks: Sequence[Network] | None, tells_people: bool, now: datetime
    ) -> list[dict[str, str]]:
        """Findings with ``severity``, ``code``, ``where`` and ``what``, errors first."""
        around = linter.Surroundings(
            accounts=None if accounts is None else frozenset(accounts),
            networks=networks or None,
            tells_people=tells_people,
        )
        return [
            {"severity": found.severity.value, "code": found.code, "where": found.where, "what": found.what}
            for found in linter.lint(self._policy, around=around, now=now)
        ]

    def differences(self, new: Questions, *, now: datetime) -> list[Answer]:
        """What changes for people where this policy is replaced: ``change``, ``who``, ``role``, ``details``."""
        return [
            {"change": one.change.value, "who": one.who, "role": one.role, "details": list(one.details)}
            for one in difference.differences(self._policy, new._policy, now=now)  # one of its own kind
        ]


def _explained(found: Explanation) -> Answer:
    grant = found.grant
    return {
        "verdict": found.verdict.value,
        "why": found.why,
        "rule": grant.rule if grant else None,
        "chain": [hop.arn.text for hop in grant.role.chain] if grant else [],
        "lifetime": int(grant.lifetime.total_seconds()) if grant else None,
        "tags": {tag.key: tag.value for tag in grant.tags} if grant else {},
        "rules": [
            {"name": weighed.rule.name, "gives": weighed.gives, "obstacles": list(weighed.obstacles)}
            for weighed in found.weighed
        ],
        "near": list(found.near),
    }


def _rule(rule: Rule) -> Answer:
    return {
        "name": rule.name,
        "principals": [str(pattern) for pattern in rule.principals],
        "wildcards": [str(pattern) for pattern in rule.principals if not pattern.is_literal],
        "groups": list(rule.groups),
        "networks": list(map(str, rule.networks)),
        "require": _required(rule),
        "job_passes": None if rule.job_passes is None else str(rule.job_passes),
    }


def _required(rule: Rule) -> list[str]:
    require = rule.require
    found = [f"one of the indicators {', '.join(sorted(require.indicators))}"] if require.indicators else []
    found += [f"a login at most {require.max_ticket_age} ago"] if require.max_ticket_age is not None else []
    found += ["a ticket bound to the TLS connection"] if require.channel_binding else []
    found += [require.reason_in_words()] if require.reason is not None or require.needs_box else []
    box = f"for a time box of at most {require.time_box}"
    found += [f"the approval of {require.approval} by {rule.approvers}, {box}"] if require.approval else []
    return found + ([f"the glass broken by themselves, {box}"] if require.break_glass else [])
