"""What is asked of AWS without anybody waiting, and what is not asked because AWS has just said no."""

from __future__ import annotations

from datetime import timedelta
from typing import cast

import pytest

from broker.audit.event import Event
from broker.core.errors import AuditUnavailable, BrokerError, StsDenied, StsRejected, StsTimeout, StsUnavailable
from tests.unit.issuing.test_issue import House, token_for

DENIED = StsDenied("hop 2: AccessDenied", reason="hop2_access_denied")


@pytest.fixture
async def house() -> House:
    return House()


async def due(house: House) -> None:
    """Credentials with 20 minutes left are in the cache, and nothing else has happened yet."""
    await house.ask()
    house.clock.moment += timedelta(minutes=40)
    house.audit.events.clear()


async def renewals(house: House) -> list[Event]:
    """What is on record of renewals, once they have ended."""
    await house.issuer.drain()
    return [event for event in house.audit.events if event.action == "renew_credentials"]


# ---- renewals ----


async def test_a_renewal_is_an_attempt_of_its_own_with_intent_and_outcome_under_the_id_of_who_caused_it(
    house: House,
) -> None:
    await due(house)
    old = await house.ask()
    intent, outcome = await renewals(house)
    assert (intent.kind, outcome.kind, outcome.success) == ("intent", "fetched", True)
    assert {event.request_id for event in (intent, outcome)} == {"r-1"}
    assert outcome.access_key_id not in {None, old.access_key_id}
    assert (str(outcome.principal), outcome.role, outcome.indicators) == ("alice@R", "developer", {"otp"})
    assert (await house.ask()).access_key_id == outcome.access_key_id


async def test_what_a_renewal_made_names_the_request_that_caused_it(house: House) -> None:
    await due(house)
    asking = house.asking(authorization=token_for("alice@R"), request_id="r-2")
    assert (await house.issuer.issue(asking, role="developer")).minted_by == "r-1"
    _, outcome = await renewals(house)
    assert (outcome.request_id, outcome.details["minted_by"], house.sts.events[-1]) == ("r-2", "r-2", "r-2")
    assert (await house.ask()).minted_by == "r-2"


@pytest.mark.parametrize("error", [StsRejected, StsUnavailable, StsTimeout])
async def test_a_renewal_that_fails_is_on_record_with_its_reason(house: House, error: type[BrokerError]) -> None:
    await due(house)
    house.sts.error = error(reason="because")
    await house.ask()
    intent, outcome = await renewals(house)
    assert (intent.kind, outcome.kind, outcome.success, outcome.reason) == ("intent", "refused", False, "because")


@pytest.mark.parametrize("error", [StsUnavailable, StsTimeout, StsRejected, AuditUnavailable, ValueError])
async def test_a_renewal_that_failed_is_not_tried_again_by_each_request_but_after_some_seconds(
    house: House, error: type[Exception]
) -> None:
    await due(house)
    house.sts.error = cast("BrokerError", error())
    for _ in range(20):
        await house.ask()
        await house.issuer.drain()
    assert house.sts.calls == 2, "the first set, and one try at another"
    house.sts.error = None
    house.clock.moment += timedelta(seconds=16)
    await house.ask()
    await house.issuer.drain()
    assert house.sts.calls == 3
    house.sts.error = cast("BrokerError", StsUnavailable())
    house.clock.moment += timedelta(hours=2)
    await house.refused(StsUnavailable)
    house.sts.error = None
    await house.ask()


async def test_how_long_a_renewal_takes_is_no_measure_of_the_request_that_caused_it(house: House) -> None:
    await due(house)
    await house.ask()
    _, outcome = await renewals(house)
    (request,) = [event for event in house.audit.events if event.kind == "issued"]
    assert "sts" in outcome.measures
    assert "sts" not in request.measures


# ---- denials ----


async def test_a_loop_after_a_denial_is_one_call_and_a_record_with_its_reason_for_each_request(
    house: House,
) -> None:
    house.sts.error = DENIED
    for _ in range(30):
        refused = await house.refused(StsDenied)
        assert refused.reason == "hop2_access_denied"
    assert house.sts.calls == 1
    outcomes = [event.reason for event in house.audit.events if event.kind == "refused"]
    assert outcomes == ["hop2_access_denied"] * 30
    assert house.diary.count("intent") == 1


async def test_a_denial_is_forgotten_after_some_seconds(house: House) -> None:
    house.sts.error = DENIED
    await house.refused(StsDenied)
    house.sts.error = None
    house.clock.moment += timedelta(seconds=4)
    await house.ask()
    assert house.sts.calls == 2


async def test_a_denial_is_one_persons_alone(house: House) -> None:
    house.sts.error = DENIED
    await house.refused(StsDenied)
    house.sts.error = None
    house.directory.of["bob@R"] = {"R\\aws-dev"}
    await house.ask("bob@R")


@pytest.mark.parametrize("error", [StsRejected, StsUnavailable, StsTimeout])
async def test_what_may_be_over_the_next_moment_is_not_remembered(house: House, error: type[BrokerError]) -> None:
    house.sts.error = error(reason="because")
    await house.refused(error)
    house.sts.error = None
    await house.ask()


async def test_a_renewal_that_aws_denies_is_not_tried_again_by_each_request(house: House) -> None:
    await due(house)
    house.sts.error = cast("BrokerError", DENIED)
    for _ in range(5):
        await house.ask()
        await house.issuer.drain()
    assert house.sts.calls == 2, "the first set, and one try at another"
