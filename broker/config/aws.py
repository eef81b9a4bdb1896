"""The section `aws`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationInfo

from broker.config.aws_revocation import AwsRevocation
from broker.config.elsewhere import Elsewhere
from broker.config.external_ids import ExternalIds
from broker.config.fault import fault
from broker.config.section import Section
from broker.config.values import (
    AccountNumber,
    AsText,
    PrivateFile,
    RateText,
    SecretText,
    matching,
    parse_issuer,
    parse_signin_endpoint,
    parse_sts_endpoint,
)
from broker.core.partition import partition_of, partition_of_host
from broker.core.rate import Rate
from broker.core.secret import Secret, Unasked
from broker.core.secret_path import is_path

_T = TypeVar("_T")


# Each region gets an equal share of the 4.5 s that a chain may take, and with less than a second a distant one is never heard.
_FAILOVER_MAX = 3


def _one_word(value: Secret) -> Secret:
    # A request that carries a line break is never sent, and why would be seen at the first one only.
    if not isinstance(value, Unasked) and not re.fullmatch(r"[\x21-\x7e]+", value.reveal()):
        raise fault("is not one word", "write it without spaces and line breaks")
    return value


def _key_id_fits(value: str | None, info: ValidationInfo) -> str | None:
    return _fits_provider(value, info, "environment", "set AWS_ACCESS_KEY_ID")


def _secret_key_fits(value: Secret | None, info: ValidationInfo) -> Secret | None:
    return _fits_provider(value, info, "environment", "set ZEROTRUST_AWS_SECRET_KEY, or name a file as secret_key_file")


def _token_fits(value: Secret | None, info: ValidationInfo) -> Secret | None:
    return value if value is None else _fits_provider(value, info, "environment", "")


def _file_fits(value: Path | None, info: ValidationInfo) -> Path | None:
    return _fits_provider(value, info, "file", "name a private file in the form of ~/.aws/credentials")


def _profile_fits(value: str | None, info: ValidationInfo) -> str | None:
    if info.data.get("credentials_provider") == "file":
        return value
    return _fits_provider(value, info, "profile", "name a profile of the AWS SDK's shared files")


def _secret_path(text: str) -> str:
    if not is_path(text):
        raise fault(
            "is not the path of a secret", "write letters, digits and . _ @ - with slashes between: zerotrust/aws"
        )
    return text


def _secret_fits(value: str | None, info: ValidationInfo) -> str | None:
    return _fits_provider(value, info, "secret", "name the secret's path in the vault")


def _issuer_fits(value: str | None, info: ValidationInfo) -> str | None:
    return _fits_provider(value, info, "web_identity", "name the URL that AWS fetches the broker's public key from")


def _fits_provider(value: _T, info: ValidationInfo, mine: str, how_to_set: str) -> _T:
    """A key that belongs to the provider ``mine`` is there with it, and only with it."""
    provider = info.data.get("credentials_provider")
    if provider == mine and value is None and (mine != "environment" or Elsewhere.seen_by(info).signs):
        fix = f"{how_to_set}, or set credentials_provider to default (instance profile, container, SSO)"
        raise fault(f"is missing, and credentials_provider is {mine}", fix)
    if provider is not None and provider != mine and value is not None:
        raise fault(f"has no effect with credentials_provider {provider}", f"remove it, or set the provider to {mine}")
    return value


def _known_partition(region: str) -> str:
    if partition_of(region) is None:
        raise fault("lies in none of the partitions aws, aws-cn, aws-us-gov", "write a region of one", shown=region)
    return region


def _in_partition(endpoint: str, info: ValidationInfo) -> str:
    region = info.data.get("region")
    partition = partition_of_host(urlsplit(endpoint).hostname or "")
    if region is not None and partition not in (None, partition_of(region)):
        what = f"lies in the partition {partition}, and aws.region in {partition_of(region)}"
        raise fault(what, f"remove it: without it the endpoint of {region} is used", shown=endpoint)
    return endpoint


def _once(aliases: Mapping[str, str]) -> Mapping[str, str]:
    if len(set(aliases.values())) < len(aliases):
        raise fault("has two names for one account", "keep one of the two")
    return aliases


def _all_allowed(accounts: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
    allowed = info.data.get("allowed_accounts")
    for account in accounts:
        if allowed is not None and account not in allowed:
            # A mark that is misspelt would be missing on the page, and nobody would know.
            raise fault("is not among aws.allowed_accounts", "correct it, or take it out", shown=account)
    return accounts


def _per_second(rate: Rate) -> Rate:
    if rate.seconds != 1:
        # Calls leave evenly spaced: a few a minute would be further apart than a chain may take.
        raise fault("is not a rate per second", "write 100/second")
    return rate


_Region = Annotated[
    str,
    matching(r"[a-z]{2,}(-[a-z]+)+-[0-9]{1,2}", "is not an AWS region", "write eu-central-1"),
    AfterValidator(_known_partition),
]
_SecretWord = Annotated[SecretText, AfterValidator(_one_word)]
_StsEndpoint = Annotated[str, AsText(parse_sts_endpoint), AfterValidator(_in_partition)]


class OtherRegion(Section):
    """A region to go on in."""

    region: _Region = Field(description="Such as `eu-west-1`; of the same partition.")
    sts_endpoint: _StsEndpoint | None = Field(
        default=None, description="Another STS endpoint, as above. Without it: the region's."
    )


def _within_the_partition(failover: tuple[OtherRegion, ...], info: ValidationInfo) -> tuple[OtherRegion, ...]:
    first = info.data.get("region")
    if first is None:
        return failover  # its own fault is reported
    regions = [other.region for other in failover]
    for region in regions:
        if partition_of(region) != partition_of(first):
            fix = f"name regions of the partition of {first}: accounts, roles and tokens of one mean nothing in another"
            raise fault("is in another partition than aws.region", fix, shown=region)
    if len({first, *regions}) <= len(regions):
        raise fault("names a region twice, or aws.region", "name each other region once")
    return failover


class Aws(Section):
    """Where the broker's own AWS credentials come from, and how far they may reach."""

    region: _Region = Field(description="The region of the STS endpoint, such as `eu-central-1`.")
    credentials_provider: Literal["environment", "default", "profile", "file", "secret", "web_identity"] = Field(
        default="environment",
        description="`environment`: `access_key_id`, `secret_key` and `session_token` below. "
        "`default`: the AWS SDK's own search (instance profile, container, shared files). "
        "`profile`: `profile` of the SDK's shared files. `file`: `credentials_file`, taken over when it changes. "
        "`secret`: `credentials_secret` in the vault, taken over when it changes. "
        "`web_identity`: none at all; AWS believes tokens of `web_identity_issuer` (docs/keyless.md).",
    )
    access_key_id: Annotated[
        Annotated[str, matching(r"\w{16,128}", "is not an access key id", "write AKIA...")] | None,
        AfterValidator(_key_id_fits),
    ] = Field(default=None, validate_default=True, description="Also read from `AWS_ACCESS_KEY_ID`.")
    secret_key: Annotated[_SecretWord | None, AfterValidator(_secret_key_fits)] = Field(
        default=None, validate_default=True, description="Secret. Also read from `AWS_SECRET_ACCESS_KEY`."
    )
    session_token: Annotated[_SecretWord | None, AfterValidator(_token_fits)] = Field(
        default=None,
        validate_default=True,
        description="Secret, for temporary keys. Also read from `AWS_SESSION_TOKEN`.",
    )
    profile: Annotated[
        Annotated[str, matching(r"[\w.@+=,/ -]{1,128}", "is not the name of a profile", "write default")] | None,
        AfterValidator(_profile_fits),
    ] = Field(
        default=None,
        validate_default=True,
        description="With the provider `profile`: its name. With `file`: the file's section; without it: `default`.",
    )
    credentials_file: Annotated[PrivateFile | None, AfterValidator(_file_fits)] = Field(
        default=None,
        validate_default=True,
        description="A private file in the form of `~/.aws/credentials`. What cannot be used leaves the last good keys.",
    )
    credentials_secret: Annotated[
        Annotated[str, AsText(_secret_path)] | None,
        AfterValidator(_secret_fits),
    ] = Field(
        default=None,
        validate_default=True,
        description="With the provider `secret`: the path of a secret in the vault with the fields `access_key_id`, "
        "`secret_access_key` and perhaps `session_token`, or of Vault's AWS engine, such as `aws/creds/broker`.",
    )
    web_identity_issuer: Annotated[Annotated[str, AsText(parse_issuer)] | None, AfterValidator(_issuer_fits)] = Field(
        default=None,
        validate_default=True,
        description="The URL that AWS knows the broker by as an OpenID Connect provider: `https://HOST[/PATH]`.",
    )
    sts_endpoint: _StsEndpoint | None = Field(
        default=None,
        description="Another STS endpoint: a VPC endpoint by https, or a test double by http on loopback. "
        "Without it: the region's.",
    )
    iam_endpoint: _StsEndpoint | None = Field(
        default=None,
        description="Another IAM endpoint for `revocation`: by https, or a test double by http on loopback. "
        "Without it: the partition's.",
    )
    signin_endpoint: Annotated[str, AsText(parse_signin_endpoint)] | None = Field(
        default=None,
        description="Another endpoint to sign in to the console: a region's by https, or a test double by http on loopback. "
        "Without it: the partition's.",
    )
    failover: Annotated[
        Annotated[tuple[OtherRegion, ...], Field(max_length=_FAILOVER_MAX)], AfterValidator(_within_the_partition)
    ] = Field(
        default=(),
        description="Regions to ask where STS of `region` does not answer, the next one first; at most three.",
    )
    sts_rate: Annotated[RateText, AfterValidator(_per_second)] = Field(
        default="100/second",  # validated like any other value
        validate_default=True,
        description="AssumeRole calls of this instance, at most; a chain of two hops is two. AWS grants an account 600 a "
        "second in a region, to all that is in it. What would wait too long is refused: 503 `overloaded`.",
    )
    allowed_accounts: tuple[AccountNumber, ...] | None = Field(
        default=None,
        min_length=1,
        description="The AWS accounts that chains may touch, twelve digits in quotes. Without it: any.",
    )
    account_aliases: Annotated[
        Mapping[
            Annotated[
                str,
                matching(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", "is not an alias", "use letters, digits, dots and dashes"),
            ],
            AccountNumber,
        ],
        AfterValidator(_once),
    ] = Field(
        default_factory=dict,
        description='What people call accounts, shown beside their numbers: `{prod: "111122223333"}`.',
    )
    production_accounts: Annotated[tuple[AccountNumber, ...], AfterValidator(_all_allowed)] = Field(
        default=(),
        description="The accounts that people must not mistake for others, marked in `/v1/roles`, `zerotrust roles` and on the "
        "page. It allows and forbids nothing.",
    )
    external_ids: ExternalIds | None = Field(
        default=None,
        description="The key of the external IDs that the broker computes for hops with `derive_external_id`.",
    )
    revocation: AwsRevocation | None = Field(
        default=None,
        description="How `revoke-credentials --aws` denies sessions that AWS has handed out. Without it: it cannot.",
    )
