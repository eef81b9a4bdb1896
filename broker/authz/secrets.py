"""Who may do what with which secret. Pure; ``permit()`` is the only maker of a ``Permit``.

The first rule, in the order of the file, that names the asker, the address, the path and the action, and whose requirements are
met, allows it. There are no deny rules, so adding one never takes anything away, and without one nobody may do anything.
Whether there is such a secret is not asked here: the answer cannot tell it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from broker.core.elevation import fits
from broker.core.errors import AccessDenied, ApprovalRequired, BrokerError, DirectoryUnavailable, StepUpRequired
from broker.core.identity import Identity
from broker.core.rule import Address
from broker.core.secret_rule import Action, SecretRule

# A secret is read and done with: nothing of the ticket has to be left afterwards.
_NOTHING_LEFT = timedelta(0)


@dataclass(frozen=True, slots=True)
class Permit:
    """One thing that somebody may do with one secret now, by a rule."""

    path: str
    action: Action
    rule: str


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, from where, when, and why in their own words."""

    identity: Identity
    address: Address | None
    now: datetime
    reason: str | None = None


def permit(rules: Iterable[SecretRule], caller: Caller, *, path: str, action: Action) -> Permit:
    """Allow one thing.

    Raises:
        AccessDenied: No rule allows it.
        StepUpRequired: A rule would, with a stronger or fresher ticket.
        ApprovalRequired: A rule would, with a reason.
        DirectoryUnavailable: No rule does without a group, and which groups they are in is unknown.
    """
    found = _met(_naming((rule for rule in rules if rule.covers(path, action)), caller), caller)
    return Permit(path=path, action=action, rule=found[0].name)


def visible_below(rules: Iterable[SecretRule], caller: Caller, *, prefix: str) -> tuple[str, Callable[[str], bool]]:
    """The first rule by which somebody may list secrets below a prefix, and which of them they may. Raises like ``permit``."""
    found = _met(_naming((rule for rule in rules if rule.covers_below(prefix, Action.LIST)), caller), caller)
    return found[0].name, partial(_is_covered, found)


def _is_covered(rules: Sequence[SecretRule], path: str) -> bool:
    return any(rule.covers(path, Action.LIST) for rule in rules)


def _naming(rules: Iterable[SecretRule], caller: Caller) -> Sequence[SecretRule]:
    return [rule for rule in rules if rule.names(caller.identity) and rule.allows_from(caller.address)]


def _met(rules: Sequence[SecretRule], caller: Caller) -> Sequence[SecretRule]:
    """Those whose requirements are met, at least one; else what is in the way is raised."""
    hindrances = [(rule, _hindrance(rule, caller)) for rule in rules]
    met = [rule for rule, hindrance in hindrances if hindrance is None]
    if met:
        return met
    for _, hindrance in hindrances:
        if hindrance is not None:
            raise hindrance
    if caller.identity.groups_unknown is not None:
        raise DirectoryUnavailable(reason=caller.identity.groups_unknown)
    raise AccessDenied(reason="no_secret_rule")


def _hindrance(rule: SecretRule, caller: Caller) -> BrokerError | None:
    needed = rule.require.unmet(caller.identity, now=caller.now, left=_NOTHING_LEFT)
    if needed is not None:
        return StepUpRequired(
            reason="ticket_too_weak", hint=f"this secret needs {needed}: run zerotrust login in that way"
        )
    wanted = rule.require.reason
    if wanted is None or (caller.reason is not None and fits(wanted, caller.reason)):
        return None
    given = "reason_missing" if caller.reason is None else "reason_unfit"
    hint = f"this secret needs {rule.require.reason_in_words()}: give it with --reason, or as ?reason="
    return ApprovalRequired(reason=given, hint=hint)
