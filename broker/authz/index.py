"""Which rules name somebody and give a role, found without reading the others.

The memory is linear in the length of the rules as they are written. A decision looks up each name that somebody goes by (their
own, it with a ``*`` for each component, and each group) and then looks at the fewer of two: the rules of that name, and those
that give the role.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import lru_cache
from typing import Any

from broker.core.identity import Identity
from broker.core.pattern import WILDCARD, PrincipalPattern
from broker.core.roles import RoleName
from broker.core.rule import Rule

# From so many rules of one name on they are kept in a second form, which need not be gone through one by one.
_FEW = 64
# People whose names need not be put together again.
_REMEMBERED = 4096

_Name = tuple[tuple[str, ...], str] | str


class Index:
    """Places of rules, in the order in which they were added."""

    def __init__(self) -> None:
        self._of_name: dict[_Name, list[int] | set[int]] = {}
        self._of_role: dict[RoleName, set[int]] = {}

    def add(self, place: int, rule: Rule) -> None:
        """Take a rule in; what is written twice in it counts once."""
        names: set[_Name] = {(pattern.components, pattern.realm) for pattern in rule.principals}
        for name in names.union(rule.groups):
            self._note(name, place)
        for role in rule.roles:
            self._of_role.setdefault(role, set()).add(place)

    def naming(self, identity: Identity) -> list[int]:
        """The rules that name somebody, in order."""
        return sorted({place for places in self._names_of(identity) for place in places})

    def giving(self, identity: Identity, role: RoleName) -> list[int]:
        """The rules that name somebody and give a role, in order."""
        of_role = self._of_role.get(role, frozenset[int]())
        found: set[int] = set()
        for places in self._names_of(identity):
            if isinstance(places, set):
                found |= places & of_role  # goes through the fewer of the two
            else:
                found.update(place for place in places if place in of_role)
        return sorted(found)

    def remains(self) -> list[dict[Any, Any]]:
        """See ``Policy.remains``."""
        return [self._of_name, self._of_role]

    def _note(self, name: _Name, place: int) -> None:
        places = self._of_name.setdefault(name, [])
        if isinstance(places, set):
            places.add(place)
            return
        places.append(place)
        if len(places) > _FEW:
            self._of_name[name] = set(places)

    def _names_of(self, identity: Identity) -> Iterator[Collection[int]]:
        for group in identity.groups:
            if group in self._of_name:
                yield self._of_name[group]
        principal = identity.principal
        for components in _patterns(principal.components):
            name = (components, principal.realm)
            if name not in self._of_name:
                continue
            # A name that holds a star itself is no pattern's; whom a pattern means is for it to say.
            if WILDCARD not in components or PrincipalPattern(*name).matches(principal):
                yield self._of_name[name]


@lru_cache(maxsize=_REMEMBERED)
def _patterns(own: tuple[str, ...]) -> frozenset[tuple[str, ...]]:
    """The name, and it with a star in each place. Patterns have one star at most (``PrincipalPattern.parse``)."""
    return frozenset({own, *((*own[:place], WILDCARD, *own[place + 1 :]) for place in range(len(own)))})
