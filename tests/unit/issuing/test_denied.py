"""Which AWS roles deny somebody, and in what words an operator is told."""

from __future__ import annotations

from datetime import timedelta

import pytest

from broker.core.roles import Hop, Role, RoleArn, RoleName
from broker.issuing.denied import FOREIGN, NO_ROLE, Outcome, Phase, targets, told, why

HUB = "arn:aws:iam::999900001111:role/Hub"
ONE, TWO = "arn:aws:iam::111122223333:role/One", "arn:aws:iam::444455556666:role/Two"


def role(name: str, *arns: str) -> Role:
    chain = tuple(Hop(arn=RoleArn.parse(arn), external_id=None) for arn in arns)
    return Role(name=RoleName(name), chain=chain, duration=timedelta(minutes=20))


ROLES = {each.name: each for each in (role("a", HUB, ONE), role("b", HUB, TWO), role("c", ONE), role("d", HUB, ONE))}


def test_the_ends_of_all_chains_deny_and_what_lies_on_the_way_does_not() -> None:
    assert [(target.arn.text, target.names) for target in targets(ROLES, only=None)] == [
        (ONE, ("a", "c", "d")),
        (TWO, ("b",)),
    ]


def test_one_role_is_its_end_with_all_names_that_lead_there() -> None:
    (only,) = targets(ROLES, only="a")
    assert (only.arn.text, only.names) == (ONE, ("a", "c", "d"))


def test_a_session_may_be_as_old_as_aws_allows_whatever_the_configuration_says_today() -> None:
    one, two = targets(ROLES, only=None)
    assert one.longest == timedelta(hours=12), "c takes it in one hop"
    assert two.longest == timedelta(hours=1)


@pytest.mark.parametrize(
    ("outcome", "said", "would", "state"),
    [
        (Outcome(ONE, Phase.DENY, done=True), "denied from now on", None, "aws_denied"),
        (Outcome(ONE, Phase.DENY, done=False), "not denied yet, being tried", "would be denied", "aws_pending"),
        (
            Outcome(ONE, Phase.DENY, done=False, reason="throttled"),
            "not denied yet, tried again: IAM throttles",
            "could not be denied now: IAM throttles",
            "aws_pending",
        ),
        (Outcome(ONE, Phase.DENY, done=True, reason=NO_ROLE), "there is no such role", None, "aws_denied"),
        (Outcome(ONE, Phase.REMOVE, done=True), "no longer denied", None, "aws_removed"),
        (
            Outcome(ONE, Phase.REMOVE, done=False, reason="hop2_refused"),
            "still denied, tried again: hop2_refused",
            None,
            "aws_removing",
        ),
    ],
)
def test_how_it_stands_is_said_in_words(outcome: Outcome, said: str, would: str | None, state: str) -> None:
    wanted = targets(ROLES, only=None)
    (one,) = told(wanted, [outcome])
    assert (one["said"], one["roles"], one["done"]) == (said, ["a", "c", "d"], outcome.done)
    assert outcome.state == state
    if would is not None:
        assert told(wanted, [outcome], dry_run=True)[0]["said"] == would


def test_a_role_that_left_the_configuration_has_no_name_here() -> None:
    assert told([], [Outcome(ONE, Phase.REMOVE, done=True)])[0]["roles"] == []


@pytest.mark.parametrize("reason", [FOREIGN, "access_denied", "no_room", "service_linked_role"])
def test_what_an_operator_has_to_mend_is_explained(reason: str) -> None:
    assert len(why(reason)) > len(reason) + 20
