"""What stands before each of somebody's roles: as asking for it would say, told of theirs alone, and never failing as a whole."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from broker.core.errors import ApprovalsUnavailable, StepUpRequired
from broker.core.pattern import PrincipalPattern
from broker.core.roles import RoleName
from broker.core.rule import Approvers, Requirements, Rule
from broker.core.step_up import StepUp
from broker.issuing.explain import Prospect
from broker.revocation.ledger import Kind, Subject
from tests.unit.issuing.test_issue import ROLE, House, token_for

ALICE = "alice@R"


def rule(name: str = "one", who: str = ALICE, **require: Any) -> Rule:
    return Rule(
        name=name,
        principals=(PrincipalPattern.parse(who),),
        groups=(),
        networks=(),
        require=Requirements(**require),
        roles=frozenset({ROLE.name}),
        approvers=Approvers(principals=(PrincipalPattern.parse("boss@R"),)),
    )


async def prospects(house: House, who: str = ALICE) -> list[Prospect]:
    return await house.explainer.prospects(house.asking(authorization=token_for(who)))


async def test_a_role_for_others_is_not_told_of_and_the_record_says_how_many_were() -> None:
    house = House(rule(who="bob@R"))
    assert await prospects(house) == []
    assert house.audit.events[-1].details["roles"] == 0
    assert [found.role for found in await prospects(house, "bob@R")] == ["developer"]
    record = house.audit.events[-1]
    assert (record.action, record.resource, record.kind, record.details["roles"]) == ("explain", "*", "shown", 1)


@pytest.mark.parametrize(
    ("require", "step_up"),
    [
        ({"indicators": frozenset({"pkinit", "card"})}, StepUp(indicators=("card", "pkinit"))),
        ({"channel_binding": True}, StepUp(channel_binding=True)),
        # The ticket has the indicator and lacks the age: a new one needs both.
        (
            {"indicators": frozenset({"otp"}), "max_ticket_age": timedelta(minutes=16)},
            StepUp(indicators=("otp",), max_ticket_age=timedelta(0)),
        ),
        (
            {"indicators": frozenset({"pkinit"}), "max_ticket_age": timedelta(hours=8)},
            StepUp(indicators=("pkinit",), max_ticket_age=timedelta(hours=7, minutes=44)),
        ),
    ],
)
async def test_a_step_up_says_all_that_a_new_ticket_must_be_like(require: dict[str, Any], step_up: StepUp) -> None:
    house = House(rule(**require))
    house.clock.moment += timedelta(microseconds=1)
    aged = house.names.accept

    def older(token: bytes, **given: Any) -> Any:
        identity = aged(token, **given)
        return type(identity)(
            **{
                **{name: getattr(identity, name) for name in identity.__slots__},
                "authenticated_at": identity.authenticated_at - timedelta(seconds=1),
            }
        )

    house.names.accept = older  # type: ignore[method-assign]
    (found,) = await prospects(house)
    assert (found.verdict, found.step_up) == ("step_up", step_up)
    refused = await house.refused(StepUpRequired)
    assert isinstance(refused, StepUpRequired)
    assert refused.step_up == step_up
    assert refused.hint == found.hint


async def test_a_role_that_is_revoked_is_denied_and_the_others_are_told_of() -> None:
    house = House(rule())
    await house.epochs.enter([Subject(Kind.CREDENTIALS, ALICE, ROLE.name)], by="an operator")
    (found,) = await prospects(house)
    assert (found.verdict, found.why) == ("denied", "revoked")
    assert "administrator" in found.hint


async def test_where_nobody_can_say_what_was_approved_that_role_is_unknown_and_nothing_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    house = House(rule(approval=1))
    (found,) = await prospects(house)
    assert (found.verdict, found.needs) == ("approval", ("approval", "reason"))

    async def away(_: str) -> Any:
        raise ApprovalsUnavailable(reason="TimeoutError")

    monkeypatch.setattr(house.elevating.store, "of", away)
    (found,) = await prospects(house)
    assert (found.verdict, found.grant) == ("unknown", None)


async def test_of_one_role_the_answer_is_that_of_all_and_of_no_role_that_of_another_s() -> None:
    house = House(rule(who="bob@R"), rule("mine", reason="CHG"))

    async def one(role: str) -> Prospect:
        return await house.explainer.prospect(house.asking(authorization=token_for(ALICE)), role=role)

    (found,) = await prospects(house)
    assert await one("developer") == found

    def same(said: Prospect) -> Any:
        return said.verdict, said.hint, said.needs, said.step_up, said.grant

    house.policies.current.roles = {**house.policies.current.roles, RoleName("secret"): ROLE}
    assert same(await one("secret")) == same(await one("no-such"))
