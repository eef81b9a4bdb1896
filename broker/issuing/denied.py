"""Which AWS roles deny somebody, how far that is, and in what words an operator is told. Pure."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from broker.core.roles import LONGEST, LONGEST_CHAINED, Role, RoleArn, RoleName

FOREIGN = "another_policy"
NO_ROLE = "no_such_role"

# What the reasons mean, with what to do. Those of STS speak of the chain of `aws.revocation`.
_WORDS = {
    FOREIGN: "a policy of our name that is not ours lies there and is left alone: look who put it there",
    NO_ROLE: "there is no such role",
    "access_denied": "IAM does not let the broker: aws.revocation needs iam:GetRolePolicy, :PutRolePolicy, :DeleteRolePolicy",
    "no_room": "the role's inline policies have no room (10,240 characters): revoke all its sessions in the IAM console",
    "service_linked_role": "AWS lets nobody change a service-linked role: its sessions go on",
    "throttled": "IAM throttles",
    "timeout": "no answer in time",
}


class Phase(enum.StrEnum):
    """What is wanted of AWS."""

    DENY = "deny"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class Target:
    """An AWS role whose sessions are handed out, what it is called here, and how long one can live."""

    arn: RoleArn
    names: tuple[RoleName, ...]
    longest: timedelta


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it stands with one role. ``reason`` is None where it is done, else a word of ``IamFailed`` or of this module."""

    arn: str
    phase: Phase
    done: bool
    reason: str | None = None

    @property
    def state(self) -> str:
        """In one word, for a list."""
        if self.phase is Phase.DENY:
            return "aws_denied" if self.done else "aws_pending"
        return "aws_removed" if self.done else "aws_removing"


def targets(roles: Mapping[RoleName, Role], *, only: str | None) -> list[Target]:
    """The AWS roles at the ends of all chains, or of the chain of the role ``only``.

    All, whatever the rules say of somebody: rules of an hour ago, under which a session may have been handed out, are not known.
    One hop may give sessions of twelve hours, whatever the configuration says today; a chain never more than one.
    """
    ends: dict[str, list[Role]] = {}
    for role in roles.values():
        ends.setdefault(role.target.text, []).append(role)
    wanted = {role.target.text for name, role in roles.items() if only in (None, name)}
    return [
        Target(
            arn=leading[0].target,
            names=tuple(sorted(role.name for role in leading)),
            longest=max(LONGEST if len(role.chain) == 1 else LONGEST_CHAINED for role in leading),
        )
        for text, leading in sorted(ends.items())
        if text in wanted
    ]


def told(wanted: Iterable[Target], outcomes: Iterable[Outcome], *, dry_run: bool = False) -> list[dict[str, Any]]:
    """For a receipt, in JSON: a member for each role, with its names here, whether it is done, and a sentence."""
    names = {target.arn.text: target.names for target in wanted}
    return [
        {
            "arn": outcome.arn,
            "roles": list(names.get(outcome.arn, ())),
            "done": outcome.done,
            "reason": outcome.reason,
            "said": _would(outcome) if dry_run else _sentence(outcome),
        }
        for outcome in outcomes
    ]


def why(reason: str) -> str:
    """A reason in words."""
    return _WORDS.get(reason, reason)


def _would(outcome: Outcome) -> str:
    return f"could not be denied now: {why(outcome.reason)}" if outcome.reason else "would be denied"


def _sentence(outcome: Outcome) -> str:
    done, undone = {
        Phase.DENY: ("denied from now on", "not denied yet"),
        Phase.REMOVE: ("no longer denied", "still denied"),
    }[outcome.phase]
    if outcome.reason == NO_ROLE:
        return why(NO_ROLE)
    if outcome.done:
        return done
    return f"{undone}, tried again: {why(outcome.reason)}" if outcome.reason else f"{undone}, being tried"
