"""What IAM says of the live roles, read with an operator's own credentials. Reads only.

Needs `iam:GetRole`, `iam:ListRolePolicies`, `iam:GetRolePolicy`, `iam:ListAttachedRolePolicies`, `iam:GetPolicy`,
`iam:GetPolicyVersion`, and for a broker that is a user their namesakes for users and groups.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import boto3
from botocore import exceptions
from botocore.config import Config

from broker.trust.documents import AwsPrincipal
from broker.trust.live import Live, NotThere, Unreadable

# A person waits at a terminal for a dozen answers; AWS gives each within a tenth of a second. Whoever answers decides whether all
# is well, so no variable or profile of the SDK's names another address: only what was given by hand does, and was looked at.
_PATIENCE = Config(
    connect_timeout=3,
    read_timeout=10,
    retries={"mode": "standard", "total_max_attempts": 3},
    ignore_configured_endpoint_urls=True,
)

_MISSING = "NoSuchEntity"
_FORBIDDEN = {"AccessDenied", "AccessDeniedException"}


class Account:
    """The one account that a set of credentials belongs to."""

    def __init__(self, *, profile: str | None, endpoint: str | None) -> None:
        """Find out which account it is.

        Args:
            profile: Of the AWS configuration files; None for boto3's own search.
            endpoint: Another address for IAM and STS, for tests.

        Raises:
            Unreadable: No credentials, no such profile, no region, or no answer.
        """
        with_profile = f"profile {profile}" if profile else "your AWS credentials"
        try:
            session = boto3.Session(profile_name=profile)
            self._iam = session.client("iam", endpoint_url=endpoint, config=_PATIENCE)
            sts = session.client("sts", endpoint_url=endpoint, config=_PATIENCE)
        except (exceptions.BotoCoreError, ValueError) as error:
            raise Unreadable(f"{with_profile}: {error}") from error
        who = _ask(sts.get_caller_identity, f"{with_profile}: GetCallerIdentity")
        self.number: str = who["Account"]
        self.caller: str = who["Arn"]

    def look_at(self, principal: AwsPrincipal) -> Live:
        """A user or role of this account.

        Raises:
            NotThere: There is none of this name.
            Unreadable: These credentials may not read all of it.
        """
        return self._role(principal.name) if principal.kind == "role" else self._user(principal.name)

    def _role(self, name: str) -> Live:
        role = _ask(self._iam.get_role, f"iam:GetRole {name}", RoleName=name)["Role"]
        return Live(
            arn=role["Arn"],
            trust=role["AssumeRolePolicyDocument"],
            policies=tuple(self._policies_of("role", RoleName=name)),
            boundary=self._boundary(role),
            max_session_duration=timedelta(seconds=role["MaxSessionDuration"]),
        )

    def _user(self, name: str) -> Live:
        user = _ask(self._iam.get_user, f"iam:GetUser {name}", UserName=name)["User"]
        policies = list(self._policies_of("user", UserName=name))
        for group in self._pages("list_groups_for_user", "Groups", UserName=name):
            policies += self._policies_of("group", GroupName=group["GroupName"])
        return Live(
            arn=user["Arn"],
            trust=None,
            policies=tuple(policies),
            boundary=self._boundary(user),
            max_session_duration=None,
        )

    def _policies_of(self, kind: str, **whose: str) -> Iterator[Any]:
        for name in self._pages(f"list_{kind}_policies", "PolicyNames", **whose):
            found = _ask(
                getattr(self._iam, f"get_{kind}_policy"), f"iam:Get{kind.title()}Policy", PolicyName=name, **whose
            )
            yield found["PolicyDocument"]
        for policy in self._pages(f"list_attached_{kind}_policies", "AttachedPolicies", **whose):
            yield self._managed(policy["PolicyArn"])

    def _managed(self, arn: str) -> Any:
        version = _ask(self._iam.get_policy, f"iam:GetPolicy {arn}", PolicyArn=arn)["Policy"]["DefaultVersionId"]
        found = _ask(self._iam.get_policy_version, f"iam:GetPolicyVersion {arn}", PolicyArn=arn, VersionId=version)
        return found["PolicyVersion"]["Document"]

    def _boundary(self, entity: dict[str, Any]) -> Any:
        boundary = entity.get("PermissionsBoundary")
        return self._managed(boundary["PermissionsBoundaryArn"]) if boundary else None

    def _pages(self, operation: str, member: str, **whose: str) -> list[Any]:
        def all_pages() -> list[Any]:
            pages = self._iam.get_paginator(operation).paginate(**whose)
            return [one for page in pages for one in page[member]]

        return _ask(all_pages, f"iam:{operation}")  # type: ignore[no-any-return]  # botocore has no types


def _ask(question: Callable[..., Any], what: str, **parameters: str) -> Any:
    try:
        return question(**parameters)
    except exceptions.ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code == _MISSING:
            raise NotThere(what) from error
        said = "not allowed" if code in _FORBIDDEN else code
        raise Unreadable(f"{what}: {said}") from error
    except exceptions.BotoCoreError as error:
        raise Unreadable(f"{what}: {error}") from error
