"""A configuration read in a process of its own, for a broker that goes on serving.

A hundred thousand rules take seconds to read, and whoever reads them in the broker's process holds up everybody there. So the
broker starts this one, says on its standard input which file and with which environment (which is not this process's own, where
others could see it), and gets the policy back in pieces that it can take in between two requests.
"""

from __future__ import annotations

import itertools
import json
import pickle
import struct
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from broker.assembly.admission import admission_of
from broker.assembly.resolver import VaultResolver
from broker.authz.admission import Admission
from broker.authz.policy import Policy
from broker.config.load import load
from broker.config.restart import digests
from broker.core import collector
from broker.core.errors import ConfigurationError
from broker.core.roles import Role, RoleName
from broker.core.rule import Rule
from broker.core.secret_rule import SecretRule

# About two milliseconds of the broker's time.
_RULES_AT_ONCE = 100

LENGTH = struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class Refused:
    """Every problem of the file, a line each."""

    problems: list[str]


@dataclass(frozen=True, slots=True)
class Found:
    """What comes before the rules about roles, which follow in lists; an empty one ends them."""

    roles: dict[RoleName, Role]
    secret_rules: list[SecretRule]
    groups: frozenset[str]
    admission: Admission
    fingerprint: str
    digests: dict[str, str]


def answer(question: bytes) -> Iterator[Refused | Found | list[Rule]]:
    """Everything that the broker is told, in its order. ``question`` is JSON: ``config`` and ``environ``."""
    asked = json.loads(question)
    try:
        settings = load(Path(asked["config"]), environ=asked["environ"], resolver=VaultResolver())
    except ConfigurationError as error:
        yield Refused(error.problems)
        return
    roles, rules, secret_rules = dict(settings.roles), settings.grants, settings.secret_rules
    yield Found(
        roles=roles,
        secret_rules=secret_rules,
        groups=settings.groups_that_count,
        admission=admission_of(settings),
        fingerprint=Policy(roles=roles, rules=rules, secret_rules=secret_rules).fingerprint(),
        digests=digests(settings),
    )
    yield from _batches(rules)
    yield []


def _batches(rules: Iterable[Rule]) -> Iterator[list[Rule]]:
    remaining = iter(rules)
    while batch := list(itertools.islice(remaining, _RULES_AT_ONCE)):
        yield batch


def _send(piece: object, to: BinaryIO) -> None:
    packed = pickle.dumps(piece)
    to.write(LENGTH.pack(len(packed)) + packed)


def main() -> None:
    """Answer one question."""
    with collector.paused():
        for piece in answer(sys.stdin.buffer.read()):
            _send(piece, sys.stdout.buffer)
    sys.stdout.buffer.flush()
