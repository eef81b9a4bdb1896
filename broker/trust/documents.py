"""The trust and permission policies that a configuration needs. Pure: no network, works offline.

A role on the way of several chains has one trust policy and one set of permissions, so everything here is said of the whole
configuration: whoever applies what is printed for one role breaks no other.

Of the trust policies only `sts:AssumeRole` carries the external ID. AWS authorises the three actions one by one, and lists
`sts:ExternalId` as a condition key of that one (Service Authorization Reference, AWS STS); without it the others give
nothing. A source identity must be there, so no session exists that CloudTrail cannot ascribe to a person.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from broker.core.roles import SHORTEST, SHORTEST_MAX_SESSION, Hop, Role, RoleArn, RoleName
from broker.sts.web_identity import AUDIENCE

ASSUME = "sts:AssumeRole"
FEDERATE = "sts:AssumeRoleWithWebIdentity"
FEDERATE_SAML = "sts:AssumeRoleWithSAML"
IDENTIFY = "sts:SetSourceIdentity"
TAG = "sts:TagSession"
# What denying somebody's sessions takes (docs/revocation.md).
INLINE = ("iam:GetRolePolicy", "iam:PutRolePolicy", "iam:DeleteRolePolicy")

_PROVIDER = "oidc-provider"
_ACCOUNT = "account"

_PRINCIPAL = re.compile(
    r"arn:(?P<partition>aws|aws-cn|aws-us-gov):iam::(?P<account>[0-9]{12}):(?P<kind>user|role)/"
    r"(?:[\x21-\x29\x2b-\x2e\x30-\x3e\x40-\x7e]+/)*(?P<name>[A-Za-z0-9_+=,.@-]{1,64})"
)
_SESSION = re.compile(r"arn:(aws|aws-cn|aws-us-gov):sts::([0-9]{12}):assumed-role/([A-Za-z0-9_+=,.@-]{1,64})/.+")


class UnusablePrincipal(ValueError):
    """Not the ARN of one IAM user or role. ``str()`` says what to write instead."""


class Contradiction(ValueError):
    """Two roles of the configuration ask for what no one trust policy can say."""


@dataclass(frozen=True, slots=True)
class AwsPrincipal:
    """An IAM user or role by its ARN, or the provider of the broker's own tokens; never a pattern.

    An account, where nobody said who in it the broker is.
    """

    text: str
    partition: str
    account: str
    kind: str
    name: str

    @classmethod
    def parse(cls, text: str) -> AwsPrincipal:
        """Take an ARN apart.

        Raises:
            UnusablePrincipal: Anything but one user or role.
        """
        match = _PRINCIPAL.fullmatch(text)
        if match is not None:
            return cls(text=text, **match.groupdict())
        if session := _SESSION.fullmatch(text):
            partition, account, name = session.groups()
            fix = f"name the role itself, arn:{partition}:iam::{account}:role/{name} (with its path, if it has one)"
            raise UnusablePrincipal(f"{text[:200]!r} is a session of a role — fix: {fix}")
        fix = "write arn:aws:iam::ACCOUNT:user/NAME or arn:aws:iam::ACCOUNT:role/NAME"
        raise UnusablePrincipal(f"{text[:200]!r} is not one IAM user or role — fix: {fix}")

    @classmethod
    def provider(cls, issuer: str, role: RoleArn) -> AwsPrincipal:
        """The OIDC provider that stands for the broker's issuer URL in the account of a first hop (docs/keyless.md)."""
        name = issuer.removeprefix("https://")
        text = f"arn:{role.partition}:iam::{role.account}:{_PROVIDER}/{name}"
        return cls(text=text, partition=role.partition, account=role.account, kind=_PROVIDER, name=name)

    @classmethod
    def somebody_in(cls, role: RoleArn) -> AwsPrincipal:
        """Whoever in the account of a first hop has been allowed to take it, by a policy there."""
        text = f"arn:{role.partition}:iam::{role.account}:root"
        return cls(text=text, partition=role.partition, account=role.account, kind=_ACCOUNT, name="broker")

    @property
    def is_account(self) -> bool:
        """Whether it stands for a whole account: what it is allowed has to be given to somebody there."""
        return self.kind == _ACCOUNT

    @property
    def is_provider(self) -> bool:
        """Whether it shows tokens instead of signing."""
        return self.kind == _PROVIDER


@dataclass(frozen=True, slots=True)
class Step:
    """One principal assumes one role. ``external_ids``: accepted ones, the one that is sent first; none where none is sent."""

    caller: AwsPrincipal
    role: RoleArn
    external_ids: tuple[str, ...]
    tag_keys: frozenset[str] = frozenset()

    @property
    def actions(self) -> tuple[str, ...]:
        """What the step amounts to in AWS."""
        return (self.assume, IDENTIFY, TAG) if self.tag_keys else (self.assume, IDENTIFY)

    @property
    def assume(self) -> str:
        """The action that takes the role."""
        return FEDERATE if self.caller.is_provider else ASSUME


