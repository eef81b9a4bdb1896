"""What STS decides, without HTTP: a signed request goes in, fields or a refusal come out.

The order of an AssumeRole is AWS's: signature, form of the parameters, caller's policies, trust policy, durations, packed
size. Where AWS has two answers this one takes the stricter:

- The caller's identity policy must allow as well as the trust policy, in the same account too (in AWS a trust policy that
  names a principal of its own account suffices).
- A session policy is intersected only with what it says inline. Managed policies passed by ARN are not known here, so a
  session with those alone may do nothing further in STS.
- Inherited transitive tags need sts:TagSession, and an inherited source identity sts:SetSourceIdentity, at every hop.
- Roles in another partition than the caller's do not exist.

Not modelled: tags of users and roles in IAM (aws:PrincipalTag is of session tags), permission boundaries, organisation
policies, MFA, and whether a managed policy named by ARN exists.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tests.fakes.sts.parameters import AssumeRole
from tests.fakes.sts.policy import Caller, Context, Decision, Federated, Policy
from tests.fakes.sts.sigv4 import SignedRequest, read_claim, verify
from tests.fakes.sts.web_identity import Shown
from tests.fakes.sts.wire import Fields, StsRefusal
from tests.fakes.sts.world import Entity, World, entity

# A call made with a session's credentials is a chained one.
CHAINED_LIMIT = 3600

# AWS publishes neither the format nor the limit of the packed size. Nine tags of 252 characters were reported to consume
# 498 % (aws-actions/configure-aws-credentials issue 1898): about 456 bytes are 100 %, and repeats are not compressed away.
# For policies no such figure is known; their limit in plain text is taken.
_PACKED_TAG_BYTES = 456
_PACKED_POLICY_BYTES = 2048

_TOKEN_BYTES = 276  # 368 characters of base64, as long as STS's shortest


@dataclass(frozen=True, slots=True)
class Credential:
    """A key that can sign: an IAM user's, or a session's (then ``token`` and ``expiration`` are set)."""

    caller: Caller
    user_id: str
    secret_access_key: str
    policies: tuple[Policy | None, ...]
    token: str | None = None
    expiration: datetime | None = None
    source_identity: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    transitive: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Issued:
    """A session that was made: its key id, and the fields of the answer."""

    access_key_id: str
    fields: dict[str, Any]


class Sts:
    """The service. Sessions live as long as the process: an ended one must be refused as ended, not as unknown."""

    def __init__(self, world: World, *, now: Callable[[], datetime], random_bytes: Callable[[int], bytes]) -> None:
        self._now = now
        self._random_bytes = random_bytes
        self._roles = {role.arn: entity(role) for role in world.roles}
        self._credentials: dict[str, Credential] = {}
        for user in world.users:
            who = entity(user)
            caller = Caller(arn=who.arn, principal_arn=who.arn, account=who.account, partition=who.partition)
            self._credentials[user.access_key_id] = Credential(
                caller=caller,
                user_id=who.unique_id,
                secret_access_key=user.secret_access_key,
                policies=(who.policy,),
            )

    def authenticate(self, request: SignedRequest) -> Credential:
        """Who signed this request.

        Raises:
            StsRefusal: The signature, the token, or the age of either is wrong.
        """
        now = self._now()
        claim = read_claim(request, now=now)
        credential = self._credentials.get(claim.access_key_id)
        if credential is None or credential.caller.partition != _partition(claim.scope.split("/")[1]):
            raise _unknown_token("unknown access key in this region's partition")
        if credential.token != claim.session_token:
            raise _unknown_token("session token missing or of another session")
        verify(request, claim, credential.secret_access_key)
        if credential.expiration is not None and credential.expiration <= now:
            raise expired_token()
        return credential

    def secrets(self) -> list[str]:
        """The secret keys and tokens of all sessions made so far."""
        return [text for one in self._credentials.values() if one.token for text in (one.secret_access_key, one.token)]

    def living_session(self, access_key_id: str, secret_access_key: str, token: str) -> str | None:
        """Whose session these three are, as an ARN; None where they do not belong together or it ended."""
        found = self._credentials.get(access_key_id)
        if found is None or found.expiration is None or found.expiration <= self._now():
            return None
        if (found.secret_access_key, found.token) != (secret_access_key, token):
            return None
        return found.caller.arn

    def caller_identity(self, credential: Credential) -> Fields:
        """GetCallerIdentity: no permission is needed."""
        caller = credential.caller
        return {"Arn": caller.arn, "UserId": credential.user_id, "Account": caller.account}

    def assume_role(self, credential: Credential, ask: AssumeRole, *, lifetime: timedelta | None = None) -> Issued:
        """AssumeRole.

        Args:
            credential: Who calls.
            ask: A request whose form is right.
            lifetime: Overrides the session's life; only a fault does.

        Raises:
            StsRefusal: Any rule of AssumeRole says no.
        """
        inherited = credential.transitive
        if {key.casefold() for key in inherited} & {key.casefold() for key in ask.tags}:
            raise StsRefusal(
                "InvalidParameterValue",
                "One of the specified transitive tag keys can't be set because it conflicts with a transitive tag "
                "key from the calling session.",
            )
        role = self._authorised(credential, ask)
        _check_duration(credential, ask, role)
        return self._issue(credential, ask, role, lifetime)

    def assume_role_with_web_identity(
        self, shown: Shown, ask: AssumeRole, *, lifetime: timedelta | None = None
    ) -> Issued:
        """AssumeRoleWithWebIdentity: nobody signs, the provider's token stands for the caller. No role chaining.

        Args:
            shown: A token that is believed.
            ask: What is asked for, with what the token says of source identity and tags.
            lifetime: Overrides the session's life; only a fault does.

        Raises:
            StsRefusal: Any rule says no.
        """
        arn = shown.provider.arn
        who = Federated(arn=arn, account=arn.split(":")[4], partition=arn.split(":")[1], subject=shown.subject)
        host = shown.provider.url.removeprefix("https://").lower()
        context = {
            "sts:rolesessionname": (ask.session_name,),
            "aws:tagkeys": tuple(ask.tags),
            "sts:transitivetagkeys": ask.transitive_keys,
            f"{host}:sub": (shown.subject,),
            f"{host}:aud": (shown.audience,),
            **{f"aws:requesttag/{key.lower()}": (value,) for key, value in ask.tags.items()},
        }
        if ask.source_identity is not None:
            context["sts:sourceidentity"] = (ask.source_identity,)
        actions = ["sts:AssumeRoleWithWebIdentity"]
        actions += ["sts:TagSession"] if ask.tags else []
        actions += ["sts:SetSourceIdentity"] if ask.source_identity else []
        role = self._roles.get(ask.role_arn)
        for action in actions:
            said = (
                role and role.trust and role.trust.decide(action=action, resource=role.arn, caller=who, context=context)
            )
            if role is None or said is not Decision.ALLOW:
                # AWS's words here name no caller.
                raise StsRefusal(
                    "AccessDenied", f"Not authorized to perform {action}", status=403, why=f"trust: {said}"
                )
        nobody = Credential(
            caller=Caller(arn=arn, principal_arn=arn, account=who.account, partition=who.partition),
            user_id=shown.subject,
            secret_access_key="",
            policies=(),
        )
        _check_duration(nobody, ask, role)
        issued = self._issue(nobody, ask, role, lifetime)
        issued.fields["SubjectFromWebIdentityToken"] = shown.subject
        issued.fields["Audience"] = shown.audience
        issued.fields["Provider"] = arn
        return issued

    def _issue(self, credential: Credential, ask: AssumeRole, role: Entity, lifetime: timedelta | None) -> Issued:
        tags = {**credential.transitive, **ask.tags}
        packed = _packed_size(ask, tags)
        session = self._session(credential, ask, role, tags, lifetime or timedelta(seconds=ask.duration))
        access_key_id = "ASIA" + base64.b32encode(self._random_bytes(10)).decode()
        self._credentials[access_key_id] = session
        return Issued(access_key_id, _fields(access_key_id, session, packed))

    def external_id_matches(self, ask: AssumeRole) -> bool:
        """Whether the trust policy has a condition on the external ID that this one meets; for the call log."""
        role = self._roles.get(ask.role_arn)
        context = {"sts:externalid": (ask.external_id,)} if ask.external_id is not None else {}
        return role is not None and role.trust is not None and role.trust.satisfies("sts:externalid", context)

    def _authorised(self, credential: Credential, ask: AssumeRole) -> Entity:
        """The role, if every action that the request amounts to is allowed on both sides."""
        role = self._roles.get(ask.role_arn)
        caller = credential.caller
        source_identity = ask.source_identity or credential.source_identity
        context = _context(credential, ask)
        actions = ["sts:AssumeRole"]
        actions += ["sts:TagSession"] if ask.tags or credential.transitive else []
        actions += ["sts:SetSourceIdentity"] if source_identity else []
        for action in actions:
            if role is None or role.partition != caller.partition:
                raise _not_authorised(caller, action, ask, "no such role")
            for policy in (*credential.policies, role.trust):
                where = "the caller has no policy" if policy is None else f"the {policy.kind.value} says"
                said = policy and policy.decide(action=action, resource=role.arn, caller=caller, context=context)
                if said is not Decision.ALLOW:
                    raise _not_authorised(caller, action, ask, f"{where}: {said.value if said else 'neither'}")
        if credential.source_identity not in {None, source_identity}:
            raise _not_authorised(caller, "sts:SetSourceIdentity", ask, "a source identity cannot be changed")
        if role is None:
            raise AssertionError("the loop above has refused this")
        return role

    def _session(
        self, credential: Credential, ask: AssumeRole, role: Entity, tags: dict[str, str], lifetime: timedelta
    ) -> Credential:
        transitive = {key.casefold() for key in (*ask.transitive_keys, *credential.transitive)}
        limited_by = (ask.policy,) if ask.policy or ask.policy_arns else ()
        return Credential(
            caller=Caller(
                arn=role.session_arn(ask.session_name),
                principal_arn=role.arn,
                account=role.account,
                partition=role.partition,
            ),
            user_id=f"{role.unique_id}:{ask.session_name}",
            secret_access_key=base64.b64encode(self._random_bytes(30)).decode(),
            policies=(role.policy, *limited_by),
            token=base64.b64encode(self._random_bytes(_TOKEN_BYTES)).decode(),
            expiration=self._now().replace(microsecond=0) + lifetime,
            source_identity=ask.source_identity or credential.source_identity,
            tags=tags,
            transitive={key: value for key, value in tags.items() if key.casefold() in transitive},
        )


def _partition(region: str) -> str:
    """Keys of one partition are unknown to the others."""
    return "aws-cn" if region.startswith("cn-") else "aws-us-gov" if region.startswith("us-gov-") else "aws"


def _unknown_token(why: str) -> StsRefusal:
    message = "The security token included in the request is invalid."
    return StsRefusal("InvalidClientTokenId", message, status=403, why=why)


def expired_token() -> StsRefusal:
    """AWS's words for credentials that have ended."""
    return StsRefusal("ExpiredToken", "The security token included in the request is expired", status=403)


