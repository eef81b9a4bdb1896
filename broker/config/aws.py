"""The section `aws`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationInfo

from broker.config.external_ids import ExternalIds
from broker.config.fault import fault
from broker.config.section import Section
from broker.config.values import AccountNumber, AsText, SecretText, matching, parse_signin_endpoint, parse_sts_endpoint
from broker.core.partition import partition_of, partition_of_host
from broker.core.secret import Secret

_T = TypeVar("_T")


def _key_id_fits(value: str | None, info: ValidationInfo) -> str | None:
    return _fits_provider(value, info, "set AWS_ACCESS_KEY_ID")


def _secret_key_fits(value: Secret | None, info: ValidationInfo) -> Secret | None:
    return _fits_provider(value, info, "set ZEROTRUST_AWS_SECRET_KEY, or name a file as secret_key_file")


def _token_fits(value: Secret | None, info: ValidationInfo) -> Secret | None:
    return value if value is None else _fits_provider(value, info, "")


def _fits_provider(value: _T, info: ValidationInfo, how_to_set: str) -> _T:
    provider = info.data.get("credentials_provider")
    if provider == "environment" and value is None:
        fix = f"{how_to_set}, or set credentials_provider to default (instance profile, container, SSO)"
        raise fault("is missing, and credentials_provider is environment", fix)
    if provider == "default" and value is not None:
        raise fault("has no effect with credentials_provider default", "remove it, or set the provider to environment")
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


class Aws(Section):
    """Where the broker's own AWS credentials come from, and how far they may reach."""

    region: Annotated[
        str,
        matching(r"[a-z]{2,}(-[a-z]+)+-[0-9]{1,2}", "is not an AWS region", "write eu-central-1"),
        AfterValidator(_known_partition),
    ] = Field(description="The region of the STS endpoint, such as `eu-central-1`.")
    credentials_provider: Literal["environment", "default"] = Field(
        default="environment",
        description="`environment`: `access_key_id`, `secret_key` and `session_token` below. "
        "`default`: the AWS SDK's own search (instance profile, container, shared files).",
    )
    access_key_id: Annotated[
        Annotated[str, matching(r"\w{16,128}", "is not an access key id", "write AKIA...")] | None,
        AfterValidator(_key_id_fits),
    ] = Field(default=None, validate_default=True, description="Also read from `AWS_ACCESS_KEY_ID`.")
    secret_key: Annotated[SecretText | None, AfterValidator(_secret_key_fits)] = Field(
        default=None, validate_default=True, description="Secret. Also read from `AWS_SECRET_ACCESS_KEY`."
    )
    session_token: Annotated[SecretText | None, AfterValidator(_token_fits)] = Field(
        default=None,
        validate_default=True,
        description="Secret, for temporary keys. Also read from `AWS_SESSION_TOKEN`.",
    )
    sts_endpoint: Annotated[str, AsText(parse_sts_endpoint), AfterValidator(_in_partition)] | None = Field(
        default=None,
        description="Another STS endpoint: a VPC endpoint by https, or a test double by http on loopback. "
        "Without it: the region's.",
    )
    signin_endpoint: Annotated[str, AsText(parse_signin_endpoint)] | None = Field(
        default=None,
        description="Another endpoint to sign in to the console: a region's by https, or a test double by http on loopback. "
        "Without it: the partition's.",
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
    external_ids: ExternalIds | None = Field(
        default=None,
        description="The key of the external IDs that the broker computes for hops with `derive_external_id`.",
    )
