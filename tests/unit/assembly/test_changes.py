"""The record of a reload says what changed, by name."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from broker.assembly.changes import changes
from broker.authz.policy import Policy
from broker.core.roles import Role, RoleName
from broker.core.rule import Rule
from tests.unit.authz.test_session_tags import ROLE, rule


def role(name: str) -> Role:
    return replace(ROLE, name=RoleName(name))


def policy(*parts: Role | Rule) -> Policy:
    roles = {part.name: part for part in parts if isinstance(part, Role)}
    return Policy(roles=roles, rules=[part for part in parts if isinstance(part, Rule)])


ONE, TWO, THREE = (rule(name=name, principals=[f"{name}@R"]) for name in ("one", "two", "three"))


async def test_what_came_went_and_changed_is_named() -> None:
    old = policy(role("kept"), role("gone"), role("bent"), ONE, TWO)
    bent = replace(role("bent"), duration=timedelta(minutes=30))
    new = policy(role("kept"), bent, role("new"), replace(ONE, groups=("R\\dev",)), THREE)
    assert await changes(old, new) == {
        "roles_added": ["new"],
        "roles_removed": ["gone"],
        "roles_changed": ["bent"],
        "rules_added": ["three"],
        "rules_removed": ["two"],
        "rules_changed": ["one"],
    }


async def test_what_stays_is_not_named_and_an_order_is_a_change() -> None:
    assert await changes(policy(ROLE, ONE, TWO), policy(ROLE, ONE, TWO)) == {}
    assert await changes(policy(ROLE, ONE, TWO), policy(ROLE, TWO, ONE)) == {"rules_reordered": True}


async def test_a_record_of_many_changes_holds_fifty_names_and_their_number() -> None:
    many = [rule(name=f"r{number}") for number in range(1200)]
    found = await changes(policy(ROLE), policy(ROLE, *many))
    assert (len(found["rules_added"]), found["rules_added_number"]) == (50, 1200)
