"""A role as the operator names it, and the chain of AWS roles behind the name."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import NewType

from broker.core.scope import Scope, ScopeName
from broker.core.tags import Tag

RoleName = NewType("RoleName", str)

ROLE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

# STS AssumeRole, DurationSeconds: 900 is AWS's floor. A chained call over 3600 fails outright, and a call that is signed with a
# role's credentials is one; with long-term keys a role gives as much as its own MaxSessionDuration, 3600 to 43200.
SHORTEST = timedelta(minutes=15)
LONGEST_CHAINED = timedelta(hours=1)
LONGEST = timedelta(hours=12)
# IAM CreateRole, MaxSessionDuration: no role is set to less than an hour.
SHORTEST_MAX_SESSION = timedelta(hours=1)

_ROLE_ARN = re.compile(
    r"arn:(?P<partition>aws|aws-cn|aws-us-gov):iam::(?P<account>[0-9]{12}):role/"
    r"(?P<path>(?:[\x21-\x2e\x30-\x7e]+/)*)(?P<name>[A-Za-z0-9_+=,.@-]{1,64})"
)
_ROLE_ARN_MAX = 2048

EXTERNAL_ID = re.compile(r"[A-Za-z0-9_+=,.@:/-]{2,1224}")


class MalformedArn(ValueError):
    """Not the ARN of an IAM role."""


@dataclass(frozen=True, slots=True)
class RoleArn:
    """``arn:PARTITION:iam::ACCOUNT:role/PATH/NAME``, taken apart once."""

    text: str
    partition: str
    account: str
    name: str

    @classmethod
    def parse(cls, text: str) -> RoleArn:
        """Take an ARN apart.

        Raises:
            MalformedArn: Anything but an IAM role of one of the three partitions.
        """
        match = _ROLE_ARN.fullmatch(text) if len(text) <= _ROLE_ARN_MAX else None
        if match is None:
            raise MalformedArn(f"{text[:200]!r} is not arn:aws:iam::ACCOUNT:role/NAME")
        return cls(text=text, partition=match["partition"], account=match["account"], name=match["name"])

    def session_arn(self, session_name: str) -> str:
        """The ARN that STS reports for a session of this role; the role's path is not part of it."""
        return f"arn:{self.partition}:sts::{self.account}:assumed-role/{self.name}/{session_name}"


@dataclass(frozen=True, slots=True)
class Hop:
    """One AssumeRole call: which role, under which external ID.

    ``next_external_id`` is never sent: trust policies accept it beside the one that is, so that a rotation breaks none.
    ``max_session_duration`` is the role's own limit in IAM, as the operator declares it.
    """

    arn: RoleArn
    external_id: str | None = field(repr=False)
    next_external_id: str | None = field(default=None, repr=False)
    max_session_duration: timedelta = SHORTEST_MAX_SESSION


@dataclass(frozen=True, slots=True)
class Role:
    """What a role name stands for. The last hop's credentials are the ones handed out.

    ``account_alias`` is what the operator calls the account of the last hop; ``production``: whether they marked it so.
    """

    name: RoleName
    chain: tuple[Hop, ...]
    duration: timedelta
    tags: tuple[Tag, ...] = ()
    scopes: tuple[Scope, ...] = ()
    account_alias: str | None = None
    production: bool = False

    @property
    def target(self) -> RoleArn:
        """The role whose credentials are handed out."""
        return self.chain[-1].arn

    def scope(self, name: ScopeName) -> Scope | None:
        """The scope of this name, if the role has one."""
        return next((scope for scope in self.scopes if scope.name == name), None)
