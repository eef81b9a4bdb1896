"""Time boxes from asking to closing: who may open them, what comes of them, and that each step is on record."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from broker.authn import job_pass
from broker.authz.policy import Policy
from broker.core.errors import (
    AccessDenied,
    ApprovalRequired,
    ApprovalsUnavailable,
    AuditUnavailable,
    BadRequest,
    BrokerError,
    DirectoryUnavailable,
    NotFound,
    PassRefused,
    RevocationsUnavailable,
    Revoked,
)
from broker.core.pattern import PrincipalPattern
from broker.core.rule import Approvers, Requirements, Rule
from broker.issuing.boxes import Seen, described
from broker.issuing.elevate import Wanted
from broker.revocation.holds import Response
from broker.revocation.ledger import EVERY_ROLE, Kind, Subject
from tests.unit.issuing.test_issue import ROLE, House, token_for

WANTED = Wanted(role="developer", scope=None, reason="INC-1: disk full")
MINUTE = timedelta(minutes=1)


def rule(**require: Any) -> Rule:
    approvers = Approvers(
        principals=tuple(map(PrincipalPattern.parse, ("bob@R", "carol@R", "alice@R", "*/admin@R", "alice@OTHER"))),
        groups=("R\\leads",),
    )
    return Rule(
        name="prod",
        principals=(PrincipalPattern.parse("alice@R"),),
        groups=("R\\aws-dev",),
        networks=(),
        require=Requirements(**require),
        roles=frozenset({ROLE.name}),
        approvers=approvers,
    )


@pytest.fixture
async def house() -> House:
    return House(rule(approval=2))


async def asked(house: House, who: str = "alice@R", wanted: Wanted = WANTED) -> str:
    seen = await house.elevating.desk.ask_for(house.asking(authorization=token_for(who)), wanted)
    return seen.standing.request.id


async def approved(house: House, identifier: str, *people: str) -> Seen:
    for who in people:
        seen = await house.elevating.desk.approve(house.asking(authorization=token_for(who)), identifier)
    return seen


async def denied(house: House, identifier: str, who: str) -> Seen:
    asking = house.asking(authorization=token_for(who))
    return await house.elevating.desk.deny(asking, identifier, reason="not now")


async def refusal(error: type[BrokerError], what: Any) -> str:
    with pytest.raises(error) as caught:
        await what
    return caught.value.reason


async def test_so_many_others_open_a_box_and_every_record_says_by_which_and_why(house: House) -> None:
    assert (await house.refused(ApprovalRequired)).reason == "not_approved"
    identifier = await asked(house)
    first = await approved(house, identifier, "bob@R")
    assert described(first)["state"] == "pending"
    await house.refused(ApprovalRequired)
    seen = await approved(house, identifier, "carol@R")
    assert (described(seen)["state"], described(seen)["approvals"]) == ("open", ["bob@R", "carol@R"])
    house.audit.events.clear()
    credentials = await house.ask()
    assert credentials.expiration <= house.clock.now() + timedelta(hours=1)
    assert [
        (event.kind, event.details["elevation"], event.details["stated_reason"]) for event in house.audit.events
    ] == [
        ("intent", identifier, WANTED.reason),
        ("issued", identifier, WANTED.reason),
    ]


async def test_each_step_is_on_record_with_its_intent_before_it(house: House) -> None:
    identifier = await asked(house)
    await approved(house, identifier, "bob@R")
    await denied(house, identifier, "carol@R")
    told = [(event.kind.value, str(event.principal), event.details.get("about")) for event in house.audit.events]
    assert told == [
        ("intent", "alice@R", "alice@R"),
        ("elevation_requested", "alice@R", "alice@R"),
        ("intent", "bob@R", "alice@R"),
        ("elevation_approved", "bob@R", "alice@R"),
        ("elevation_denied", "carol@R", "alice@R"),
    ]
    assert house.audit.events[-1].details["denied_because"] == "not now"


async def test_without_a_record_nothing_is_asked_and_nothing_is_approved(house: House) -> None:
    house.audit.broken = lambda event: event.kind == "intent"
    await refusal(AuditUnavailable, asked(house))
    house.audit.broken = lambda _: False
    identifier = await asked(house)
    house.audit.broken = lambda event: event.kind == "intent"
    await refusal(AuditUnavailable, approved(house, identifier, "bob@R"))
    house.audit.broken = lambda _: False
    assert described(await approved(house, identifier, "carol@R"))["approvals"] == ["carol@R"]


async def test_what_is_handed_out_ends_with_the_box_and_then_it_is_asked_for_anew(house: House) -> None:
    await approved(house, await asked(house, wanted=replace(WANTED, duration=30 * MINUTE)), "bob@R", "carol@R")
    opened = house.clock.now()
    assert (await house.ask()).expiration <= opened + 30 * MINUTE
    house.clock.moment += 10 * MINUTE
    assert (await house.ask()).expiration <= opened + 30 * MINUTE
    house.clock.moment += 5 * MINUTE
    await house.refused(ApprovalRequired)
    house.clock.moment += 16 * MINUTE
    await house.refused(ApprovalRequired)


@pytest.mark.parametrize(
    ("who", "error", "why"),
    [
        ("alice@R", AccessDenied, "self_approval"),
        ("alice/admin@R", NotFound, "request_unknown"),
        ("mallory@R", NotFound, "request_unknown"),
        ("bob@OTHER", NotFound, "request_unknown"),
        ("Bob@R", NotFound, "request_unknown"),
        ("bob@r", NotFound, "request_unknown"),
        ("bob/x@R", NotFound, "request_unknown"),
    ],
)
async def test_nobody_approves_their_own_nor_as_anybody_who_is_not_named(
    house: House, who: str, error: type[BrokerError], why: str
) -> None:
    identifier = await asked(house)
    assert await refusal(error, approved(house, identifier, who)) == why
    assert described(await approved(house, identifier, "bob@R"))["approvals"] == ["bob@R"]


async def test_one_person_counts_once_by_whatever_name(house: House) -> None:
    identifier = await asked(house)
    await approved(house, identifier, "bob@R")
    assert await refusal(BadRequest, approved(house, identifier, "bob@R")) == "already_approved"
    assert await refusal(BadRequest, approved(house, identifier, "bob/admin@R")) == "already_approved"
    await house.refused(ApprovalRequired)


async def test_somebody_of_another_realm_is_somebody_else(house: House) -> None:
    identifier = await asked(house)
    assert described(await approved(house, identifier, "alice@OTHER", "bob@R"))["state"] == "open"


async def test_a_group_may_approve_and_where_groups_are_unknown_it_is_503(house: House) -> None:
    identifier = await asked(house)
    house.directory.error = DirectoryUnavailable()
    await refusal(DirectoryUnavailable, approved(house, identifier, "erin@R"))
    house.directory.error = None
    house.directory.of["erin@R"] = {"R\\leads"}
    assert described(await approved(house, identifier, "erin@R"))["approvals"] == ["erin@R"]


async def test_who_is_not_there_in_person_neither_asks_nor_approves(house: House) -> None:
    identifier = await asked(house)
    accept = house.names.accept
    house.names.accept = lambda token, *, binding: replace(  # type: ignore[method-assign]
        accept(token, binding=binding), impersonated_by=("HTTP/proxy@R",)
    )
    assert await refusal(AccessDenied, approved(house, identifier, "bob@R")) == "not_present"
    assert await refusal(AccessDenied, asked(house)) == "not_present"
    assert await refusal(AccessDenied, denied(house, identifier, "bob@R")) == "not_present"
    text = job_pass._BEGINNING + "x"
    showing = house.asking(authorization=text)
    assert await refusal(PassRefused, house.elevating.desk.approve(showing, identifier)) == "pass_not_here"


async def test_two_who_approve_at_once_count_as_two_and_a_denial_beats_both(house: House) -> None:
    identifier = await asked(house)
    await asyncio.gather(approved(house, identifier, "bob@R"), approved(house, identifier, "carol@R"))
    await house.ask()
    again = await asked(house, wanted=replace(WANTED, reason="INC-2"))
    await asyncio.gather(approved(house, again, "bob@R"), denied(house, again, "carol@R"), return_exceptions=True)
    with pytest.raises(BadRequest):
        await approved(house, again, "carol@R")


async def test_a_denied_request_stays_denied_and_a_box_that_is_denied_is_closed(house: House) -> None:
    identifier = await asked(house)
    await denied(house, identifier, "bob@R")
    assert await refusal(BadRequest, approved(house, identifier, "carol@R")) == "request_denied"
    opened = await asked(house)
    await approved(house, opened, "bob@R", "carol@R")
    await house.ask()
    await denied(house, opened, "carol@R")
    await house.refused(ApprovalRequired)


async def test_the_one_who_asked_may_take_it_back_and_others_may_not(house: House) -> None:
    identifier = await asked(house)
    await refusal(NotFound, denied(house, identifier, "mallory@R"))
    assert described(await denied(house, identifier, "alice@R"))["state"] == "denied"


async def test_a_denial_that_nobody_can_write_down_is_none_and_says_so(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    identifier = await asked(house)

    async def full(*_: Any, **__: Any) -> None:
        raise RevocationsUnavailable("no disk")

    monkeypatch.setattr(house.epochs, "end_session", full)
    await refusal(RevocationsUnavailable, denied(house, identifier, "bob@R"))
    assert house.audit.events[-1].kind == "refused"


async def test_a_box_that_is_closed_while_sts_works_gives_nothing(house: House) -> None:
    identifier = await asked(house)
    await approved(house, identifier, "bob@R", "carol@R")
    house.sts.gate = asyncio.Event()
    under_way = asyncio.ensure_future(house.ask())
    await house.sts.asked.wait()
    await denied(house, identifier, "carol@R")
    house.sts.gate.set()
    with pytest.raises(ApprovalRequired):
        await under_way
    assert [event.kind for event in house.audit.events].count("issued") == 0


async def test_what_nobody_approves_in_time_expires(house: House) -> None:
    identifier = await asked(house)
    await approved(house, identifier, "bob@R")
    house.clock.moment += timedelta(hours=1)
    assert await refusal(BadRequest, approved(house, identifier, "carol@R")) == "request_expired"


@pytest.mark.parametrize("who", ["alice@R", "bob@R"])
async def test_who_is_revoked_has_asked_for_nothing_and_approved_nothing(house: House, who: str) -> None:
    await approved(house, await asked(house), "bob@R", "carol@R")
    await house.ask()
    hold = Subject(Kind.CREDENTIALS, who, EVERY_ROLE)
    await house.epochs.enter([hold], by="root/admin@R")
    await house.refused(Revoked if who == "alice@R" else ApprovalRequired)
    await house.epochs.enter([hold], by="root/admin@R", held=False)
    await house.refused(ApprovalRequired)


async def test_who_is_held_by_the_watch_approves_nothing_and_who_asked_gets_nothing_of_an_open_box(
    house: House,
) -> None:
    holds, identifier = house.issuer._holds, await asked(house)
    await holds.put("bob@R", Response.HOLD, by="watch: new_network")
    assert await refusal(ApprovalRequired, approved(house, identifier, "bob@R")) == "access_held"
    await holds.clear("bob@R", by="root/admin@R")
    await approved(house, identifier, "bob@R", "carol@R")
    await holds.put("alice@R", Response.HOLD, by="watch: new_network")
    assert (await house.refused(ApprovalRequired)).reason == "access_held"


async def test_an_approver_who_was_restored_can_approve_again(house: House) -> None:
    identifier = await asked(house)
    await approved(house, identifier, "bob@R")
    await house.epochs.enter([Subject(Kind.USER, "bob@R")], by="root/admin@R")
    assert described(await approved(house, identifier, "carol@R"))["approvals"] == ["carol@R"]
    assert described(await approved(house, identifier, "bob@R"))["state"] == "open"


async def test_a_change_of_the_rule_voids_requests_and_boxes(house: House) -> None:
    waiting, opened = await asked(house), await asked(house)
    await approved(house, opened, "bob@R", "carol@R")
    house.policies.current = Policy(roles={ROLE.name: ROLE}, rules=[rule(approval=2, reason="")])
    await house.refused(ApprovalRequired)
    await refusal(NotFound, approved(house, waiting, "bob@R"))
    mine = await house.elevating.desk.listing(house.asking(authorization=token_for("alice@R")))
    assert {described(seen)["state"] for seen in mine} == {"void"}


async def test_a_list_holds_ones_own_and_what_one_may_approve_and_strangers_see_nothing(house: House) -> None:
    identifier = await asked(house)
    listings = {}
    for who in ("alice@R", "bob@R", "mallory@R"):
        found = await house.elevating.desk.listing(house.asking(authorization=token_for(who)))
        listings[who] = [(described(seen)["id"], seen.is_mine, seen.may_decide) for seen in found]
    assert listings == {
        "alice@R": [(identifier, True, False)],
        "bob@R": [(identifier, False, True)],
        "mallory@R": [],
    }
    shown = await house.elevating.desk.show(house.asking(authorization=token_for("bob@R")), identifier)
    assert described(shown)["reason"] == WANTED.reason
    unknown = house.elevating.desk.show(house.asking(authorization=token_for("mallory@R")), identifier)
    none = house.elevating.desk.show(house.asking(authorization=token_for("alice@R")), "0" * 32)
    assert await refusal(NotFound, unknown) == await refusal(NotFound, none)


async def test_a_reason_and_a_time_must_fit_the_rule() -> None:
    house = House(rule(approval=1, reason="INC-[0-9]+", time_box=30 * MINUTE))
    assert await refusal(ApprovalRequired, asked(house, wanted=replace(WANTED, reason="please"))) == "reason_unfit"
    for wrong in (31 * MINUTE, 19 * MINUTE):
        assert await refusal(BadRequest, asked(house, wanted=replace(WANTED, duration=wrong))) == "time_box"
    assert described(await approved(house, await asked(house), "bob@R"))["duration"] == 1800


async def test_nobody_fills_the_store_with_requests(house: House) -> None:
    for _ in range(10):
        identifier = await asked(house)
    assert await refusal(BadRequest, asked(house)) == "too_many_requests"
    await denied(house, identifier, "alice@R")
    await asked(house)


async def test_who_asks_and_withdraws_pushes_nobody_else_s_out_of_the_list(house: House) -> None:
    for _ in range(50):
        house.clock.moment += timedelta(seconds=60)
        await denied(house, await asked(house), "alice@R")
    assert await refusal(BadRequest, asked(house)) == "too_many_requests"


async def test_a_reason_is_stated_each_time_also_where_credentials_are_at_hand() -> None:
    house = House(rule(reason="INC-[0-9]+"))
    await house.ask(reason="INC-1")
    assert (await house.refused(ApprovalRequired)).reason == "reason_missing"
    assert (await house.refused(ApprovalRequired, reason="why not")).reason == "reason_unfit"
    await house.ask(reason="INC-2")
    assert house.sts.calls == 1
    said = [event.details.get("stated_reason") for event in house.audit.events]
    assert said == ["INC-1", "INC-1", None, "why not", "INC-2"]


async def test_a_store_that_does_not_answer_refuses_with_503(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    await approved(house, await asked(house), "bob@R", "carol@R")

    async def down(*_: Any, **__: Any) -> None:
        raise ApprovalsUnavailable("ConnectionError")

    for name in ("of", "get", "add"):
        monkeypatch.setattr(house.elevating.store, name, down)
    await house.refused(ApprovalsUnavailable)
    await refusal(ApprovalsUnavailable, asked(house))
