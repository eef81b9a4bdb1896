"""The variables by which AWS SDKs find credentials: those that we give, and those that must not stand beside them."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# As `aws configure export-credentials` names them. The last one is read by people and by a few tools, by no SDK.
KEYS = {
    "AWS_ACCESS_KEY_ID": "AccessKeyId",
    "AWS_SECRET_ACCESS_KEY": "SecretAccessKey",
    "AWS_SESSION_TOKEN": "SessionToken",
    "AWS_CREDENTIAL_EXPIRATION": "Expiration",
}

# Each of them names another identity to some SDK, or where to get one. Which of two goes first differs between the SDKs
# (botocore takes keys before AWS_PROFILE, the SDK for JavaScript the profile first), so beside ours there is none.
CONFLICTING = (
    *KEYS,
    "AWS_ACCOUNT_ID",  # whose account-based endpoints are asked
    "AWS_CREDENTIAL_SCOPE",
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_SECURITY_TOKEN",  # older than AWS_SESSION_TOKEN, and botocore reads it first
    "AWS_ACCESS_KEY",  # of the SDKs for Java, PHP and Ruby
    "AWS_SECRET_KEY",
    "AMAZON_ACCESS_KEY_ID",  # of the SDK for Ruby
    "AMAZON_SECRET_ACCESS_KEY",
    "AMAZON_SESSION_TOKEN",
    "AWS_CREDENTIAL_FILE",  # of boto 2
)


def given(members: Mapping[str, str]) -> dict[str, str]:
    """Keys as variables; ``members`` of the broker's answer."""
    return {name: members[member] for name, member in KEYS.items()}


def beside(environ: Mapping[str, str], ours: Iterable[str] = ()) -> list[str]:
    """Which variables of an environment stand in the way of ``ours``."""
    kept = set(ours)
    return [name for name in CONFLICTING if name in environ and name not in kept]


def replaced(environ: Mapping[str, str], ours: Mapping[str, str]) -> dict[str, str]:
    """An environment with ours in it, and nothing that stands in their way."""
    return {name: value for name, value in environ.items() if name not in CONFLICTING} | dict(ours)
