"""What somebody who is refused was near to: a slip of case, realm or instance, told to the operator and never acted upon."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator

from broker.core.identity import Identity
from broker.core.pattern import PrincipalPattern
from broker.core.principal import Principal
from broker.core.roles import RoleName
from broker.core.rule import Rule

# difflib's ratio: "develper" is near to "developer" (0.94), "admin" is not to "readonly" (0.15).
_NEAR = 0.8


def near_roles(role: RoleName, roles: Iterable[RoleName]) -> list[str]:
    """For a role that does not exist: the name that may have been meant."""
    found = difflib.get_close_matches(role.lower(), {name.lower(): name for name in roles}, n=1, cutoff=_NEAR)
    return [f"there is a role {name}" for name in roles if found and name.lower() == found[0]][:1]


def near_misses(identity: Identity, rule: Rule) -> Iterator[str]:
    """For a rule that does not name somebody: what of it nearly does."""
    for pattern in rule.principals:
        difference = _difference(pattern, identity.principal)
        if difference is not None:
            yield f"rule {rule.name} names {pattern}: {difference}"
    folded = {group.casefold(): group for group in identity.groups}
    for group in rule.groups:
        if group.casefold() in folded:
            yield f"rule {rule.name} names the group {group}: case differs from {folded[group.casefold()]}"


def _difference(pattern: PrincipalPattern, principal: Principal) -> str | None:
    here = PrincipalPattern(pattern.components, principal.realm)
    if here.matches(principal):
        return f"the realm differs ({pattern.realm}, not {principal.realm})"
    if str(pattern).casefold() == str(principal).casefold():
        return "upper and lower case differ"
    if pattern.realm != principal.realm:
        return None
    if not pattern.is_literal and _fits(pattern, principal):
        return "a * means people, never a service or machine: name it in full"
    if pattern.is_literal and pattern.components[0] == principal.components[0]:
        return "another instance of the same name"
    return None


def _fits(pattern: PrincipalPattern, principal: Principal) -> bool:
    """Whether it would match a person of this form."""
    pairs = zip(pattern.components, principal.components, strict=False)
    same_length = len(pattern.components) == len(principal.components)
    return same_length and all(wanted in ("*", component) for wanted, component in pairs)
