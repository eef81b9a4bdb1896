"""What the page shows, put in the order in which people look for it: by account, with what they can do about each role."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from broker.issuing.boxes import Seen
from broker.issuing.overview import Offer, Overview

# Characters of what somebody looks for.
QUERY_MAX = 64


@dataclass(frozen=True, slots=True)
class Card:
    """A role, and requests of this person's for it that wait, or that opened one of its scopes."""

    offer: Offer
    waiting: list[Seen]
    opened: list[Seen]

    @property
    def words(self) -> str:
        """What it is found by."""
        role = self.offer.role
        return f"{role.name} {role.target.account} {role.account_alias or ''} {role.target.name}".lower()


@dataclass(frozen=True, slots=True)
class Account:
    """An AWS account and the roles in it; ``number`` is all there is to call it by where there is no ``alias``."""

    number: str
    alias: str | None
    cards: list[Card]


def accounts(overview: Overview, *, query: str) -> list[Account]:
    """By name, then by number; those of their roles that are looked for."""
    found: dict[str, Account] = {}
    for offer in overview.offers:
        card = _card(offer, overview.requests or ())
        if all(word in card.words for word in query.lower().split()):
            role = offer.role
            account = found.setdefault(role.target.account, Account(role.target.account, role.account_alias, []))
            account.cards.append(card)
    return sorted(found.values(), key=lambda account: (account.alias is None, account.alias or "", account.number))


def _card(offer: Offer, requests: Iterable[Seen]) -> Card:
    own = [seen for seen in requests if seen.is_mine and seen.standing.request.role == offer.role.name]
    return Card(
        offer=offer,
        waiting=[seen for seen in own if _is(seen, "pending")],
        opened=[seen for seen in own if _is(seen, "open") and offer.box is None],
    )


def to_decide(overview: Overview) -> list[Seen]:
    """What waits for this person to say yes or no."""
    return [seen for seen in overview.requests or () if seen.may_decide and _is(seen, "pending")]


def own(overview: Overview) -> list[Seen]:
    """What this person asked for, the latest first."""
    return [seen for seen in overview.requests or () if seen.is_mine]


def decided(overview: Overview) -> list[Seen]:
    """What others asked for and have now: whoever may approve it may end it."""
    return [seen for seen in overview.requests or () if seen.may_decide and _is(seen, "open")]


def _is(seen: Seen, state: str) -> bool:
    return seen.standing.state.value == state
