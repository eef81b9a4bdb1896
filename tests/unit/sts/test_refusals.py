"""Every way in which STS says no, told apart by what the caller can do about it."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from broker.core.errors import StsDenied, StsRejected, StsUnavailable
from broker.sts.refusals import refusal


def refused(code: str, status: int = 403, message: str = "no") -> tuple[type, str]:
    answer = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    error = refusal(ClientError(answer, "AssumeRole"), 2)  # type: ignore[arg-type]
    return type(error), error.reason


@pytest.mark.parametrize("code", ["Throttling", "ThrottlingException", "RequestLimitExceeded", "SlowDown"])
def test_throttling_is_for_later_whatever_its_name_and_status(code: str) -> None:
    assert refused(code, 400) == (StsUnavailable, "sts_throttled")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("RequestExpired", "no"),
        ("RequestTimeTooSkewed", "no"),
        ("SignatureDoesNotMatch", "Signature expired: 20260131T115500Z is now earlier than 20260131T120000Z"),
        ("SignatureDoesNotMatch", "Signature not yet current: 20260131T121000Z is still later than 20260131T120000Z"),
    ],
)
def test_clocks_that_differ_are_told_apart_from_a_wrong_key(code: str, message: str) -> None:
    assert refused(code, message=message) == (StsUnavailable, "clock_skew")
    assert refused("SignatureDoesNotMatch") == (StsRejected, "hop2_refused")


@pytest.mark.parametrize("code", ["ExpiredToken", "ExpiredTokenException"])
def test_base_credentials_that_ended_are_our_own_fault(code: str) -> None:
    assert refused(code) == (StsUnavailable, "base_credentials_expired")


@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_broken_sts_is_for_later(status: int) -> None:
    assert refused("InternalFailure", status) == (StsUnavailable, "sts_broken")


def test_a_denial_is_told_apart_because_it_may_be_remembered() -> None:
    assert refused("AccessDenied") == (StsDenied, "hop2_access_denied")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("ValidationError", "hop2_refused"),
        ("InvalidClientTokenId", "hop2_refused"),
        ("PackedPolicyTooLarge", "packed_policy_too_large"),
        ("PackedPolicyTooLargeException", "packed_policy_too_large"),
        ("RegionDisabledException", "hop2_refused"),
        ("", "hop2_refused"),
    ],
)
def test_every_other_refusal_is_final_and_says_where_or_why(code: str, reason: str) -> None:
    assert refused(code) == (StsRejected, reason)


def test_an_error_without_any_members_is_a_refusal_too() -> None:
    assert type(refusal(ClientError({}, "AssumeRole"), 1)) is StsRejected


def test_of_what_aws_says_the_first_line_is_kept_and_nothing_that_a_terminal_would_obey() -> None:
    # What AWS answers to a wrong signature.
    message = (
        "The request signature\x1b[2J does not match.\n\nThe Canonical String was\nx-amz-security-token:canary"
        + "x" * 9
    )
    answer = {"Error": {"Code": "SignatureDoesNotMatch", "Message": message}}
    error = refusal(ClientError(answer, "AssumeRole"), 1)  # type: ignore[arg-type]
    assert str(error) == "hop 1: SignatureDoesNotMatch: The request signature?[2J does not match."
