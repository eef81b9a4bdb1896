"""Findings are about what can be shown, and each of them shows."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_network

import pytest
from hypothesis import given, settings

from broker.authz.difference import Change, differences
from broker.authz.lint import Severity, Surroundings, lint
from broker.authz.policy import Policy
from broker.core.pattern import PrincipalPattern
from broker.core.roles import Hop, Role, RoleArn, RoleName
from broker.core.rule import Approvers, Requirements
from broker.core.tags import Tag, TagTemplate
from tests.unit.authz.policies import NOW, POLICIES, ROLES, made, role

OTP = Requirements(frozenset({"otp"}))
OFFICE, OFFICE_FLOOR = ip_network("10.0.0.0/8"), ip_network("10.1.0.0/16")
HERE = Surroundings(accounts=frozenset({"111122223333"}), networks=None)
EVERY_ROLE = made("all", "root/admin@R", roles=list(ROLES))


def _found(*rules, around=HERE, roles=ROLES) -> list[tuple[str, str]]:
    findings = lint(Policy(roles=roles, rules=[*rules, EVERY_ROLE]), around=around, now=NOW)
    return [(finding.code, finding.where) for finding in findings]


def test_a_policy_as_it_should_be_has_no_finding():
    assert not _found(made("r", "alice@R"), made("s", "bob@R", require=OTP))


def test_a_rule_that_takes_back_anothers_demand_from_the_same_people_is_an_error():
    strict, open_door = made("strict", "alice@R", "bob@R", require=OTP), made("open", "*@R")
    (finding,) = lint(Policy(roles=ROLES, rules=[strict, open_door, EVERY_ROLE]), around=HERE, now=NOW)
    assert (finding.severity, finding.code, finding.where) == (Severity.ERROR, "step-up-bypassed", "rule strict")
    assert "rule open does not ask: alice@R, bob@R" in finding.what


@pytest.mark.parametrize("order", [1, -1])
def test_a_rule_that_another_makes_superfluous_is_found_in_either_order(order):
    rules = [made("narrow", "alice@R", networks=[OFFICE_FLOOR]), made("wide", "*@R", networks=[OFFICE])][::order]
    assert _found(*rules) == [("no-effect", "rule narrow")]


def test_of_two_alike_the_later_has_no_effect():
    assert _found(made("one", "alice@R"), made("two", "alice@R")) == [("no-effect", "rule two")]


@pytest.mark.parametrize(
    ("strict", "lenient"),
    [
        ({"require": OTP}, {"networks": [OFFICE]}),
        ({"require": OTP}, {"require": Requirements(max_ticket_age=timedelta(hours=1))}),
        ({"require": OTP, "job_passes": timedelta(hours=1)}, {}),
        ({"networks": [OFFICE]}, {"networks": [ip_network("fd00::/8")]}),
    ],
)
def test_two_rules_of_which_each_gives_something_are_both_meant(strict, lenient):
    assert not _found(made("strict", "alice@R", **strict), made("lenient", "alice@R", **lenient))


@settings(max_examples=30, deadline=None)
@given(POLICIES)
def test_without_the_rules_that_have_no_effect_nobodys_access_is_another(policy):
    superfluous = {
        finding.where.removeprefix("rule ")
        for finding in lint(policy, around=HERE, now=NOW)
        if finding.code == "no-effect"
    }
    without = Policy(roles=ROLES, rules=[rule for rule in policy.rules if rule.name not in superfluous])
    changes = {one.change for one in differences(policy, without, now=NOW)}
    assert changes <= {Change.OTHERWISE}


def test_what_can_never_match_is_an_error():
    around = Surroundings(accounts=HERE.accounts, networks=[OFFICE])
    rules = [made("away", "alice@R", networks=[ip_network("192.0.2.0/24")]), made("hosts", "*/a.example.com@R")]
    assert _found(*rules, around=around) == [("matches-nobody", "rule hosts"), ("never-matches", "rule away")]


def test_what_is_superfluous_within_one_rule_is_a_warning():
    rule = made("r", "alice@R", "*@R", networks=[OFFICE, OFFICE_FLOOR])
    assert _found(rule) == [("covered-by-wildcard", "rule r"), ("network-within-network", "rule r")]


def test_roles_that_nobody_may_have_that_end_soon_or_go_to_another_account_without_an_id_are_told():
    open_hop = Hop(arn=RoleArn.parse("arn:aws:iam::444455556666:role/Open"), external_id=None)
    roles = {
        **ROLES,
        RoleName("unused"): role("unused"),
        RoleName("brief"): role("brief", duration=timedelta(minutes=20)),
        RoleName("open"): Role(RoleName("open"), (*role("x").chain, open_hop), timedelta(hours=1)),
    }
    assert _found(made("r", "alice@R", roles=["brief", "open"]), roles=roles) == [
        ("no-external-id", "role open"),
        ("role-unused", "role unused"),
        ("short-duration", "role brief"),
    ]


@pytest.mark.parametrize(
    ("template", "found"),
    [("{group}", [("groups-alike", "role tagged")]), ("{realm}/{group}", []), ("{rule}", [])],
)
def test_groups_of_two_realms_that_one_tag_does_not_tell_apart_are_an_error(template, found):
    tag = Tag(key="Team", template=TagTemplate.parse(template), transitive=False, optional=True)
    roles = {**ROLES, RoleName("tagged"): replace(role("tagged"), tags=(tag,))}
    rules = [made("one", "A.EXAMPLE\\dev", roles=["tagged"]), made("other", "B.EXAMPLE\\dev", roles=["tagged"])]
    assert _found(*rules, roles=roles) == found
    assert _found(rules[0], made("other", "B.EXAMPLE\\ops", roles=["tagged"]), roles=roles) == []


def test_without_allowed_accounts_any_account_can_be_reached_by_a_slip():
    assert _found(around=Surroundings(accounts=None, networks=None)) == [("any-account", "aws.allowed_accounts")]


def test_too_many_rules_of_one_person_are_not_compared_and_that_is_said():
    rules = [made(f"r{number}", "alice@R") for number in range(301)]
    assert _found(*rules) == [("not-compared", "role developer")]


APPROVED, REASON, GLASS = Requirements(approval=1), Requirements(reason=""), Requirements(break_glass=True)
BOB, BOB_AND_CAROL = (
    Approvers(principals=tuple(map(PrincipalPattern.parse, who))) for who in (("bob@R",), ("bob@R", "carol@R"))
)


@pytest.mark.parametrize("require", [APPROVED, REASON, GLASS], ids=["approval", "reason", "glass"])
def test_a_rule_that_gives_without_what_another_asks_for_is_an_error(require):
    approvers = BOB_AND_CAROL if require.approval else Approvers()
    found = _found(made("asks", "alice@R", require=require, approvers=approvers), made("gives", "*@R"))
    assert ("step-up-bypassed", "rule asks") in found


def test_fewer_approvals_or_other_approvers_are_no_way_round_that_is_hidden():
    two = made("two", "alice@R", require=Requirements(approval=2), approvers=BOB_AND_CAROL)
    one = made("one", "alice@R", require=APPROVED, approvers=BOB_AND_CAROL)
    assert ("step-up-bypassed", "rule two") in _found(two, one)
    other = made("other", "alice@R", require=APPROVED, approvers=Approvers(groups=("S-1-1",)))
    assert not _found(two, other)


def test_glass_beside_approval_is_meant():
    assert not _found(
        made("two", "alice@R", require=APPROVED, approvers=BOB_AND_CAROL), made("emergency", "alice@R", require=GLASS)
    )


@pytest.mark.parametrize(
    ("who", "approvers", "wanted"),
    [
        (["bob@R"], BOB, 1),
        (["bob/admin@R"], BOB, 1),
        (["alice@R", "bob@R"], BOB_AND_CAROL, 2),
        (["S-1-1"], BOB, 2),
        (["*@R"], BOB_AND_CAROL, 3),
    ],
)
def test_approval_that_can_never_be_had_is_an_error(who, approvers, wanted):
    found = _found(made("r", *who, require=Requirements(approval=wanted), approvers=approvers))
    assert ("too-few-approvers", "rule r") in found


def test_approval_that_can_be_had_is_none():
    assert not _found(made("r", "alice@R", require=APPROVED, approvers=BOB))
    assert not _found(made("r", "bob@R", require=APPROVED, approvers=Approvers(groups=("S-1-1",))))


def test_glass_whose_alarm_nobody_hears_is_a_warning():
    quiet = Surroundings(accounts=HERE.accounts, networks=None, tells_people=False)
    assert _found(made("r", "alice@R", require=GLASS), around=quiet) == [("break-glass-unheard", "rule r")]
    assert not _found(made("r", "alice@R", require=GLASS))
