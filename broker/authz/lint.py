"""What is suspicious about a policy that is valid. Each finding can be shown to be so, and is no matter of taste."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from broker.authz.everybody import kinds
from broker.authz.policy import Policy
from broker.core.elevation import person_named
from broker.core.roles import RoleName
from broker.core.rule import Network, Requirements, Rule
from broker.core.tags import Placeholder, group_text

# Credentials are renewed with twenty minutes left: a role of less than this is fetched from AWS every few minutes.
_SHORT = timedelta(minutes=30)
# Of one person and role; beyond, each would have to be compared with each.
_COMPARED_MAX = 300


class Severity(StrEnum):
    """An error is hardly ever meant."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """``code`` is a stable word, ``where`` a rule or role."""

    severity: Severity
    code: str
    where: str
    what: str


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What of the rest of the configuration a policy is judged by; None where it sets no bounds.

    ``tells_people``: whether an alarm reaches anybody (``security.breach_notification``).
    """

    accounts: frozenset[str] | None
    networks: Sequence[Network] | None
    tells_people: bool = True


def lint(policy: Policy, *, around: Surroundings, now: datetime) -> list[Finding]:
    """Every finding, errors first."""
    found = itertools.chain(
        _never_match(policy, around),
        _covered(policy, now),
        itertools.chain.from_iterable(map(_within, policy.rules)),
        _roles(policy),
        _tags(policy),
        itertools.chain.from_iterable(map(_approvers, policy.rules)),
        _glass(policy, around),
        _accounts(around),
    )
    return sorted(found, key=lambda finding: (finding.severity, finding.code))


def _never_match(policy: Policy, around: Surroundings) -> Iterator[Finding]:
    """Rules that hold for nobody, whoever asks."""
    for rule in policy.rules:
        for pattern in rule.principals:
            if not pattern.is_literal and any("." in part for part in pattern.components[1:]):
                what = f"{pattern} matches nobody: a * means people, and behind the slash stands a host's name"
                yield Finding(Severity.ERROR, "matches-nobody", f"rule {rule.name}", what)
        outside = (
            around.networks
            and rule.networks
            and not any(
                mine.version == theirs.version and mine.overlaps(theirs)
                for mine in rule.networks
                for theirs in around.networks
            )
        )
        if outside:
            what = "none of its networks overlaps server.allowed_networks: nobody gets as far"
            yield Finding(Severity.ERROR, "never-matches", f"rule {rule.name}", what)


def _covered(policy: Policy, now: datetime) -> Iterator[Finding]:
    """Rules that another makes superfluous, and those whose demands another takes back from the same people."""
    places = {rule.name: place for place, rule in enumerate(policy.rules)}
    needed: set[str] = set()
    bypassed: dict[tuple[str, str, RoleName], list[str]] = {}
    covers: dict[str, str] = {}
    for kind in kinds(policy.rules):
        named = policy.rules_naming(kind.example.identity(now=now))
        for role in sorted({role for rule in named for role in rule.roles}):
            rules = [rule for rule in named if role in rule.roles]
            if len(rules) > _COMPARED_MAX:
                what = f"{len(rules)} rules give {kind.text} the role {role}: they are not compared with each other"
                yield Finding(Severity.WARNING, "not-compared", f"role {role}", what)
                needed.update(rule.name for rule in rules)
                continue
            for rule in rules:
                wider = [other for other in rules if other is not rule and _is_wider(other, rule, places)]
                weaker = [other for other in wider if other.require != rule.require]
                if weaker:
                    bypassed.setdefault((rule.name, weaker[0].name, role), []).append(kind.text)
                if wider:
                    covers.setdefault(rule.name, wider[0].name)
                else:
                    needed.add(rule.name)
    for (name, other, role), people in bypassed.items():
        what = f"what it asks for role {role}, rule {other} does not ask: {_few(people)}"
        yield Finding(Severity.ERROR, "step-up-bypassed", f"rule {name}", what)
    for rule in policy.rules:
        if rule.name not in needed and rule.name in covers and not any(key[0] == rule.name for key in bypassed):
            what = f"it gives nothing that others do not give as well, such as rule {covers[rule.name]}"
            yield Finding(Severity.WARNING, "no-effect", f"rule {rule.name}", what)


def _is_wider(other: Rule, rule: Rule, places: dict[str, int]) -> bool:
    """Whether the other gives whoever both name whatever this one gives; of two that are alike, the earlier does."""
    if not (_reaches(other.networks, rule.networks) and _asks_no_more(other.require, rule.require)):
        return False
    if other.require.approval and other.approvers != rule.approvers:
        return False
    if rule.job_passes is not None and (other.job_passes is None or other.job_passes < rule.job_passes):
        return False
    is_alike = (
        _reaches(rule.networks, other.networks)
        and _asks_no_more(rule.require, other.require)
        and rule.job_passes == other.job_passes
        and rule.approvers == other.approvers
    )
    return not is_alike or places[other.name] < places[rule.name]


