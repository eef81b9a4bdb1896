"""A page of somebody with very many roles and requests holds nobody else up for long."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

from broker.authz.elevation import State
from broker.core.principal import Principal
from broker.core.roles import RoleName
from broker.issuing.boxes import Seen
from broker.web.portal import view
from tests.unit.web.test_portal import OFFER, ROLE, answered, overview_of, request_of

ALICE = Principal(("alice",), "R")
MANY = [replace(OFFER, role=replace(ROLE, name=RoleName(f"role-{number}"))) for number in range(300)]


async def test_others_are_served_between_the_pieces_of_a_long_page() -> None:
    writing = asyncio.ensure_future(answered(overview_of(ALICE, *MANY)))
    turns = 0
    while not writing.done():
        await asyncio.sleep(0)
        turns += 1
    html = (await writing).text or ""
    assert html.count('<li class="role"') == len(MANY)
    assert turns > 5


def test_requests_are_gone_through_a_few_times_and_not_once_for_each_role() -> None:
    class Counted(list[Seen]):
        looks = 0

        def __iter__(self) -> Iterator[Seen]:
            self.looks += 1
            return super().__iter__()

    requests = Counted([request_of(State.PENDING, is_mine=mine) for mine in (True, False)])
    accounts = view.accounts(overview_of(ALICE, OFFER, *MANY, requests=requests), query="")
    assert sum(len(card.waiting) for account in accounts for card in account.cards) == 1
    assert requests.looks < 10
