"""Everybody whom two policies can tell apart, a finite number of them, each standing for all who fare alike.

Access is a union: of the rules that name somebody's principal and of those that name one of their groups; a rule asks for nothing
that having more groups or indicators takes away. So two policies give the same people the same roles if they do so for each named
principal, for somebody new under each wildcard, and for a stranger in each group alone; from the ends of each network, with one
indicator or none, and at each age that a rule draws a line at.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from ipaddress import IPv4Address, IPv6Address

from broker.authz.supposed import Supposed, SupposedEvidence
from broker.core.pattern import WILDCARD, PrincipalPattern
from broker.core.principal import Principal
from broker.core.rule import LEFT, Address, Network, Rule

# Longer than any rule's limit: somebody who logged in, or gave a job a pass, in times gone by.
_EVER = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class Kind:
    """People who are named alike: ``text`` as rules write it, ``example`` one of them."""

    text: str
    example: Supposed


def kinds(rules: Iterable[Rule]) -> Iterator[Kind]:
    """One for each principal, wildcard and group that the rules name, in the order of their names."""
    patterns: set[PrincipalPattern] = set()
    groups: set[str] = set()
    for rule in rules:
        patterns.update(rule.principals)
        groups.update(rule.groups)
    parts = {part for pattern in patterns for part in (*pattern.components, pattern.realm)}
    stranger = next(name for name in _unused("somebody") if name not in parts)
    for pattern in sorted(patterns, key=str):
        principal = Principal(
            tuple(stranger if part == WILDCARD else part for part in pattern.components), pattern.realm
        )
        yield Kind(str(pattern), Supposed(principal))
    for group in sorted(groups):
        yield Kind(f"group {group}", Supposed(Principal((stranger,), stranger), groups=frozenset({group})))


def circumstances(example: Supposed, rules: Iterable[Rule]) -> Iterator[Supposed]:
    """The same one in every circumstance that one of these rules tells from another."""
    concerned = list(rules)
    indicators = sorted({indicator for rule in concerned for indicator in rule.require.indicators})
    ages = _lines(rule.require.max_ticket_age for rule in concerned)
    bound = (False, True) if any(rule.require.channel_binding for rule in concerned) else (False,)
    jobs = (None, *_lines(rule.job_passes for rule in concerned if rule.job_passes is not None))
    addresses = list(_ends(network for rule in concerned for network in rule.networks))
    shown = list(_evidence(concerned))
    for address, indicator, age, is_bound, job, evidence in itertools.product(
        addresses, (None, *indicators), ages, bound, jobs, shown
    ):
        yield replace(
            example,
            address=address,
            indicators=frozenset() if indicator is None else frozenset({indicator}),
            age=age,
            bound=is_bound,
            job=job,
            evidence=evidence,
        )


def _evidence(rules: list[Rule]) -> Iterator[SupposedEvidence]:
    """Nothing, and whatever these rules ask for beside a ticket, each alone: none is in another's way."""
    yield SupposedEvidence()
    if any(rule.require.reason is not None and not rule.require.needs_box for rule in rules):
        yield SupposedEvidence(any_reason=True)
    if any(rule.require.approval for rule in rules):
        yield SupposedEvidence(approved=True)
    if any(rule.require.break_glass for rule in rules):
        yield SupposedEvidence(broken=True)


def _lines(limits: Iterable[timedelta | None]) -> list[timedelta]:
    """Just within each limit, at once, and long ago, the most lenient circumstance first."""
    within = {limit - LEFT for limit in limits if limit is not None}
    return sorted({timedelta(0), *within} | ({_EVER} if within else set()))


def _ends(networks: Iterable[Network]) -> Iterator[Address | None]:
    """A local socket, which is None, and an address of each kind: two in the same networks are of one kind."""
    yield None
    networks = set(networks)
    kinds: dict[frozenset[Network], Address] = {}
    for address in _starts(networks):
        kinds.setdefault(frozenset(network for network in networks if address in network), address)
    yield from kinds.values()


def _starts(networks: Iterable[Network]) -> list[Address]:
    """The first address of each stretch in which no network begins or ends."""
    starts: set[Address] = {IPv4Address(0), IPv6Address(0)}
    for network in networks:
        starts.add(network.network_address)
        behind = int(network.broadcast_address) + 1
        if behind < 1 << network.max_prefixlen:
            starts.add(type(network.network_address)(behind))
    return sorted(starts, key=lambda address: (address.version, int(address)))


def _unused(name: str) -> Iterator[str]:
    yield name
    yield from (f"{name}{number}" for number in itertools.count(2))