def _reaches(wide: Sequence[Network], narrow: Sequence[Network]) -> bool:
    return not wide or (bool(narrow) and all(any(_contains(one, other) for one in wide) for other in narrow))


def _contains(wide: Network, narrow: Network) -> bool:
    return wide.version == narrow.version and (
        int(wide.network_address) <= int(narrow.network_address)
        and int(narrow.broadcast_address) <= int(wide.broadcast_address)
    )


def _asks_no_more(less: Requirements, more: Requirements) -> bool:
    indicators = not less.indicators or (bool(more.indicators) and more.indicators <= less.indicators)
    age = less.max_ticket_age is None or (
        more.max_ticket_age is not None and more.max_ticket_age <= less.max_ticket_age
    )
    reason = less.reason in (None, more.reason) or (less.reason == "" and (more.reason is not None or more.needs_box))
    # Glass is broken where nobody approves: neither asks less than the other.
    box = (less.approval <= more.approval and not less.break_glass) or (less.break_glass and more.break_glass)
    box = box and (not less.needs_box or less.time_box >= more.time_box)
    return indicators and age and reason and box and (more.channel_binding or not less.channel_binding)


def _within(rule: Rule) -> Iterator[Finding]:
    """What is superfluous inside one rule."""
    wildcards = [pattern for pattern in rule.principals if not pattern.is_literal]
    for pattern in rule.principals:
        around = [wild for wild in wildcards if wild.names(pattern)]
        if around:
            what = f"{pattern} is among {around[0]} in the same rule"
            yield Finding(Severity.WARNING, "covered-by-wildcard", f"rule {rule.name}", what)
    for network, other in itertools.permutations(rule.networks, 2):
        if network != other and _contains(other, network):
            what = f"{network} lies in {other} of the same rule"
            yield Finding(Severity.WARNING, "network-within-network", f"rule {rule.name}", what)


def _roles(policy: Policy) -> Iterator[Finding]:
    given = {role for rule in policy.rules for role in rule.roles}
    for name, role in sorted(policy.roles.items()):
        where = f"role {name}"
        if name not in given:
            yield Finding(Severity.WARNING, "role-unused", where, "no rule gives it: nobody may have it")
        if role.duration < _SHORT:
            minutes = int(role.duration.total_seconds()) // 60
            what = (
                f"lives {minutes} minutes, and credentials are renewed with 20 left: nearly every request goes to AWS"
            )
            yield Finding(Severity.WARNING, "short-duration", where, what)
        for before, hop in itertools.pairwise(role.chain):
            if before.arn.account != hop.arn.account and hop.external_id is None:
                what = f"{hop.arn.text} is assumed from account {before.arn.account} without an external ID"
                yield Finding(Severity.WARNING, "no-external-id", where, what)


def _tags(policy: Policy) -> Iterator[Finding]:
    """Groups of several realms that one tag does not tell apart."""
    for name, role in sorted(policy.roles.items()):
        vague = [
            tag.key
            for tag in role.tags
            if tag.template.names(Placeholder.GROUP) and not tag.template.names(Placeholder.REALM)
        ]
        groups = {group for rule in policy.rules if name in rule.roles for group in rule.groups}
        for group, other in itertools.combinations(sorted(groups) if vague else (), 2):
            if group_text(group) == group_text(other):
                what = f"{group} and {other} are one to AWS by the tag {vague[0]}: add {{realm}} to it"
                yield Finding(Severity.ERROR, "groups-alike", f"role {name}", what)


def _approvers(rule: Rule) -> Iterator[Finding]:
    """Approvals that can never be had: of a wildcard or a group nobody knows how many there are."""
    wanted, approvers = rule.require.approval, rule.approvers
    if not wanted or approvers.groups or not all(pattern.is_literal for pattern in approvers.principals):
        return
    people = {person_named(pattern.components, pattern.realm) for pattern in approvers.principals}
    askers = [pattern for pattern in rule.principals if pattern.is_literal]
    stuck = [str(one) for one in askers if len(people - {person_named(one.components, one.realm)}) < wanted]
    if stuck or len(people) < wanted:
        for_whom = f", for {_few(stuck)}" if stuck else ""
        what = f"can never be approved{for_whom}: it asks for {wanted} others, and its approvers are {len(people)}"
        yield Finding(Severity.ERROR, "too-few-approvers", f"rule {rule.name}", what)


def _glass(policy: Policy, around: Surroundings) -> Iterator[Finding]:
    for rule in policy.rules:
        if rule.require.break_glass and not around.tells_people:
            what = "its alarm reaches nobody: add security.breach_notification with a channel"
            yield Finding(Severity.WARNING, "break-glass-unheard", f"rule {rule.name}", what)


def _accounts(around: Surroundings) -> Iterator[Finding]:
    if around.accounts is None:
        what = "is not set: a slip in an ARN can lead into any account"
        yield Finding(Severity.WARNING, "any-account", "aws.allowed_accounts", what)


def _few(people: list[str]) -> str:
    return ", ".join(people[:5]) + (f" and {len(people) - 5} more" if len(people) > 5 else "")  # noqa: PLR2004