@dataclass(frozen=True, slots=True)
class Needed:
    """What one principal must be like: who assumes it, what it assumes, and how long its sessions may be.

    ``denies`` are the roles at which it denies sessions that were handed out.
    """

    principal: AwsPrincipal
    comes: tuple[Step, ...]
    goes: tuple[Step, ...]
    max_session_duration: timedelta
    denies: tuple[str, ...] = ()

    def trust_policy(self) -> dict[str, Any]:
        """The trust policy; of a role only."""
        return _document(
            [statement for place, step in enumerate(self.comes, start=1) for statement in _trust(step, place)]
        )

    def permissions(self) -> dict[str, Any] | None:
        """The permissions that it needs for its own steps and denies, on exactly these roles; None for the end of a chain."""
        if not self.goes and not self.denies:
            return None
        by_actions: dict[tuple[str, ...], list[str]] = {}
        for step in self.goes:
            by_actions.setdefault(step.actions, []).append(step.role.text)
        denying = [{"Sid": "Deny", "Effect": "Allow", "Action": list(INLINE), "Resource": list(self.denies)}]
        return _document(
            [
                {"Sid": f"Next{place}", "Effect": "Allow", "Action": list(actions), "Resource": roles}
                for place, (actions, roles) in enumerate(by_actions.items(), start=1)
            ]
            + denying * bool(self.denies)
        )


def needed(
    roles: Mapping[RoleName, Role],
    *,
    first: Callable[[RoleArn], AwsPrincipal],
    denying: Callable[[str], Sequence[Hop]] | None = None,
) -> dict[str, Needed]:
    """Everything that a configuration needs, by ARN, the broker's own principal first (a provider of tokens needs nothing).

    Args:
        roles: The configuration's.
        first: Who takes the first hop, by its role.
        denying: The hops of `aws.revocation` into an account, where it is configured.

    Raises:
        Contradiction: A role is reached by the same caller with an external ID and without.
        UnusablePrincipal: The first caller is of another partition of AWS than its role.
    """
    steps: dict[tuple[str, str], Step] = {}
    longest: dict[str, timedelta] = {}
    ends = sorted({role.target.text: role.target for role in roles.values()}.items())
    ways = {arn.account: denying(arn.account) for _, arn in ends} if denying else {}
    extra = [Role(RoleName("aws.revocation"), tuple(way), SHORTEST) for way in ways.values()]
    denies = {
        way[-1].arn.text: tuple(text for text, arn in ends if arn.account == account) for account, way in ways.items()
    }
    for role in (*roles.values(), *extra):
        for step in _steps(role, _of_one_partition(first(role.chain[0].arn), role.chain[0].arn)):
            key = (step.caller.text, step.role.text)
            steps[key] = _both(steps.get(key, step), step)
        for hop in role.chain:
            longest[hop.arn.text] = max(longest.get(hop.arn.text, SHORTEST_MAX_SESSION), hop.max_session_duration)
    callers = {step.caller.text: step.caller for step in steps.values() if not step.caller.is_provider}
    principals = callers | {arn: AwsPrincipal.parse(arn) for arn in longest}
    return {
        arn: Needed(
            principal=principal,
            comes=tuple(step for step in steps.values() if step.role.text == arn),
            goes=tuple(step for step in steps.values() if step.caller.text == arn),
            max_session_duration=longest.get(arn, SHORTEST_MAX_SESSION),
            denies=denies.get(arn, ()),
        )
        for arn, principal in principals.items()
    }


def _of_one_partition(caller: AwsPrincipal, role: RoleArn) -> AwsPrincipal:
    if caller.partition != role.partition:
        what = f"{caller.text} is of the partition {caller.partition}, and {role.text} of {role.partition}"
        raise UnusablePrincipal(f"{what} — fix: name the broker's principal in {role.partition}")
    return caller


def _steps(role: Role, caller: AwsPrincipal) -> Iterator[Step]:
    inherited = any(tag.transitive for tag in role.tags)
    for hop in role.chain:
        accepted = tuple(one for one in (hop.external_id, hop.next_external_id) if one is not None)
        # Every hop of a session with inherited tags is a tagging one, and which keys AWS counts there is not said: all may be.
        is_tagged = inherited or (hop is role.chain[-1] and bool(role.tags))
        keys = frozenset(tag.key for tag in role.tags) if is_tagged else frozenset()
        yield Step(caller=caller, role=hop.arn, external_ids=accepted, tag_keys=keys)
        caller = AwsPrincipal.parse(hop.arn.text)


def _both(one: Step, other: Step) -> Step:
    if bool(one.external_ids) is not bool(other.external_ids):
        raise Contradiction(
            f"{one.role.text} is assumed by {one.caller.text} with an external ID and without — fix: give every "
            "hop to it the same one"
        )
    accepted = dict.fromkeys((*one.external_ids, *other.external_ids))
    return Step(caller=one.caller, role=one.role, external_ids=tuple(accepted), tag_keys=one.tag_keys | other.tag_keys)


def _trust(step: Step, place: int) -> Iterator[dict[str, Any]]:
    principal = {"Federated" if step.caller.is_provider else "AWS": step.caller.text}
    yield {
        "Sid": f"Assume{place}",
        "Effect": "Allow",
        "Principal": principal,
        "Action": step.assume,
        "Condition": _condition(step),
    }
    yield {"Sid": f"Identify{place}", "Effect": "Allow", "Principal": principal, "Action": IDENTIFY}
    if step.tag_keys:
        yield {
            "Sid": f"Tag{place}",
            "Effect": "Allow",
            "Principal": principal,
            "Action": TAG,
            "Condition": {"ForAllValues:StringEquals": {"aws:TagKeys": sorted(step.tag_keys)}},
        }


def _condition(step: Step) -> dict[str, Any]:
    if step.caller.is_provider:
        # No external ID in that call; and the issuer's tokens, which are the broker's alone, all have a source identity.
        return {"StringEquals": {f"{step.caller.name}:aud": AUDIENCE}}
    condition: dict[str, Any] = {}
    if step.external_ids:
        condition["StringEquals"] = {"sts:ExternalId": list(step.external_ids)}
    return condition | {"StringLike": {"sts:SourceIdentity": "*"}}


def _document(statements: list[dict[str, Any]]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": statements}
