"""What the page shows, put in the order in which people look for it: by account, with what they can do about each role."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from broker.core.elevation import person
from broker.core.roles import RoleName
from broker.issuing.boxes import Seen
from broker.issuing.overview import Offer, Overview

# Characters of what somebody looks for.
QUERY_MAX = 64
# Roles that are repeated above the others, and that one sees at a glance.
RECENTS_MAX = 4


@dataclass(frozen=True, slots=True)
class Card:
    """A role, requests of this person's for it that wait, and scopes of it that such requests opened."""

    offer: Offer
    waiting: list[Seen]
    opened: list[str]

    @property
    def words(self) -> str:
        """What it is found by."""
        role = self.offer.role
        marked = "production" if role.production else ""
        return f"{role.name} {role.target.account} {role.account_alias or ''} {role.target.name} {marked}".lower()

    @property
    def is_ready(self) -> bool:
        """Whether it can be had as it is."""
        return self.offer.verdict == "allowed"


@dataclass(frozen=True, slots=True)
class Account:
    """An AWS account and the roles in it; ``number`` is all there is to call it by where there is no ``alias``."""

    number: str
    alias: str | None
    production: bool
    cards: list[Card]


def accounts(overview: Overview, *, query: str) -> list[Account]:
    """By name, then by number; those of their roles that are looked for."""
    found: dict[str, Account] = {}
    asked: dict[RoleName, list[Seen]] = {}
    for seen in own(overview):
        asked.setdefault(seen.standing.request.role, []).append(seen)
    for offer in overview.offers:
        card = _card(offer, asked.get(offer.role.name, ()))
        if all(word in card.words for word in query.lower().split()):
            role = offer.role
            number = role.target.account
            account = found.setdefault(number, Account(number, role.account_alias, role.production, []))
            account.cards.append(card)
    return sorted(found.values(), key=lambda account: (account.alias is None, account.alias or "", account.number))


def _card(offer: Offer, asked: Sequence[Seen]) -> Card:
    opened = {seen.standing.request.scope for seen in asked if _is(seen, "open")} if offer.box is None else set()
    return Card(
        offer=offer,
        waiting=[seen for seen in asked if _is(seen, "pending")],
        opened=sorted(filter(None, opened)),
    )


@dataclass(frozen=True, slots=True)
class Recent:
    """A role that was used lately, whole or by a scope."""

    card: Card
    scope: str | None


def recents(overview: Overview) -> list[Recent]:
    """What can be had as it is of what was used lately, the latest first; nothing where all roles are in sight anyway."""
    if len(overview.offers) <= RECENTS_MAX:
        return []
    cards = {offer.role.name: _card(offer, ()) for offer in overview.offers}
    used = dict.fromkeys((use.role, use.scope) for use in overview.belongings.recents.items)
    known = [(cards[RoleName(role)], scope) for role, scope in used if role in cards]
    return [Recent(card, scope) for card, scope in known if card.is_ready and _has(card, scope)][:RECENTS_MAX]


def _has(card: Card, scope: str | None) -> bool:
    return scope is None or any(scope == each.name for each in card.offer.role.scopes)


def to_decide(overview: Overview) -> list[Seen]:
    """What waits for this person to say yes or no."""
    return [seen for seen in overview.requests or () if _may_approve(seen) and not _has_approved(overview, seen)]


def own(overview: Overview) -> list[Seen]:
    """What this person asked for, the latest first."""
    return [seen for seen in overview.requests or () if seen.is_mine]


def decided(overview: Overview) -> list[Seen]:
    """What others asked for, and this person approved, or has to know of because it is open: they may end it."""
    found = [seen for seen in overview.requests or () if seen.may_decide and not seen.is_mine]
    return [seen for seen in found if _is(seen, "open") or (_may_approve(seen) and _has_approved(overview, seen))]


def _may_approve(seen: Seen) -> bool:
    return seen.may_decide and _is(seen, "pending")


def _has_approved(overview: Overview, seen: Seen) -> bool:
    return person(overview.identity.principal) in {approval.person for approval in seen.standing.approvals}


def _is(seen: Seen, state: str) -> bool:
    return seen.standing.state.value == state
