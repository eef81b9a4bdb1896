"""A difference is one for people: none is hidden, and text that is only written otherwise is none."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.authz.difference import Change, differences
from broker.authz.explain import outcome
from broker.authz.policy import Policy
from broker.core.roles import RoleName
from broker.core.rule import Approvers, Requirements
from tests.unit.authz.policies import APPROVERS, ASKERS, NOW, POLICIES, ROLES, RULES, made, made_again, role

HOUR = timedelta(hours=1)
DEVELOPER = "arn:aws:iam::111122223333:role/developer"
HUB = "arn:aws:iam::999900001111:role/Hub"


def _may(policy, asker) -> set[RoleName]:
    asked = {"identity": asker.identity(now=NOW), "address": asker.address, "now": NOW, "evidence": asker.evidence}
    return {name for name in ROLES if outcome(policy, role=name, **asked)[2]}


def _changes(old, new) -> list[tuple[str, str, str]]:
    return [(one.change.value, one.who, one.role) for one in differences(old, new, now=NOW)]


def _policy(*rules, roles=ROLES) -> Policy:
    return Policy(roles=roles, rules=rules)


@settings(max_examples=60, deadline=None)
@given(POLICIES, POLICIES, st.lists(ASKERS, min_size=5, max_size=20))
def test_where_no_difference_is_found_nobody_fares_otherwise(old, new, askers):
    found = list(differences(old, new, now=NOW))
    gains = {one.role for one in found if one.change is Change.GAINS}
    losses = {one.role for one in found if one.change is Change.LOSES}
    for asker in askers:
        before, after = _may(old, asker), _may(new, asker)
        assert after - before <= gains
        assert before - after <= losses


@settings(max_examples=25, deadline=None)
@given(RULES, st.randoms(use_true_random=False))
def test_rules_in_another_order_under_other_names_or_split_change_nobodys_access(rules, chance):
    moved = [made_again(rule, f"new-{rule.name}") for rule in rules]
    chance.shuffle(moved)
    split = [
        made(f"{rule.name}-{name}", *map(str, rule.principals), *rule.groups, roles=[name], networks=rule.networks,
             require=rule.require, job_passes=rule.job_passes, approvers=rule.approvers)
        for rule in moved
        for name in rule.roles
    ]  # fmt: skip
    for other in (moved, split, [*rules, *moved]):
        found = list(differences(_policy(*rules), _policy(*other), now=NOW))
        assert not [one for one in found if one.change is not Change.OTHERWISE]


@given(POLICIES)
def test_a_policy_differs_in_nothing_from_itself(policy):
    assert not list(differences(policy, Policy(roles=dict(ROLES), rules=policy.rules), now=NOW))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ([], [made("r", "alice@R")], [("gains", "alice@R", "developer")]),
        ([made("r", "alice@R")], [], [("loses", "alice@R", "developer")]),
        ([made("r", "S-1-1")], [made("r", "S-1-2")],
         [("loses", "group S-1-1", "developer"), ("gains", "group S-1-2", "developer")]),
        ([made("r", "*@R")], [made("r", "*@R", "alice@R")], []),
        ([made("r", "alice@R")], [made("r", "*@R")], [("gains", "*@R", "developer")]),
        ([made("r", "DC1$@R", "*@R")], [made("r", "*@R")], [("loses", "DC1$@R", "developer")]),
    ],
)  # fmt: skip
def test_who_gains_and_who_loses_is_named_as_rules_name_them(old, new, expected):
    assert _changes(_policy(*old), _policy(*new)) == expected


@pytest.mark.parametrize(
    ("before", "after", "gained"),
    [
        ({"networks": [ip_network("10.0.0.0/8")]}, {"networks": [ip_network("10.0.0.0/7")]}, "from 11.0.0.0"),
        ({"networks": [ip_network("10.0.0.0/8")]}, {}, "on a local socket"),
        (
            {"require": Requirements(frozenset({"otp"}))},
            {"require": Requirements(frozenset({"otp", "pin"}))},
            "with pin",
        ),
        ({"require": Requirements(channel_binding=True)}, {}, "on a local socket"),
        (
            {"require": Requirements(max_ticket_age=HOUR)},
            {"require": Requirements(max_ticket_age=2 * HOUR)},
            "1:44:00 ago",
        ),
        ({}, {"job_passes": HOUR}, "by a job pass made 0:00:00 ago"),
    ],
)
def test_each_demand_that_is_eased_is_a_gain_and_each_that_is_added_a_loss(before, after, gained):
    strict, lenient = _policy(made("r", "alice@R", **before)), _policy(made("r", "alice@R", **after))
    (gain,) = [one for one in differences(strict, lenient, now=NOW) if one.change is Change.GAINS]
    assert any(gained in words for words in gain.details)
    assert Change.LOSES in [one.change for one in differences(lenient, strict, now=NOW)]


def test_two_networks_that_make_up_one_are_no_difference():
    halves = made("r", "alice@R", networks=[ip_network("10.0.0.0/9"), ip_network("10.128.0.0/9")])
    assert not _changes(_policy(halves), _policy(made("r", "alice@R", networks=[ip_network("10.0.0.0/8")])))


def test_an_earlier_end_for_the_same_people_is_a_difference():
    fresh = made("fresh", "alice@R", require=Requirements(max_ticket_age=HOUR))
    old, new = _policy(made("r", "alice@R")), _policy(fresh, made("r", "alice@R"))
    assert _changes(old, new) == [("gets otherwise", "alice@R", "developer")]


def test_what_a_role_stands_for_is_compared_where_somebody_may_have_it():
    rule = made("r", "alice@R", roles=["developer"])
    shorter = role("developer", duration=HOUR / 2)
    elsewhere = role("developer", account="444455556666")
    unused = {**ROLES, RoleName("admin"): role("admin", account="444455556666")}
    changed = [list(differences(_policy(rule), _policy(rule, roles={**ROLES, RoleName("developer"): other}), now=NOW))
               for other in (shorter, elsewhere)]  # fmt: skip
    assert [one.details for found in changed for one in found] == [
        ("duration: 1:00:00 becomes 0:30:00",),
        (f"chain: {HUB} -> {DEVELOPER} becomes {HUB} -> {DEVELOPER.replace('111122223333', '444455556666')}",),
    ]
    assert not _changes(_policy(rule), _policy(rule, roles=unused))


def test_a_changed_external_id_is_told_and_not_shown():
    before = ROLES[RoleName("developer")]
    hops = tuple(type(hop)(hop.arn, f"canary-{hop.external_id}") for hop in before.chain)
    after = {**ROLES, before.name: type(before)(before.name, hops, before.duration)}
    rule = made("r", "alice@R")
    (found,) = differences(_policy(rule), _policy(rule, roles=after), now=NOW)
    assert "external ID of arn:aws:iam::999900001111:role/Hub" in found.details[0]
    assert "canary" not in found.details[0]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({}, {"require": Requirements(approval=1)}, ["gets otherwise", "loses"]),
        ({"require": Requirements(approval=1)}, {}, ["gains", "gets otherwise"]),
        ({"require": Requirements(reason="")}, {"require": Requirements(reason="INC")}, ["gets otherwise"]),
        ({"require": Requirements(approval=2)}, {"require": Requirements(approval=1)}, ["gets otherwise"]),
        ({"require": Requirements(approval=1)}, {"require": Requirements(break_glass=True)}, ["gains", "loses"]),
        (
            {"require": Requirements(approval=1), "approvers": APPROVERS},
            {"require": Requirements(approval=1), "approvers": Approvers(groups=("S-1-1",))},
            ["gets otherwise"],
        ),
    ],
)
def test_what_is_asked_beside_a_ticket_and_of_whom_is_a_difference(before, after, expected):
    found = list(differences(_policy(made("r", "alice@R", **before)), _policy(made("r", "alice@R", **after)), now=NOW))
    assert sorted(one.change.value for one in found) == expected
