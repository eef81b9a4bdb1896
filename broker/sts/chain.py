"""What to ask STS, and what of its answer may be believed. Pure: no network, no clock of its own.

Sources: AWS STS API Reference, AssumeRole; IAM User Guide, "Role chaining" (one hour at most) and "Monitor and control actions
taken with assumed roles" (SourceIdentity).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from broker.core.credentials import Credentials
from broker.core.errors import StsRejected
from broker.core.grant import Grant
from broker.core.roles import LONGEST, SHORTEST, Hop, RoleArn
from broker.core.secret import Secret

_ACCESS_KEY_ID = re.compile(r"ASIA[A-Z0-9]{12,124}")
# STS counts from its own clock; this much may lie between its clock and ours.
_SKEW = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Call:
    """One AssumeRole call of a chain."""

    arn: RoleArn
    external_id: str | None
    session_name: str
    lifetime: timedelta

    def parameters(self) -> dict[str, Any]:
        """The parameters of boto3's ``assume_role``."""
        parameters: dict[str, Any] = {
            "RoleArn": self.arn.text,
            "RoleSessionName": self.session_name,
            "SourceIdentity": self.session_name,
            "DurationSeconds": int(self.lifetime.total_seconds()),
        }
        if self.external_id is not None:
            parameters["ExternalId"] = self.external_id
        return parameters


def plan(grant: Grant) -> list[Call]:
    """The calls that lead to the granted role, in order.

    Hops on the way need to live only for the next call, so they get AWS's shortest duration; no hop is longer than the
    hour that a chained call may ask for.
    """
    session_name = grant.principal.session_name()
    last = len(grant.role.chain) - 1
    return [
        _call(hop, session_name, min(grant.lifetime, LONGEST) if place == last else SHORTEST)
        for place, hop in enumerate(grant.role.chain)
    ]


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
    )


def _call(hop: Hop, session_name: str, lifetime: timedelta) -> Call:
    return Call(arn=hop.arn, external_id=hop.external_id, session_name=session_name, lifetime=lifetime)


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