def access_denied(caller_arn: str, action: str, role_arn: str, why: str) -> StsRefusal:
    """AWS's words for all of: no such role, not allowed, not trusted, wrong external ID."""
    message = f"User: {caller_arn} is not authorized to perform: {action} on resource: {role_arn}"
    return StsRefusal("AccessDenied", message, status=403, why=why)


def _not_authorised(caller: Caller, action: str, ask: AssumeRole, why: str) -> StsRefusal:
    return access_denied(caller.arn, action, ask.role_arn, f"{action}: {why}")


def _context(credential: Credential, ask: AssumeRole) -> Context:
    context: dict[str, tuple[str, ...]] = {
        "aws:principalarn": (credential.caller.principal_arn,),
        "aws:principalaccount": (credential.caller.account,),
        "sts:rolesessionname": (ask.session_name,),
        "aws:tagkeys": tuple(ask.tags),
        "sts:transitivetagkeys": ask.transitive_keys,
    }
    for key, value in (
        ("sts:externalid", ask.external_id),
        ("sts:sourceidentity", ask.source_identity),
        ("aws:sourceidentity", credential.source_identity),
    ):
        if value is not None:
            context[key] = (value,)
    context.update({f"aws:requesttag/{key.lower()}": (value,) for key, value in ask.tags.items()})
    context.update({f"aws:principaltag/{key.lower()}": (value,) for key, value in credential.tags.items()})
    return context


