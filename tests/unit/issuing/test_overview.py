"""One look at everything of somebody's: by one ticket, with one record, and no more said than asking would say."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from broker.core.errors import ApprovalsUnavailable
from broker.core.pattern import PrincipalPattern
from broker.core.rule import Approvers, Requirements, Rule
from broker.issuing.elevate import Wanted
from broker.issuing.overview import Offer, Overview, Way
from broker.revocation.holds import Holds, Response
from broker.revocation.ledger import Kind, Subject
from tests.unit.issuing.test_issue import ROLE, House, token_for


def rule(name: str = "r", **require: Any) -> Rule:
    return Rule(
        name=name,
        principals=(PrincipalPattern.parse("alice@R"),),
        groups=(),
        networks=(),
        require=Requirements(**require),
        roles=frozenset({ROLE.name}),
        approvers=Approvers(principals=(PrincipalPattern.parse("bob@R"),)),
    )


async def seen_by(house: House, who: str = "alice@R", *, about: str | None = None) -> Overview:
    return await house.overviews.of(house.asking(authorization=token_for(who)), about=about)


async def offer_of(*rules: Rule) -> Offer:
    (offer,) = (await seen_by(House(*rules))).offers
    return offer


async def test_one_look_is_one_use_of_the_ticket_and_one_record_and_brings_a_cookie() -> None:
    house = House()
    overview = await seen_by(house, about="developer")
    assert house.diary == ["shown"]
    assert overview.cookie is not None
    by_cookie = house.asking(cookie=overview.cookie.value.reveal())
    again = await house.overviews.of(by_cookie)
    assert (again.cookie, [offer.verdict for offer in again.offers]) == (None, ["allowed"])


async def test_a_role_says_what_is_missing_and_how_to_get_it() -> None:
    assert (await offer_of(rule())).verdict == "allowed"
    stated = await offer_of(rule(reason="INC-[0-9]+"))
    assert (stated.verdict, stated.reason, stated.approval) == ("approval", "INC-[0-9]+", None)
    weak = await offer_of(rule(indicators=frozenset({"pkinit"})))
    assert (weak.verdict, weak.reason, weak.approval) == ("step_up", None, None)
    assert "a ticket obtained with pkinit" in weak.hint
    boxed = await offer_of(rule(approval=2, time_box=timedelta(hours=2)), rule("glass", break_glass=True))
    assert (boxed.verdict, boxed.reason, boxed.box) == ("approval", None, None)
    assert boxed.approval == Way(longest=timedelta(hours=2), reason=None, approvals=2, approvers="bob@R")
    assert boxed.glass == Way(longest=timedelta(hours=1), reason=None)
    assert [step.total_seconds() / 60 for step in boxed.approval.durations] == [20, 60, 120]


async def test_what_a_hint_says_to_run_can_be_run_as_it_stands() -> None:
    house = House()
    before = (await seen_by(house)).cookie
    assert before is not None
    house.clock.moment += timedelta(minutes=1)
    await Holds(epochs=house.epochs).put("alice@R", Response.STEP_UP, by="watch")
    (alerted,) = (await house.overviews.of(house.asking(cookie=before.value.reveal()))).offers
    weak = await offer_of(rule(indicators=frozenset({"pkinit"})))
    assert (alerted.verdict, weak.verdict) == ("step_up", "step_up")
    commands = [offer.hint.partition(": run ")[2] for offer in (alerted, weak)]
    assert commands == ["zerotrust login", "zerotrust login --step-up developer"]


async def test_an_open_box_opens_the_role_and_says_until_when() -> None:
    house = House(rule(approval=1))
    asked = await house.elevating.desk.ask_for(
        house.asking(authorization=token_for("alice@R")), Wanted(role="developer", scope=None, reason="x")
    )
    seen = await seen_by(house, "bob@R")
    assert [one.may_decide for one in seen.requests or ()] == [True]
    assert seen.asked_for == {ROLE.name: ROLE}
    await house.elevating.desk.approve(house.asking(authorization=token_for("bob@R")), asked.standing.request.id)
    (offer,) = (await seen_by(house)).offers
    assert offer.verdict == "allowed"
    assert offer.box is not None
    assert offer.box.id == asked.standing.request.id


async def test_while_nobody_can_say_what_was_approved_the_other_roles_are_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def away(*_: object) -> None:
        raise ApprovalsUnavailable(reason="redis_away")

    for rules, verdict in (((rule(),), "allowed"), ((rule(approval=1),), "unknown")):
        house = House(*rules)
        monkeypatch.setattr(house.elevating.store, "of", away)
        overview = await seen_by(house)
        assert overview.requests is None
        assert [offer.verdict for offer in overview.offers] == [verdict]


async def test_who_is_held_is_told_and_nobody_else() -> None:
    house = House()
    await Holds(epochs=house.epochs).put("alice@R", Response.HOLD, by="watch")
    held = await seen_by(house, about="developer")
    assert held.held is not None
    assert held.about is not None
    assert held.about.verdict != "allowed"
    assert (await seen_by(house, "bob@R")).held is None


async def test_of_a_role_that_is_not_there_is_said_what_is_said_of_one_for_others() -> None:
    house = House()
    of_none = (await seen_by(house, "bob@R", about="nothing")).about
    of_others = (await seen_by(house, "bob@R", about="developer")).about
    assert of_none is not None
    assert of_others is not None
    assert replace(of_none, role=of_others.role) == of_others
    assert house.audit.events[-1].details["asked_about"] == "developer"


async def test_whoever_was_cut_off_from_one_role_and_asks_about_it_sees_the_page_and_reads_why() -> None:
    house = House()
    await house.epochs.enter([Subject(Kind.CREDENTIALS, "alice@R", ROLE.name)], by="an operator")
    overview = await seen_by(house, about=ROLE.name)
    assert overview.about is not None
    assert (overview.about.verdict, overview.about.why) == ("denied", "revoked")
    assert [offer.verdict for offer in overview.offers] == ["denied"]
