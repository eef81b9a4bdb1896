"""What a decision costs under a long policy and under a short one: CPU time of ``decide()``, the two in turn."""

from __future__ import annotations

import dataclasses
import gc
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from bench.negotiate import BROKER, Round
from bench.row import Part, compared
from broker.authz.policy import Policy, decide
from broker.authz.supposed import Supposed
from broker.core.pattern import PrincipalPattern
from broker.core.roles import Hop, Role, RoleArn, RoleName
from broker.core.rule import Requirements, Rule

FEW, MANY = 10, 100_000
_DECISIONS = 2000
_NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)
_HERE = ip_address("127.0.0.1")
_ROLES = 10


@dataclass(frozen=True, slots=True)
class Pair:
    """One round: CPU microseconds a decision, with few rules and with many."""

    few_us: float
    many_us: float


def measure(*, rounds: int, chance: random.Random) -> list[Pair]:
    """A round asks for as many different people under both policies, in random order."""
    few, many = _policy(FEW), _policy(MANY)
    gc.freeze()
    found = []
    for _ in range(rounds):
        costs = {}
        for policy, rules in chance.sample([(few, FEW), (many, MANY)], k=2):
            askers = [chance.randrange(rules) for _ in range(_DECISIONS)]
            costs[rules] = _cost(policy, askers)
        found.append(Pair(few_us=costs[FEW], many_us=costs[MANY]))
    return found


def part(grown: Sequence[Pair], rounds: Sequence[Round]) -> Part:
    """The row of goal 8: a measured request, and the difference that the policy makes."""
    row = compared(
        8,
        "the first row's request where the policy has 100,000 rules, against 10: server CPU (decisions timed alone)",
        "us",
        ours=[
            each.ticket[BROKER].cpu_us + pair.many_us - pair.few_us for each, pair in zip(rounds, grown, strict=True)
        ],
        peer=[each.ticket[BROKER].cpu_us for each in rounds],
        goal=1.20,
    )
    return Part([row], [dataclasses.asdict(each) for each in grown])


def _cost(policy: Policy, askers: list[int]) -> float:
    asked = [
        (Supposed(Supposed.named(f"user{number}@EXAMPLE.COM")).identity(now=_NOW), RoleName(f"role{number % _ROLES}"))
        for number in askers
    ]
    started = time.process_time()
    for identity, role in asked:
        decide(policy, identity=identity, role=role, address=_HERE, now=_NOW)
    return (time.process_time() - started) / len(asked) * 1_000_000


def _policy(rules: int) -> Policy:
    roles = {role.name: role for role in map(_role, range(_ROLES))}
    return Policy(
        roles=roles,
        rules=[
            Rule(
                name=f"rule{number}",
                principals=(PrincipalPattern.parse(f"user{number}@EXAMPLE.COM"),),
                groups=(f"EXAMPLE.COM\\team{number}",),
                networks=(),
                require=Requirements(),
                roles=frozenset({RoleName(f"role{number % _ROLES}")}),
            )
            for number in range(rules)
        ],
    )


def _role(number: int) -> Role:
    hop = Hop(arn=RoleArn.parse(f"arn:aws:iam::111122223333:role/R{number}"), external_id="x-1")
    return Role(name=RoleName(f"role{number}"), chain=(hop,), duration=timedelta(hours=1))
