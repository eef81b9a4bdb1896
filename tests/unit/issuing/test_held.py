"""The way of somebody from whom the watch holds something: what they get, what helps, and who can clear it."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from broker.authn.signature import Signatures
from broker.authz.admission import Admission
from broker.authz.operators import Operators
from broker.core.errors import AccessDenied, ApprovalRequired, AuditUnavailable, BadRequest, BrokerError, StepUpRequired
from broker.core.pattern import PrincipalPattern
from broker.core.rule import Requirements
from broker.issuing.alerts import Alerts
from broker.issuing.operators import OperatorsDoor
from broker.revocation.holds import Holds, Response
from tests.unit.issuing.test_issue import House, token_for

ALICE = "alice@R"
BOTH = [(Response.HOLD, ApprovalRequired, "access_held"), (Response.STEP_UP, StepUpRequired, "ticket_before_alert")]


@pytest.fixture
async def house() -> House:
    return House()


@pytest.fixture
def holds(house: House) -> Holds:
    return house.issuer._holds


@pytest.fixture
def alerts(house: House, holds: Holds) -> Alerts:
    """With alice as the only operator."""
    entrance, policies = house.issuer._entrance, house.issuer._policies
    operators = Operators(patterns=[PrincipalPattern.parse(ALICE)], require=Requirements())
    policies.admission = Admission(operators=operators)
    door = OperatorsDoor(
        entrance=entrance,
        policies=policies,
        signatures=Signatures(keys=[], required=False, proofs=None, clock=house.clock),  # type: ignore[arg-type]
        passes=entrance._passes,
        clock=house.clock,
    )
    return Alerts(operators=door, holds=holds)


async def alarmed(house: House, holds: Holds, response: Response) -> None:
    """An alert a minute from now: every ticket so far is older."""
    house.clock.moment += timedelta(minutes=1)
    await holds.put(ALICE, response, by="watch: new_network")


@pytest.mark.parametrize(("response", "error", "reason"), BOTH)
async def test_held_credentials_are_refused_from_the_cache_too_and_on_record(
    house: House, holds: Holds, response: Response, error: type[BrokerError], reason: str
) -> None:
    cookie = await cookie_of(house)
    await house.ask()
    await alarmed(house, holds, response)
    house.diary.clear()
    with pytest.raises(error) as refused:
        await house.issuer.issue(house.asking(cookie=cookie), role="developer")
    assert refused.value.hint is not None
    assert refused.value.hint.startswith("unusual activity was seen")
    assert house.diary == ["refused"]
    assert (house.audit.events[-1].reason, house.sts.calls) == (reason, 1)


@pytest.mark.parametrize(("response", "error", "_reason"), BOTH)
async def test_so_is_a_console(
    house: House, holds: Holds, response: Response, error: type[BrokerError], _reason: str
) -> None:
    cookie = await cookie_of(house)
    await alarmed(house, holds, response)
    with pytest.raises(error):
        await house.issuer.open_console(
            house.asking(cookie=cookie), role="developer", scope=None, destination=None, issuer=None
        )


async def test_a_ticket_obtained_after_the_alert_is_what_a_step_up_asks_for(house: House, holds: Holds) -> None:
    await alarmed(house, holds, Response.STEP_UP)
    # This house's tickets are obtained when they are shown.
    await house.ask()


async def test_who_is_held_costs_no_call_of_aws(house: House, holds: Holds) -> None:
    await alarmed(house, holds, Response.HOLD)
    await house.refused(ApprovalRequired)
    assert (house.sts.calls, house.diary) == (0, ["refused"])


async def test_no_ticket_helps_against_a_hold(house: House, holds: Holds) -> None:
    await alarmed(house, holds, Response.HOLD)
    house.clock.moment += timedelta(hours=5)
    await house.refused(ApprovalRequired)


async def test_both_at_once_are_a_hold(house: House, holds: Holds) -> None:
    await alarmed(house, holds, Response.STEP_UP)
    await holds.put(ALICE, Response.HOLD, by="watch: impossible_travel")
    await house.refused(ApprovalRequired)


async def test_who_is_held_while_sts_works_gets_nothing_of_it(house: House, holds: Holds) -> None:
    house.sts.gate = asyncio.Event()
    asking = asyncio.ensure_future(house.ask())
    await house.sts.asked.wait()
    await holds.put(ALICE, Response.HOLD, by="watch: new_role")
    house.sts.gate.set()
    with pytest.raises(ApprovalRequired):
        await asking
    last = house.audit.events[-1]
    assert (last.kind, last.reason, last.access_key_id) == ("refused", "access_held", None)


async def test_what_is_held_from_one_is_held_from_nobody_else(house: House, holds: Holds) -> None:
    await holds.put("bob@R", Response.HOLD, by="watch: new_role")
    await house.ask()


async def test_a_hold_tells_nobody_of_roles_that_are_not_theirs(house: House, holds: Holds) -> None:
    await holds.put("mallory@R", Response.HOLD, by="watch: denial_burst")
    await house.refused(AccessDenied, who="mallory@R")


async def test_who_is_held_may_still_ask_who_they_are_and_is_told_why_not(house: House, holds: Holds) -> None:
    await alarmed(house, holds, Response.HOLD)
    standing = await house.front_desk.standing(house.asking(authorization=token_for(ALICE)), action="whoami")
    assert [role.name for role in standing.roles] == ["developer"]
    found = await house.explainer.prospect(house.asking(authorization=token_for(ALICE)), role="developer")
    assert (found.verdict, found.grant) == ("approval", None)
    assert "administrator" in found.hint


async def test_an_operator_who_is_held_can_clear_it_for_no_false_alarm_locks_them_out(
    house: House, holds: Holds, alerts: Alerts
) -> None:
    await alarmed(house, holds, Response.HOLD)
    await holds.put(ALICE, Response.STEP_UP, by="watch: denial_burst")
    listed = await alerts.listing(house.asking(authorization=token_for(ALICE)))
    assert {(held.user, held.response.value) for held in listed} == {(ALICE, "hold"), (ALICE, "step_up")}
    lifted = await alerts.clear(house.asking(authorization=token_for(ALICE)), user=ALICE)
    assert set(lifted) == {"hold", "step_up"}
    last = house.audit.events[-1]
    assert (last.kind, last.action, last.details["about"]) == ("access_restored", "clear_alert", ALICE)
    await house.ask()
    assert {(held.by, held.in_force) for held in holds.listing()} == {(ALICE, False)}


@pytest.mark.parametrize("user", ["bob@R", "bob", "", "@R"])
async def test_to_clear_what_is_not_held_is_an_error_and_no_silence(house: House, alerts: Alerts, user: str) -> None:
    with pytest.raises(BadRequest):
        await alerts.clear(house.asking(authorization=token_for(ALICE)), user=user)


async def test_nobody_else_clears_anything(house: House, holds: Holds, alerts: Alerts) -> None:
    await holds.put("bob@R", Response.HOLD, by="watch: new_role")
    with pytest.raises(AccessDenied):
        await alerts.clear(house.asking(authorization=token_for("bob@R")), user="bob@R")
    assert holds.listing()[0].in_force


async def test_a_hold_ends_no_session_and_no_kept_credentials(house: House, holds: Holds) -> None:
    cookie = await cookie_of(house)
    await house.ask()
    await alarmed(house, holds, Response.HOLD)
    await holds.clear(ALICE, by="root/admin@R")
    await house.issuer.issue(house.asking(cookie=cookie), role="developer")
    assert house.sts.calls == 1


async def test_an_alert_long_cleared_counts_again_when_it_comes_again(house: House, holds: Holds) -> None:
    await alarmed(house, holds, Response.HOLD)
    await holds.clear(ALICE, by="root/admin@R")
    await alarmed(house, holds, Response.HOLD)
    await house.refused(ApprovalRequired)


async def cookie_of(house: House) -> str:
    standing = await house.overviews.of(house.asking(authorization=token_for(ALICE)))
    assert standing.cookie is not None
    return standing.cookie.value.reveal()


async def test_nothing_is_cleared_without_a_record_of_before(house: House, alerts: Alerts, holds: Holds) -> None:
    await alarmed(house, holds, Response.HOLD)
    before = list(holds.listing())
    house.audit.broken = lambda event: event.kind == "intent"
    with pytest.raises(AuditUnavailable):
        await alerts.clear(house.asking(authorization=token_for(ALICE)), user=ALICE)
    assert list(holds.listing()) == before
