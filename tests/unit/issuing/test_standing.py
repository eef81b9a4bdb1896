"""What people see of their own, and end of it: never anything of others, and never less ended than was asked for."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from broker.authn.roll import MOST, Kind
from broker.authn.roll_store import Unanswered
from broker.core.errors import AuthFailed, AuthRequired, PassRefused
from broker.core.principal import NameType, Principal
from broker.issuing.ask import Ask
from tests.unit.issuing.test_issue import HOUR, House, token_for

ALICE, BOB = "alice@R", "bob@R"


@pytest.fixture
async def house() -> House:
    return House()


def by_ticket(house: House, who: str = ALICE) -> Ask:
    return house.asking(authorization=token_for(who))


async def cookie_of(house: House, who: str = ALICE) -> Ask:
    """A request that shows a new session."""
    made = await house.front_desk.open_session(by_ticket(house, who))
    return house.asking(cookie=made.value.reveal())


# ---- sessions ----


async def test_somebody_sees_their_live_sessions_with_the_one_they_show_marked(house: House) -> None:
    first = await cookie_of(house)
    house.clock.moment += timedelta(minutes=1)
    second = await cookie_of(house)
    seen = await house.front_desk.sessions(first)
    assert seen.is_complete
    newest, oldest = seen.items
    assert (newest.is_current, oldest.is_current) == (False, True)
    assert (oldest.kind, oldest.address) == ("browser", "127.0.0.1")
    assert newest.made - oldest.made == timedelta(minutes=1)
    assert oldest.ends == oldest.made + 10 * HOUR
    assert [each.is_current for each in (await house.front_desk.sessions(second)).items] == [True, False]
    assert [each.is_current for each in (await house.front_desk.sessions(by_ticket(house))).items] == [False, False]


async def test_nobody_sees_another_s_whoever_they_are_to_a_careless_reader(house: House) -> None:
    mine = await cookie_of(house)
    for other in (BOB, "Alice@R", "alice@r", "alice/admin@R", "alice@R2", "alice\\/admin@R"):
        assert (await house.front_desk.sessions(by_ticket(house, other))).items == []
    assert len((await house.front_desk.sessions(mine)).items) == 1
    of_another_type = Principal(("alice",), "R", NameType.SRV_INST)
    assert (await house.roll.of(of_another_type, Kind.SESSION)).notes == ()


async def test_a_session_that_is_over_ended_or_of_before_a_revocation_is_not_shown(house: House) -> None:
    first, second = await cookie_of(house), await cookie_of(house)
    await house.front_desk.end_session(first)
    assert [each.is_current for each in (await house.front_desk.sessions(second)).items] == [True]
    house.clock.moment += 10 * HOUR
    assert (await house.front_desk.sessions(by_ticket(house))).items == []
    await cookie_of(house)
    await house.front_desk.end_all(by_ticket(house))
    assert (await house.front_desk.sessions(by_ticket(house))).items == []


async def test_a_session_is_ended_by_its_id_and_only_ones_own(house: House) -> None:
    here, there = await cookie_of(house), await cookie_of(house)
    elsewhere = next(each for each in (await house.front_desk.sessions(here)).items if not each.is_current)
    await house.front_desk.end(by_ticket(house, BOB), elsewhere.id)
    assert len((await house.front_desk.sessions(here)).items) == 2, "bob's word ends nothing of alice's"
    await house.front_desk.end(here, elsewhere.id)
    with pytest.raises(AuthFailed):
        await house.front_desk.sessions(there)
    assert [each.is_current for each in (await house.front_desk.sessions(here)).items] == [True]
    record = next(event for event in reversed(house.audit.events) if event.action == "end_session")
    assert (record.kind, str(record.principal), record.details["session_id"]) == ("session_ended", ALICE, elsewhere.id)


async def test_a_session_that_nobody_noted_is_shown_to_its_holder_and_ends_by_its_id(house: House) -> None:
    broken = Broken(house)
    mine = await cookie_of(house)
    seen = await house.front_desk.sessions(mine)
    assert not seen.is_complete
    assert [(each.kind, each.address, each.is_current) for each in seen.items] == [("browser", None, True)]
    await house.front_desk.end(by_ticket(house), seen.items[0].id)
    broken.mend()
    with pytest.raises(AuthFailed):
        await house.front_desk.sessions(mine)


async def test_all_of_somebody_s_end_at_once_the_one_they_show_too_and_nobody_else_s(house: House) -> None:
    mine, bobs = [await cookie_of(house), await cookie_of(house)], await cookie_of(house, BOB)
    await house.front_desk.end_all(mine[0])
    assert house.audit.events[-1].kind == "session_ended"
    for one in mine:
        with pytest.raises(AuthFailed):
            await house.front_desk.sessions(house.asking(cookie=one.cookie))
    assert len((await house.front_desk.sessions(bobs)).items) == 1
    # A ticket makes new ones.
    assert len((await house.front_desk.sessions(await cookie_of(house))).items) == 1


async def test_of_ever_so_many_sessions_so_many_are_kept_and_the_others_end_all_the_same(house: House) -> None:
    principal = Principal.parse(ALICE)
    first = await cookie_of(house)
    for _ in range(MOST[Kind.SESSION] + 20):
        made = house.front_desk._sessions.for_browser(
            (await house.front_desk.standing(first, action="whoami")).identity
        )
        assert made is not None
        await house.front_desk._note(first.identity, made, first.opened.unopened.kind, first)  # type: ignore[arg-type, union-attr]
        house.clock.moment += timedelta(minutes=2)
    assert len((await house.roll.of(principal, Kind.SESSION)).notes) == MOST[Kind.SESSION]
    seen = await house.front_desk.sessions(first)
    assert len(seen.items) == MOST[Kind.SESSION] + 1, "the one that is shown is there whatever is noted"
    await house.front_desk.end_all(first)
    with pytest.raises(AuthFailed):
        await house.front_desk.sessions(house.asking(cookie=first.cookie))


@pytest.mark.parametrize("way", ["sessions", "passes", "recents"])
async def test_whoever_is_nobody_or_shows_a_pass_sees_nothing(house: House, way: str) -> None:
    with pytest.raises(AuthRequired):
        await getattr(house.front_desk, way)(house.asking())
    with pytest.raises(PassRefused):
        await getattr(house.front_desk, way)(house.asking(authorization="ztpass_x"))
    assert [event.success for event in house.audit.events] == [False]


class Broken:
    """A store that does not answer."""

    def __init__(self, house: House) -> None:
        self._roll = house.roll
        self._store, house.roll._store = house.roll._store, self

    def mend(self) -> None:
        self._roll._store = self._store

    async def note(self, *_: Any, **__: Any) -> None:
        raise Unanswered

    async def of(self, *_: Any, **__: Any) -> Any:
        raise Unanswered


# ---- recent uses ----


async def test_somebody_sees_what_they_had_lately_the_latest_first_and_what_was_refused_is_no_use(house: House) -> None:
    await house.ask(reason="CHG-1")
    house.clock.moment += timedelta(minutes=1)
    await house.refused(Exception, role="root")
    (use,) = (await house.front_desk.recents(by_ticket(house))).items
    assert (use.role, use.scope, use.how, use.via, use.address) == (
        "developer",
        None,
        "credentials",
        "ticket",
        "127.0.0.1",
    )
    assert use.at == house.clock.moment - timedelta(minutes=1)
    assert (await house.front_desk.recents(by_ticket(house, BOB))).items == []
    await house.uses.write()
    assert (await house.front_desk.recents(by_ticket(house))).items == [use]
    house.clock.moment += timedelta(days=7)
    assert (await house.front_desk.recents(by_ticket(house))).items == []


async def test_a_role_that_is_asked_for_all_the_time_is_noted_once_in_a_while(house: House) -> None:
    written = []
    note = house.roll.note

    async def counted(*args: Any) -> bool:
        written.append(args)
        return await note(*args)

    house.roll.note = counted  # type: ignore[method-assign]
    for _ in range(10):
        await house.ask()
        await house.uses.write()
        house.clock.moment += timedelta(seconds=45)
    assert len(written) == 2, "of seven and a half minutes"
    assert len((await house.front_desk.recents(by_ticket(house))).items) == 1


async def test_nobody_waits_for_a_note_of_a_use_and_no_failure_of_one_is_theirs(house: House) -> None:
    Broken(house)
    assert (await house.ask()).access_key_id
    await house.uses.write()
    seen = await house.front_desk.recents(by_ticket(house))
    assert (seen.items, seen.is_complete) == ([], False)


async def test_nobody_waits_at_the_page_for_notes_of_others_and_sees_their_own_that_are_not_written_yet(
    house: House,
) -> None:
    hung = asyncio.Event()

    async def note(*_: Any, **__: Any) -> None:
        await hung.wait()

    house.roll.note = note  # type: ignore[method-assign]
    await house.ask()
    writing = asyncio.ensure_future(house.uses.write())
    await asyncio.sleep(0)
    async with asyncio.timeout(20):
        while_written = await house.front_desk.recents(by_ticket(house))
        others = await house.front_desk.recents(by_ticket(house, BOB))
    assert [use.role for use in while_written.items] == ["developer"]
    assert others.items == []
    hung.set()
    await writing
    # This store took nothing, so nothing is shown that is not there.
    assert (await house.front_desk.recents(by_ticket(house))).items == []


# ---- everything at once ----


async def test_a_page_gets_everything_for_one_ticket_and_a_cookie_that_is_among_the_sessions(house: House) -> None:
    await house.ask()
    found = await house.overviews.of(by_ticket(house))
    assert found.cookie is not None
    assert [(offer.role.name, offer.verdict) for offer in found.offers] == [("developer", "allowed")]
    assert [each.is_current for each in found.belongings.sessions.items] == [True]
    assert [use.role for use in found.belongings.recents.items] == ["developer"]
    assert sum(event.action == "open_page" for event in house.audit.events) == 1
