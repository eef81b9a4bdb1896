"""Time boxes and whom the watch holds something from: they neither ask nor approve, and what they approved counts no more."""

from __future__ import annotations

from datetime import timedelta

import pytest

from broker.core.errors import ApprovalRequired, BrokerError, StepUpRequired
from broker.issuing.boxes import described
from broker.revocation.holds import Holds, Response
from tests.unit.issuing.test_break_glass import broken
from tests.unit.issuing.test_elevate import approved, asked, denied, refusal, rule
from tests.unit.issuing.test_issue import House, token_for

BOTH = [(Response.HOLD, ApprovalRequired, "access_held"), (Response.STEP_UP, StepUpRequired, "ticket_before_alert")]


@pytest.fixture
async def house() -> House:
    return House(rule(approval=1))


async def alarmed(house: House, who: str, response: Response) -> Holds:
    """An alert a second from now."""
    house.clock.moment += timedelta(seconds=1)
    holds = Holds(epochs=house.epochs)
    await holds.put(who, response, by="watch: impossible_travel")
    return holds


async def cookie_of(house: House, who: str) -> str:
    standing = await house.overviews.of(house.asking(authorization=token_for(who)))
    assert standing.cookie is not None
    return standing.cookie.value.reveal()


@pytest.mark.parametrize(("response", "error", "reason"), BOTH)
async def test_who_is_held_approves_nothing_and_can_still_deny(
    house: House, response: Response, error: type[BrokerError], reason: str
) -> None:
    identifier, cookie = await asked(house), await cookie_of(house, "bob@R")
    await alarmed(house, "bob@R", response)
    assert await refusal(error, house.elevating.desk.approve(house.asking(cookie=cookie), identifier)) == reason
    await house.refused(ApprovalRequired)
    assert described(await denied(house, identifier, "bob@R"))["state"] == "denied"


async def test_who_is_held_wakes_nobody_for_what_they_would_not_get(house: House) -> None:
    await alarmed(house, "alice@R", Response.HOLD)
    assert await refusal(ApprovalRequired, asked(house)) == "access_held"
    glass = House(rule(break_glass=True))
    await alarmed(glass, "alice@R", Response.HOLD)
    assert await refusal(ApprovalRequired, broken(glass)) == "access_held"
    assert [event.kind for event in glass.audit.events] == ["refused"]


@pytest.mark.parametrize("response", [Response.HOLD, Response.STEP_UP])
async def test_an_approval_from_before_its_approvers_alert_counts_only_once_that_is_cleared(
    house: House, response: Response
) -> None:
    identifier = await asked(house)
    await approved(house, identifier, "bob@R")
    await house.ask()
    holds = await alarmed(house, "bob@R", response)
    await house.refused(ApprovalRequired)
    await holds.clear("bob@R", by="root/admin@R")
    await house.ask()


async def test_with_a_newer_ticket_an_approver_approves_again(house: House) -> None:
    identifier = await asked(house)
    await approved(house, identifier, "bob@R")
    await alarmed(house, "bob@R", Response.STEP_UP)
    house.clock.moment += timedelta(seconds=1)
    assert described(await approved(house, identifier, "bob@R"))["state"] == "open"
    await house.ask()


async def test_an_approver_s_ticket_must_be_as_good_as_the_rule_wants_it() -> None:
    house = House(rule(approval=1, max_ticket_age=timedelta(minutes=30)))
    cookie = await cookie_of(house, "bob@R")
    house.clock.moment += timedelta(minutes=31)
    identifier = await asked(house)
    weak = house.elevating.desk.approve(house.asking(cookie=cookie), identifier)
    assert await refusal(StepUpRequired, weak) == "approver_ticket_too_weak"
    assert described(await approved(house, identifier, "bob@R"))["state"] == "open"
