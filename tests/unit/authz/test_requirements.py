"""What a rule asks of a ticket beside the name: it can only take away, and what it gives ends in time."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.authz.policy import Policy, decide
from broker.core.errors import AccessDenied, BrokerError, StepUpRequired
from broker.core.grant import Grant
from broker.core.identity import Identity
from broker.core.pattern import PrincipalPattern
from broker.core.principal import Principal
from broker.core.roles import Hop, Role, RoleArn, RoleName
from broker.core.rule import Requirements, Rule

NOW = datetime(2026, 5, 4, 12, 0, 30, tzinfo=UTC)
DEVELOPER, OTHER = RoleName("developer"), RoleName("other")
ROLES = {
    name: Role(name=name, chain=(Hop(RoleArn.parse(f"arn:aws:iam::111122223333:role/{name}"), None),), duration=hour)
    for name, hour in ((DEVELOPER, timedelta(hours=1)), (OTHER, timedelta(hours=1)))
}
FRESH = Identity(
    principal=Principal.parse("alice@R"),
    ticket_end=NOW + timedelta(hours=10),
    authenticated_at=NOW,
    channel_bound=False,
    indicators=frozenset(),
    groups=frozenset(),
    mutual_token=None,
)

indicators = st.frozensets(st.sampled_from(["pkinit", "otp", "spake"]))
minutes = st.integers(0, 24 * 60).map(lambda number: timedelta(minutes=number))
requirements = st.builds(
    Requirements,
    indicators=indicators,
    max_ticket_age=st.none() | st.integers(20, 24 * 60).map(lambda number: timedelta(minutes=number)),
    channel_binding=st.booleans(),
)
identities = st.builds(
    lambda age, left, bound, shown: replace(
        FRESH, authenticated_at=NOW - age, ticket_end=NOW + left, channel_bound=bound, indicators=shown
    ),
    minutes,
    minutes,
    st.booleans(),
    indicators,
)


def rule(require: Requirements, *, name: str = "rule", role: RoleName = DEVELOPER, who: str = "alice@R") -> Rule:
    return Rule(
        name=name,
        principals=(PrincipalPattern.parse(who),),
        groups=(),
        networks=(),
        require=require,
        roles=frozenset({role}),
    )


def asked(identity: Identity, *rules: Rule) -> Grant:
    return decide(Policy(roles=ROLES, rules=rules), identity=identity, role=DEVELOPER, address=None, now=NOW)


def outcome(identity: Identity, *rules: Rule) -> Grant | BrokerError:
    try:
        return asked(identity, *rules)
    except BrokerError as error:
        return error


def end(grant: Grant) -> datetime:
    return NOW + grant.lifetime


@given(identities, requirements)
def test_a_requirement_never_allows_what_the_bare_rule_does_not(identity: Identity, require: Requirements) -> None:
    demanding, bare = outcome(identity, rule(require)), outcome(identity, rule(Requirements()))
    if isinstance(demanding, Grant):
        assert isinstance(bare, Grant)
        assert demanding.lifetime <= bare.lifetime


@given(identities, requirements, requirements)
def test_each_further_requirement_only_takes_away(
    identity: Identity, first: Requirements, second: Requirements
) -> None:
    ages = [age for age in (first.max_ticket_age, second.max_ticket_age) if age is not None]
    both = Requirements(
        # "One of these" is the only requirement that a longer list makes weaker.
        indicators=first.indicators & second.indicators or first.indicators or second.indicators,
        max_ticket_age=min(ages) if ages else None,
        channel_binding=first.channel_binding or second.channel_binding,
    )
    if isinstance(outcome(identity, rule(both)), Grant):
        weaker = replace(first, indicators=first.indicators and both.indicators | first.indicators)
        assert isinstance(outcome(identity, rule(weaker)), Grant)


@given(identities, requirements)
def test_what_is_granted_meets_every_requirement_and_ends_while_it_does(
    identity: Identity, require: Requirements
) -> None:
    granted = outcome(identity, rule(require))
    if not isinstance(granted, Grant):
        return
    assert not require.indicators or require.indicators & identity.indicators
    assert identity.channel_bound or not require.channel_binding
    assert end(granted) <= identity.ticket_end
    assert granted.lifetime > timedelta(minutes=15)
    if require.max_ticket_age is not None:
        assert end(granted) <= identity.authenticated_at + require.max_ticket_age


@given(identities, requirements)
def test_a_refusal_for_a_weak_ticket_says_what_would_help_and_that_helps(
    identity: Identity, require: Requirements
) -> None:
    refused = outcome(identity, rule(require))
    if not isinstance(refused, StepUpRequired):
        return
    assert (refused.hint or "").startswith("this role needs ")
    stronger = replace(
        identity,
        indicators=identity.indicators | require.indicators,
        authenticated_at=NOW,
        ticket_end=NOW + timedelta(hours=10),
        channel_bound=True,
    )
    assert isinstance(outcome(stronger, rule(require)), Grant)


@given(identities, requirements)
def test_a_rule_that_asks_for_more_never_spoils_one_that_asks_for_less(
    identity: Identity, require: Requirements
) -> None:
    bare = rule(Requirements(), name="bare")
    alone = outcome(identity, bare)
    for rules in ((rule(require), bare), (bare, rule(require))):
        together = outcome(identity, *rules)
        if isinstance(alone, Grant):
            assert isinstance(together, Grant)


@given(identities, requirements)
def test_whom_no_rule_names_is_denied_and_never_asked_for_a_stronger_ticket(
    identity: Identity, require: Requirements
) -> None:
    for others in (rule(require, who="bob@R"), rule(require, role=OTHER)):
        assert isinstance(outcome(identity, others), AccessDenied)


@pytest.mark.parametrize(
    ("require", "hint"),
    [
        (
            Requirements(indicators=frozenset({"pkinit", "otp"})),
            "this role needs a ticket obtained with otp or pkinit: run zerotrust login --step-up developer",
        ),
        (
            Requirements(channel_binding=True),
            "this role needs a client that binds the ticket to its TLS connection: run zerotrust login --step-up developer",
        ),
    ],
)
def test_the_hint_names_what_is_missing(require: Requirements, hint: str) -> None:
    with pytest.raises(StepUpRequired) as raised:
        asked(FRESH, rule(require))
    assert raised.value.hint == hint


def test_a_ticket_is_fresh_for_its_age_less_the_shortest_life_of_credentials() -> None:
    require = Requirements(max_ticket_age=timedelta(hours=8))
    young = replace(FRESH, authenticated_at=NOW - timedelta(hours=7, minutes=44))
    assert asked(young, rule(require)).lifetime > timedelta(minutes=15)
    with pytest.raises(StepUpRequired):
        asked(replace(FRESH, authenticated_at=NOW - timedelta(hours=7, minutes=44, seconds=1)), rule(require))
