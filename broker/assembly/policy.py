"""The configuration's roles and rules, as the room that decides knows them."""

from __future__ import annotations

from broker.authz.policy import Policy, Requirements, Rule
from broker.config.model import Settings
from broker.core.pattern import PrincipalPattern


def policy_of(settings: Settings) -> Policy:
    """The policy that a configuration describes."""
    rules = [
        Rule(
            name=rule.name,
            principals=tuple(map(PrincipalPattern.parse, rule.principals)),
            groups=rule.groups,
            networks=tuple(rule.networks or ()),
            require=Requirements(
                indicators=frozenset(rule.require.indicators),
                max_ticket_age=rule.require.max_ticket_age,
                channel_binding=rule.require.channel_binding,
            ),
            roles=frozenset(rule.roles),
            job_passes=rule.job_passes,
        )
        for rule in settings.rules
    ]
    return Policy(roles=settings.roles, rules=rules)
