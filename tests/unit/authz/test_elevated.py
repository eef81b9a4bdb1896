"""What a rule asks for beside a ticket, put to the decision: reasons, and boxes that are for one thing exactly."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.authz.policy import Policy, askable, decide, delegable_until
from broker.core.elevation import Box, Evidence, person
from broker.core.errors import AccessDenied, ApprovalRequired, ApprovalsUnavailable, BadRequest, StepUpRequired
from broker.core.grant import Grant
from broker.core.identity import Identity
from broker.core.pattern import PrincipalPattern
from broker.core.principal import NameType, Principal
from broker.core.roles import Hop, Role, RoleArn, RoleName
from broker.core.rule import Approvers, Requirements, Rule
from broker.core.scope import ScopeName

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
ADMIN, READER = RoleName("admin"), RoleName("reader")
ARN = RoleArn.parse("arn:aws:iam::111122223333:role/Admin")
ROLES = {name: Role(name=name, chain=(Hop(arn=ARN, external_id="x-1"),), duration=HOUR) for name in (ADMIN, READER)}
ALICE = Principal.parse("alice@R")
PEOPLE = [person(Principal.parse(name)) for name in ("bob@R", "carol@R", "dave@R", "alice@R", "bob@OTHER")]


def rule(name: str = "prod", **require: Any) -> Rule:
    approvers = Approvers(principals=tuple(map(PrincipalPattern.parse, ("bob@R", "carol@R"))))
    return Rule(
        name=name,
        principals=(PrincipalPattern.parse("alice@R"),),
        groups=(),
        networks=(),
        require=Requirements(**require),
        roles=frozenset({ADMIN}),
        approvers=approvers if require.get("approval") else Approvers(),
    )


def identity(principal: Principal = ALICE, **changes: Any) -> Identity:
    asker = Identity(
        principal=principal,
        ticket_end=NOW + timedelta(hours=10),
        authenticated_at=NOW,
        channel_bound=False,
        indicators=frozenset(),
        groups=frozenset(),
        mutual_token=None,
    )
    return replace(asker, **changes)


def box(policy: Policy, of: Rule, *, scope: ScopeName | None = None, **changes: Any) -> Box:
    made = Box(
        id="0" * 32,
        user="alice@R",
        role=ADMIN,
        scope=scope,
        terms=policy.terms(of, ADMIN, scope),
        reason="INC-1",
        ends=NOW + HOUR,
        approvers=frozenset(PEOPLE[:2]),
        is_broken_glass=False,
    )
    return replace(made, **changes)


def decided(policy: Policy, evidence: Evidence, *, asker: Identity | None = None, role: RoleName = ADMIN) -> Grant:
    return decide(policy, identity=asker or identity(), role=role, address=None, now=NOW, evidence=evidence)


@pytest.mark.parametrize("stated", ["INC-1", "INC-12: disk full", "CHG-7 x"])
def test_a_reason_that_fits_is_enough(stated: str) -> None:
    policy = Policy(roles=ROLES, rules=[rule(reason="(INC|CHG)-[0-9]+")])
    assert decided(policy, Evidence(reason=stated)).rule == "prod"


@pytest.mark.parametrize(
    ("stated", "why"), [(None, "reason_missing"), ("because", "reason_unfit"), (" INC-1", "reason_unfit")]
)
def test_without_a_fitting_reason_the_hint_names_what_is_asked_and_not_what_was_said(
    stated: str | None, why: str
) -> None:
    policy = Policy(roles=ROLES, rules=[rule(reason="(INC|CHG)-[0-9]+")])
    with pytest.raises(ApprovalRequired) as caught:
        decided(policy, Evidence(reason=stated))
    assert caught.value.reason == why
    assert caught.value.hint is not None
    assert "a reason that begins like (INC|CHG)-[0-9]+" in caught.value.hint
    assert stated is None or stated not in caught.value.hint


def test_a_box_that_others_opened_is_enough_and_what_rests_on_it_ends_with_it() -> None:
    prod = rule(approval=2)
    policy = Policy(roles=ROLES, rules=[prod])
    grant = decided(policy, Evidence(boxes=(box(policy, prod, ends=NOW + timedelta(minutes=40)),)))
    assert (grant.lifetime, grant.ends_at) == (
        timedelta(minutes=40),
        int((NOW + timedelta(minutes=40)).timestamp()),
    )
    assert grant.box is not None


@pytest.mark.parametrize(
    "wrong",
    [
        {"user": "bob@R"},
        {"user": "alice@r"},
        {"user": "Alice@R"},
        {"user": "alice@OTHER"},
        {"role": READER},
        {"scope": ScopeName("small")},
        {"terms": "0" * 64},
        {"ends": NOW},
        {"ends": NOW + timedelta(minutes=15)},
        {"approvers": frozenset()},
        {"approvers": frozenset(PEOPLE[:1])},
        {"approvers": frozenset({PEOPLE[0], person(ALICE)})},
        {"approvers": frozenset(), "is_broken_glass": True},
    ],
    ids=[
        "another",
        "another realm's case",
        "another case",
        "another realm",
        "another role",
        "a scope",
        "other terms",
        "ended",
        "nearly ended",
        "nobody",
        "one",
        "one and oneself",
        "broken",
    ],
)
def test_a_box_for_anything_else_or_by_too_few_is_none(wrong: dict[str, Any]) -> None:
    prod = rule(approval=2)
    policy = Policy(roles=ROLES, rules=[prod])
    with pytest.raises(ApprovalRequired) as caught:
        decided(policy, Evidence(boxes=(box(policy, prod, **wrong),)))
    assert (caught.value.reason, caught.value.hint) == (
        "not_approved",
        "this role needs the approval of 2 by bob@R, carol@R: run zerotrust request",
    )


def test_broken_glass_opens_what_glass_guards_and_nothing_that_others_must_approve() -> None:
    prod, emergency = rule(approval=1), rule("emergency", break_glass=True)
    policy = Policy(roles=ROLES, rules=[prod, emergency])
    broken = box(policy, emergency, approvers=frozenset(), is_broken_glass=True)
    assert decided(policy, Evidence(boxes=(broken,))).rule == "emergency"
    with pytest.raises(ApprovalRequired):
        decided(policy, Evidence(boxes=(replace(broken, is_broken_glass=False),)))


def test_nobody_is_sent_to_break_glass_who_could_do_something_else() -> None:
    policy = Policy(roles=ROLES, rules=[rule("emergency", break_glass=True), rule(approval=1)])
    with pytest.raises(ApprovalRequired) as caught:
        decided(policy, Evidence())
    assert caught.value.reason == "not_approved"


def test_where_nobody_can_say_what_is_open_it_is_503_and_never_an_allow_nor_a_hint_to_ask_again() -> None:
    prod = rule(approval=1)
    policy = Policy(roles=ROLES, rules=[prod])
    with pytest.raises(ApprovalsUnavailable):
        decided(policy, Evidence(unknown="ConnectionError"))
    here = box(policy, prod)
    assert decided(policy, Evidence(unknown="ConnectionError", boxes=(here,))).box == here


@pytest.mark.parametrize(
    "change",
    [
        {"approval": 2},
        {"approval": 1, "reason": ""},
        {"approval": 1, "time_box": timedelta(minutes=30)},
        {"approval": 1, "max_ticket_age": HOUR},
    ],
    ids=str,
)
def test_any_change_of_the_rule_voids_what_was_approved_under_it(change: dict[str, Any]) -> None:
    before, after = rule(approval=1), rule(**change)
    old, new = Policy(roles=ROLES, rules=[before]), Policy(roles=ROLES, rules=[after])
    with pytest.raises(ApprovalRequired):
        decided(new, Evidence(boxes=(box(old, before),)))


def test_other_approvers_and_another_chain_void_it_too() -> None:
    prod = rule(approval=1)
    old = Policy(roles=ROLES, rules=[prod])
    other = replace(prod, approvers=Approvers(principals=(PrincipalPattern.parse("mallory@R"),)))
    moved = ROLES | {ADMIN: replace(ROLES[ADMIN], chain=(Hop(arn=ARN, external_id="x-2"),))}
    for new in (Policy(roles=ROLES, rules=[other]), Policy(roles=moved, rules=[prod])):
        with pytest.raises(ApprovalRequired):
            decided(new, Evidence(boxes=(box(old, prod),)))


def test_a_job_has_no_part_in_what_is_elevated() -> None:
    asker = identity(delegated_at=NOW)
    for require in ({"reason": ""}, {"approval": 1}, {"break_glass": True}):
        prod = replace(rule(**require), job_passes=timedelta(days=1))
        policy = Policy(roles=ROLES, rules=[prod])
        opened = box(policy, prod, is_broken_glass=True)
        with pytest.raises(AccessDenied):
            decided(policy, Evidence(reason="INC-1", boxes=(opened,)), asker=asker)
        with pytest.raises(AccessDenied):
            delegable_until(policy, identity=asker, role=ADMIN, address=None, now=NOW)


def ask_under(policy: Policy, **asked: Any) -> Rule:
    standard: dict[str, Any] = {"identity": identity(), "role": ADMIN, "scope": None, "break_glass": False}
    return askable(policy, **standard | asked, address=None, now=NOW)


def test_one_may_ask_under_the_first_rule_that_names_one_and_whose_ticket_one_has() -> None:
    strong, plain = rule("strong", approval=1, indicators=frozenset({"otp"})), rule("plain", approval=2)
    assert ask_under(Policy(roles=ROLES, rules=[strong, plain])).name == "plain"
    with pytest.raises(StepUpRequired):
        ask_under(Policy(roles=ROLES, rules=[strong]))
    with pytest.raises(BadRequest):
        ask_under(Policy(roles=ROLES, rules=[rule(reason="")]))


@pytest.mark.parametrize(
    "asked",
    [
        {"identity": identity(Principal.parse("mallory@R"))},
        {"role": READER},
        {"role": RoleName("nothing")},
        {"scope": ScopeName("nothing")},
        {"break_glass": True},
        {"identity": identity(delegated_at=NOW)},
    ],
    ids=["another", "other role", "no role", "no scope", "no glass", "a job"],
)
def test_who_could_never_have_it_is_denied_in_one_word(asked: dict[str, Any]) -> None:
    with pytest.raises(AccessDenied) as caught:
        ask_under(Policy(roles=ROLES, rules=[rule(approval=1)]), **asked)
    assert caught.value.reason == "no_rule_to_ask_under"


REQUIRE = st.fixed_dictionaries(
    {
        "reason": st.sampled_from([None, "", "INC-[0-9]"]),
        "approval": st.integers(0, 3),
        "break_glass": st.just(value=False),
    }
) | st.fixed_dictionaries({"reason": st.sampled_from([None, ""]), "break_glass": st.just(value=True)})


def allowed(policy: Policy, evidence: Evidence) -> bool:
    try:
        decided(policy, evidence)
    except (ApprovalRequired, ApprovalsUnavailable):
        return False
    return True


@given(
    require=REQUIRE,
    people=st.frozensets(st.sampled_from(PEOPLE)),
    broken=st.booleans(),
    reason=st.sampled_from([None, "x", "INC-1"]),
)
def test_so_many_different_others_are_needed_and_an_added_demand_never_lets_more_in(
    require: dict[str, Any],
    people: frozenset[str],
    broken: bool,  # noqa: FBT001
    reason: str | None,
) -> None:
    asked = rule(**require)
    policy = Policy(roles=ROLES, rules=[asked])
    shown = Evidence(reason=reason, boxes=(box(policy, asked, approvers=people, is_broken_glass=broken),))
    others = len(people - {person(ALICE)})
    let_in = allowed(policy, shown)
    if require.get("approval"):
        assert let_in == (others >= require["approval"])
    elif require["break_glass"]:
        assert let_in == broken
    more = rule(**require | {"approval": min(require.get("approval", 0) + 1, 5), "break_glass": False})
    harder = Policy(roles=ROLES, rules=[more])
    same = Evidence(reason=reason, boxes=(box(harder, more, approvers=people, is_broken_glass=broken),))
    # A box has its reason from when it was asked for; a rule that asks for one each time has none.
    is_of_the_same_kind = not require["break_glass"] and (require["approval"] or require["reason"] is None)
    assert let_in or not (is_of_the_same_kind and allowed(harder, same))


def test_names_of_one_person_are_one_and_other_realms_are_others() -> None:
    same = {person(Principal.parse(name)) for name in ("alice@R", "alice/admin@R", "alice/x/y@R")}
    typed = person(Principal(("alice",), "R", NameType.SRV_INST))
    assert same == {typed}
    others = ("Alice@R", "alice@r", "alice@R.X", "alice\\/admin@R", "alic@R")
    assert len({person(Principal.parse(name)) for name in others} | same) == 6
