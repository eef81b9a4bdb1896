"""What of a policy was changed, by name, for the record of the change; who may have more by it is asked of ``policy diff``.

A long policy is compared bit by bit: everybody else's requests come in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any, TypeVar

from broker.authz.policy import Policy

# Of a policy that was written anew, the beginning and the number say enough.
_NAMED = 50
# Entries looked at before others have their turn, for a millisecond at the most.
_AT_ONCE = 500

_T = TypeVar("_T")


async def changes(old: Policy, new: Policy) -> dict[str, Any]:
    """``roles_added``, ``rules_changed`` and so on, each with up to fifty names; where there are more, ``..._number`` of them.

    What did not change is not in it. Rules that only changed places are ``rules_reordered: true``.
    """
    found = await _changed("roles", old.roles.items(), new.roles.items())
    for what, before, after in (
        ("rules", old.rules, new.rules),
        ("secret_rules", old.secret_rules, new.secret_rules),
    ):
        found |= await _changed(what, ((rule.name, rule) for rule in before), ((rule.name, rule) for rule in after))
    return found


async def _changed(
    what: str, before: Iterable[tuple[str, object]], after: Iterable[tuple[str, object]]
) -> dict[str, Any]:
    known = {name: (place, value) async for place, (name, value) in _slowly(before)}
    added, changed, moved = [], [], False
    async for place, (name, value) in _slowly(after):
        was = known.pop(name, None)
        if was is None:
            added.append(name)
        elif was[1] != value:
            changed.append(name)
        else:
            moved |= was[0] != place
    found: dict[str, Any] = {}
    for how, names in (("added", added), ("removed", list(known)), ("changed", changed)):
        found |= dict(_named(f"{what}_{how}", names))
    if what != "roles" and moved and not (added or known):
        found[f"{what}_reordered"] = True
    return found


async def _slowly(entries: Iterable[_T]) -> AsyncIterator[tuple[int, _T]]:
    for place, entry in enumerate(entries):
        yield place, entry
        if place % _AT_ONCE == _AT_ONCE - 1:
            await asyncio.sleep(0)


def _named(what: str, names: list[str]) -> Iterator[tuple[str, object]]:
    if names:
        yield what, names[:_NAMED]
    if len(names) > _NAMED:
        yield f"{what}_number", len(names)
