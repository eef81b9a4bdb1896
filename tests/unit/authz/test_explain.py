"""An explanation says what a decision says, and why, rule by rule."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given

from broker.authz.explain import Explanation, Verdict, explain
from broker.authz.policy import Policy, decide
from broker.authz.supposed import Supposed
from broker.core.errors import AccessDenied, ApprovalRequired, BrokerError, StepUpRequired
from broker.core.grant import Grant
from broker.core.principal import Principal
from broker.core.roles import RoleName
from broker.core.rule import Requirements
from tests.unit.authz.policies import ASKERS, NOW, POLICIES, ROLE_NAMES, ROLES, made


@given(POLICIES, ASKERS, ROLE_NAMES)
def test_an_explanation_never_disagrees_with_the_decision(policy, asker, role):
    identity = asker.identity(now=NOW)
    asked = {"identity": identity, "role": role, "address": asker.address, "now": NOW, "evidence": asker.evidence}
    found = explain(policy, **asked)
    giving = [weighed.rule.name for weighed in found.weighed if weighed.gives]
    decided: Grant | BrokerError
    try:
        decided = decide(policy, **asked)
    except BrokerError as error:
        decided = error
    if isinstance(decided, Grant):
        assert (found.verdict, found.grant, giving[0]) == (Verdict.ALLOWED, decided, decided.rule)
    elif isinstance(decided, StepUpRequired):
        assert (found.verdict, found.why, giving) == (Verdict.STEP_UP, decided.hint, [])
    elif isinstance(decided, ApprovalRequired):
        assert (found.verdict, found.why, giving) == (Verdict.APPROVAL, decided.hint, [])
    else:
        assert isinstance(decided, AccessDenied)
        assert (found.verdict, giving) == (Verdict.DENIED, [])


@given(POLICIES, ASKERS, ROLE_NAMES)
def test_every_rule_that_concerns_either_is_weighed_and_no_other(policy, asker, role):
    identity = asker.identity(now=NOW)
    found = explain(policy, identity=identity, role=role, address=asker.address, now=NOW)
    assert [weighed.rule for weighed in found.weighed] == [
        rule for rule in policy.rules if role in rule.roles or rule.names(identity)
    ]


def _explained(*rules, who="alice@R", role="developer", **asker) -> Explanation:
    supposed = Supposed(Principal.parse(who), **asker)
    return explain(
        Policy(roles=ROLES, rules=rules),
        identity=supposed.identity(now=NOW),
        role=RoleName(role),
        address=supposed.address,
        now=NOW,
    )


def test_a_rule_says_everything_that_is_in_the_way():
    office = made(
        "office", "bob@R", "S-1-1", networks=[ip_network("10.0.0.0/8")], require=Requirements(frozenset({"otp"}))
    )
    other = made("other", "alice@R", roles=["admin"])
    found = _explained(office, other, address=ip_address("192.0.2.1"))
    assert [weighed.obstacles for weighed in found.weighed] == [
        (
            "does not name alice@R, nor a group of theirs",
            "holds from 10.0.0.0/8, not from 192.0.2.1",
            "needs a ticket obtained with otp",
        ),
        ("gives other roles: admin",),
    ]


def test_what_needs_a_better_ticket_says_which():
    found = _explained(made("strong", "alice@R", require=Requirements(frozenset({"pkinit"}))))
    assert (found.verdict, found.why) == (
        Verdict.STEP_UP,
        "this role needs a ticket obtained with pkinit: run zerotrust login --step-up developer",
    )


@pytest.mark.parametrize(
    ("named", "who", "near"),
    [
        ("Alice@R", "alice@R", "rule r names Alice@R: upper and lower case differ"),
        ("alice@OTHER", "alice@R", "rule r names alice@OTHER: the realm differs (OTHER, not R)"),
        ("*@OTHER", "alice@R", "rule r names *@OTHER: the realm differs (OTHER, not R)"),
        ("alice/admin@R", "alice@R", "rule r names alice/admin@R: another instance of the same name"),
        ("*@R", "DC1$@R", "rule r names *@R: a * means people, never a service or machine: name it in full"),
    ],
)
def test_a_near_miss_is_told(named, who, near):
    assert _explained(made("r", named), who=who).near == (near,)


def test_a_group_in_another_case_and_a_role_of_almost_this_name_are_told():
    assert _explained(made("r", "R\\Dev"), groups=frozenset({"R\\dev"})).near == (
        "rule r names the group R\\Dev: case differs from R\\dev",
    )
    assert _explained(role="Develper").near == ("there is a role developer",)


def test_nothing_is_near_to_somebody_whom_no_rule_resembles():
    assert _explained(made("r", "bob@R")).near == ()


def test_the_end_of_a_fresh_login_is_told_and_no_exception_escapes():
    found = _explained(
        made("r", "alice@R", require=Requirements(max_ticket_age=timedelta(hours=1))), age=timedelta(hours=2)
    )
    assert found.verdict is Verdict.STEP_UP
    with pytest.raises(BrokerError):
        decide(
            Policy(roles=ROLES),
            identity=Supposed(Principal.parse("alice@R")).identity(now=NOW),
            role=RoleName("developer"),
            address=None,
            now=NOW,
        )
