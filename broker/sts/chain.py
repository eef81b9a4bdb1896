"""What to ask STS, and what of its answer may be believed. Pure: no network, no clock of its own.

Sources: AWS STS API Reference, AssumeRole; IAM User Guide, "Role chaining" (one hour at most) and "Monitor and control actions
taken with assumed roles" (SourceIdentity), "Pass session tags in AWS STS" (transitive tags, packed size).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from broker.core.credentials import Credentials
from broker.core.errors import InternalError, StsRejected
from broker.core.grant import Grant
from broker.core.roles import LONGEST, LONGEST_CHAINED, SHORTEST, RoleArn
from broker.core.scope import Scope
from broker.core.secret import Secret
from broker.core.tags import MalformedTag, SessionTag, check

_ACCESS_KEY_ID = re.compile(r"ASIA[A-Z0-9]{12,124}")
# STS counts from its own clock; this much may lie between its clock and ours.
_SKEW = timedelta(minutes=5)
# What AWS says of a session that it made: more than all of the room is not given away.
_PACKED_MAX = 100


@dataclass(frozen=True, slots=True)
class Call:
    """One AssumeRole call of a chain. ``scope`` is the session policy, of the last call only.

    ``ends_at`` (Unix seconds) is when its session ends, where a ticket's end says so.
    """

    arn: RoleArn
    external_id: str | None
    session_name: str
    lifetime: timedelta
    tags: tuple[SessionTag, ...] = ()
    scope: Scope | None = None
    ends_at: int | None = None

    def parameters(self) -> dict[str, Any]:
        """The parameters of botocore's ``assume_role``."""
        parameters: dict[str, Any] = {
            "RoleArn": self.arn.text,
            "RoleSessionName": self.session_name,
            "SourceIdentity": self.session_name,
            "DurationSeconds": int(self.lifetime.total_seconds()),
        }
        if self.external_id is not None:
            parameters["ExternalId"] = self.external_id
        if self.tags:
            parameters["Tags"] = [{"Key": tag.key, "Value": tag.value} for tag in self.tags]
        transitive = [tag.key for tag in self.tags if tag.transitive]
        if transitive:
            parameters["TransitiveTagKeys"] = transitive
        return parameters | self._limits()

    def token_parameters(self) -> dict[str, Any]:
        """Those of ``assume_role_with_web_identity``, less the token, which says what is not here."""
        parameters: dict[str, Any] = {
            "RoleArn": self.arn.text,
            "RoleSessionName": self.session_name,
            "DurationSeconds": int(self.lifetime.total_seconds()),
        }
        return parameters | self._limits()

    def _limits(self) -> dict[str, Any]:
        parameters: dict[str, Any] = {}
        if self.scope is not None and self.scope.policy is not None:
            parameters["Policy"] = self.scope.policy
        if self.scope is not None and self.scope.policy_arns:
            parameters["PolicyArns"] = [{"arn": arn.text} for arn in self.scope.policy_arns]
        return parameters

    def lean(self) -> Call:
        """The same without optional tags."""
        return replace(self, tags=tuple(tag for tag in self.tags if not tag.optional))

    def made_at(self, now: datetime) -> Call:
        """The same as it is asked for now: what was waited for on the way is no time after the ticket's end."""
        if self.ends_at is None:
            return self
        left = timedelta(seconds=self.ends_at - math.ceil(now.timestamp()))
        return replace(self, lifetime=max(SHORTEST, min(self.lifetime, left)))


def plan(grant: Grant, *, event: str | None = None) -> list[Call]:
    """The calls that lead to the granted role, in order; made for the request ``event``, which tags may name.

    Hops on the way need to live only for the next call, so they get AWS's shortest duration. A call that is signed with the
    session of the one before may ask for one hour at most. Transitive tags are set by the first call and inherited from then on
    (AWS refuses to have them set again); the others are the last session's alone, like the scope.

    Raises:
        InternalError: The grant has tags that AWS would refuse; the configuration should have been.
    """
    tags = tuple(tag.for_event(event) for tag in grant.tags)
    try:
        check(tags)
    except MalformedTag as error:
        raise InternalError(f"a session's tags: {error}", reason="tags_malformed") from error
    last = len(grant.role.chain) - 1
    longest = LONGEST_CHAINED if last else LONGEST
    return [
        Call(
            arn=hop.arn,
            external_id=hop.external_id,
            session_name=grant.principal.session_name(),
            lifetime=min(grant.lifetime, longest) if place == last else SHORTEST,
            tags=tuple(tag for tag in tags if place == (0 if tag.transitive else last)),
            scope=grant.scope if place == last else None,
            ends_at=grant.ends_at if place == last else None,
        )
        for place, hop in enumerate(grant.role.chain)
    ]


def shed(calls: Sequence[Call]) -> tuple[list[Call], tuple[str, ...]]:
    """The same calls without their optional tags, and the keys of these. What says who somebody is always stays."""
    return [call.lean() for call in calls], tuple(tag.key for call in calls for tag in call.tags if tag.optional)


def believe(call: Call, answer: Mapping[str, Any], *, now: datetime) -> Credentials:
    """The credentials in STS's answer, every field of which is the one that was asked for.

    Raises:
        StsRejected: A field is missing, or belongs to another account, role, session, identity or time.
    """
    given = _mapping(answer, "Credentials")
    arn = _text(_mapping(answer, "AssumedRoleUser"), "Arn")
    if arn != call.arn.session_arn(call.session_name):
        raise StsRejected(f"asked for {call.arn.text}, STS answered {arn[:200]}", reason="other_role")
    if answer.get("SourceIdentity", call.session_name) != call.session_name:
        raise StsRejected("STS answered with another source identity", reason="other_source_identity")
    access_key_id = _text(given, "AccessKeyId")
    if not _ACCESS_KEY_ID.fullmatch(access_key_id):
        raise StsRejected("not the access key id of a session", reason="malformed_answer")
    return Credentials(
        access_key_id=access_key_id,
        secret_access_key=Secret(_text(given, "SecretAccessKey")),
        session_token=Secret(_text(given, "SessionToken")),
        expiration=_expiration(given, call.lifetime, now),
        account=call.arn.account,
        role_arn=call.arn.text,
        packed_percent=_packed(answer),
    )


def _packed(answer: Mapping[str, Any]) -> int | None:
    packed = answer.get("PackedPolicySize")
    if packed is not None and (type(packed) is not int or not 0 <= packed <= _PACKED_MAX):
        raise StsRejected("no usable PackedPolicySize", reason="malformed_answer")
    return packed


def _expiration(given: Mapping[str, Any], lifetime: timedelta, now: datetime) -> datetime:
    expiration = given.get("Expiration")
    if not isinstance(expiration, datetime) or expiration.tzinfo is None:
        raise StsRejected("no usable Expiration", reason="malformed_answer")
    expiration = expiration.astimezone(UTC)
    if not now + lifetime - _SKEW <= expiration <= now + lifetime + _SKEW:
        raise StsRejected(f"asked for {lifetime}, STS's answer ends {expiration}", reason="other_expiration")
    return expiration


def _mapping(answer: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = answer.get(name)
    if not isinstance(value, Mapping):
        raise StsRejected(f"no {name} in STS's answer", reason="malformed_answer")
    return value


def _text(answer: Mapping[str, Any], name: str) -> str:
    value = answer.get(name)
    if not isinstance(value, str) or not value:
        raise StsRejected(f"no {name} in STS's answer", reason="malformed_answer")
    return value
