"""The section `aws.revocation`: as whom the broker denies at AWS what it has handed out."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, ValidationInfo

from broker.config.elsewhere import Elsewhere
from broker.config.fault import fault
from broker.config.section import Section
from broker.config.values import EXTERNAL_ID_FORM, matching
from broker.core.partition import EXAMPLES
from broker.core.roles import EXTERNAL_ID, MalformedArn, RoleArn

# Stands for the account of the role that is to deny.
ACCOUNT = "{account}"
_SOME_ACCOUNT = "000000000000"
_HOPS_MAX = 5


def _pattern(text: str, info: ValidationInfo) -> str:
    try:
        arn = RoleArn.parse(text.replace(ACCOUNT, _SOME_ACCOUNT))
    except MalformedArn:
        what = "is not the ARN of an IAM role"
        raise fault(
            what, "write arn:aws:iam::{account}:role/NAME, or an account in place of {account}", shown=text
        ) from None
    seen = Elsewhere.seen_by(info)
    if seen.partition is not None and arn.partition != seen.partition:
        what = f"lies in the partition {arn.partition}, and aws.region in {seen.partition}, which no role leads out of"
        fix = f"correct the ARN, or set aws.region to one of {arn.partition}, such as {EXAMPLES[arn.partition]}"
        raise fault(what, fix, shown=text)
    if ACCOUNT not in text and seen.accounts is not None and arn.account not in seen.accounts:
        raise fault(
            "lies in an account that is not allowed",
            f'add "{arn.account}" to aws.allowed_accounts, or correct the ARN',
            shown=text,
        )
    return text


def _can_be_derived(wanted: bool, info: ValidationInfo) -> bool:  # noqa: FBT001  # pydantic's own calling convention
    if wanted and info.data.get("external_id") is not None:
        raise fault("stands beside external_id", "keep one of the two")
    if wanted and not Elsewhere.seen_by(info).has_external_ids:
        raise fault("needs a key to derive from", "add external_ids with key_file to aws")
    return wanted


class DenyHop(Section):
    """One AssumeRole call."""

    arn: Annotated[str, AfterValidator(_pattern)] = Field(
        description="The role to assume; `{account}` in it is that of the role that is to deny: "
        "`arn:aws:iam::{account}:role/ZeroTrustRevocation`."
    )
    external_id: (
        Annotated[str, matching(EXTERNAL_ID.pattern, "is not an external ID", EXTERNAL_ID_FORM, shown=False)] | None
    ) = Field(default=None, repr=False, description="The external ID that the role's trust policy demands.")
    derive_external_id: Annotated[bool, AfterValidator(_can_be_derived)] = Field(
        default=False, description="Instead: the external ID is computed, by `aws.external_ids`."
    )

    def at(self, account: str) -> RoleArn:
        """The role of this hop on the way into an account."""
        return RoleArn.parse(self.arn.replace(ACCOUNT, account))


def _reaches_all(chain: tuple[DenyHop, ...], info: ValidationInfo) -> tuple[DenyHop, ...]:
    if chain and Elsewhere.seen_by(info).keyless and (chain[0].external_id or chain[0].derive_external_id):
        what = "has an external ID at its first hop, which is taken with a token and cannot send one"
        raise fault(what, "remove it there (the trust policy names issuer and audience instead)")
    if chain and ACCOUNT not in chain[-1].arn:
        what = "ends in one account, and an inline policy is put from inside the account of its role"
        raise fault(what, "write {account} in the last arn", shown=chain[-1].arn)
    return chain


class AwsRevocation(Section):
    """Whose sessions may read, put and delete the inline policies `ZeroTrustRevocation-...` of the roles (docs/revocation.md)."""

    chain: Annotated[tuple[DenyHop, ...], AfterValidator(_reaches_all)] = Field(
        min_length=1,
        max_length=_HOPS_MAX,
        description="From the broker's own credentials to the role that may do it in the account of the role that is to deny.",
    )