def _check_duration(credential: Credential, ask: AssumeRole, role: Entity) -> None:
    if credential.token is not None and ask.duration > CHAINED_LIMIT:
        raise StsRefusal(
            "ValidationError",
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining",
        )
    if ask.duration > role.max_session_duration:
        raise StsRefusal(
            "ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
        )


def _packed_size(ask: AssumeRole, tags: dict[str, str]) -> int:
    """Percent, rounded up; 0 when there is nothing to pack. Inherited tags count."""
    tag_bytes = sum(len(part.encode()) for tag in tags.items() for part in tag)
    policy_bytes = sum(len(text.encode()) for text in (ask.policy_text or "", *ask.policy_arns))
    percent = math.ceil(100 * (tag_bytes / _PACKED_TAG_BYTES + policy_bytes / _PACKED_POLICY_BYTES))
    if percent > 100:
        what = "Packed size of session tags" if not policy_bytes else "Packed policy"
        raise StsRefusal("PackedPolicyTooLarge", f"{what} consumes {percent}% of allotted space.")
    return percent


def _fields(access_key_id: str, session: Credential, packed: int) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "Credentials": {
            "AccessKeyId": access_key_id,
            "SecretAccessKey": session.secret_access_key,
            "SessionToken": session.token,
            "Expiration": f"{session.expiration:%Y-%m-%dT%H:%M:%SZ}",
        },
        "AssumedRoleUser": {"AssumedRoleId": session.user_id, "Arn": session.caller.arn},
    }
    if packed:
        fields["PackedPolicySize"] = str(packed)
    if session.source_identity is not None:
        fields["SourceIdentity"] = session.source_identity
    return fields
