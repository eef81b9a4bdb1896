"""Rules taken apart into texts and numbers, for digests: whatever changes in a rule changes them."""

from __future__ import annotations

from broker.core.rule import Naming, Rule
from broker.core.secret_rule import SecretRule


def written(rule: Rule) -> tuple[object, ...]:
    """Everything that a rule says, in an order that is the same in every process."""
    return (
        *_naming(rule),
        sorted(rule.roles),
        str(rule.job_passes),
        [rule.require.reason, rule.require.approval, rule.require.break_glass, str(rule.require.time_box)],
        [(pattern.components, pattern.realm) for pattern in rule.approvers.principals],
        rule.approvers.groups,
    )


def written_of_secrets(rule: SecretRule) -> tuple[object, ...]:
    """The same of a rule about secrets."""
    return (*_naming(rule), list(map(str, rule.paths)), sorted(rule.actions), rule.require.reason)


def _naming(rule: Naming) -> tuple[object, ...]:
    return (
        rule.name,
        [(pattern.components, pattern.realm) for pattern in rule.principals],
        rule.groups,
        [str(network) for network in rule.networks],
        sorted(rule.require.indicators),
        str(rule.require.max_ticket_age),
        rule.require.channel_binding,
    )
