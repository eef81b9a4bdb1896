"""Signature Version 4 in the Authorization header, really verified.

Written from the specification and not with botocore, so that what signs is never also what judges.
Source: IAM user guide, "Create a signed AWS API request"; the messages are AWS's.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, quote

from tests.fakes.sts.wire import StsRefusal

# STS refuses a signature whose x-amz-date is further away than this, in both directions.
CLOCK_SKEW = timedelta(minutes=15)

_ALGORITHM = "AWS4-HMAC-SHA256"
_AMZ_DATE = "%Y%m%dT%H%M%SZ"
_AUTHORIZATION = re.compile(
    rf"{_ALGORITHM} +Credential=(?P<key>[^/,\s]+)/(?P<date>[0-9]{{8}})/(?P<region>[a-z0-9-]+)/(?P<service>[a-z0-9-]+)"
    r"/aws4_request,\s*SignedHeaders=(?P<headers>[a-z0-9;-]+),\s*Signature=(?P<signature>[0-9a-f]{64})"
)


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """An HTTP request as it came in. Header names are in lower case; ``path`` is as sent, ``query`` without ``?``."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Claim:
    """What the Authorization header says; nothing of it is proven yet."""

    access_key_id: str
    session_token: str | None
    scope: str
    signed_headers: tuple[str, ...]
    signature: str
    date: str


def region_of(request: SignedRequest) -> str | None:
    """The region that a request is signed for: one server stands for all of them."""
    match = _AUTHORIZATION.fullmatch(request.headers.get("authorization", "").strip())
    return match["region"] if match else None


def read_claim(request: SignedRequest, *, now: datetime, service: str = "sts") -> Claim:
    """Everything about the signature that needs no secret: its form, scope, signed headers and age.

    Raises:
        StsRefusal: MissingAuthenticationToken, IncompleteSignature or SignatureDoesNotMatch.
    """
    header = request.headers.get("authorization")
    if not header:
        raise StsRefusal("MissingAuthenticationToken", "Request is missing Authentication Token", status=403)
    match = _AUTHORIZATION.fullmatch(header.strip())
    if match is None:
        raise StsRefusal(
            "IncompleteSignature",
            "Authorization header requires 'Credential', 'SignedHeaders' and 'Signature' parameters of "
            f"{_ALGORITHM}. Authorization={hashlib.sha256(header.encode()).hexdigest()[:16]} (hashed)",
        )
    if match["service"] != service:
        raise _mismatch(f"Credential should be scoped to correct service: '{service}'. ")
    date = request.headers.get("x-amz-date", "")
    _check_date(date, match["date"], now)
    signed = tuple(match["headers"].split(";"))
    _check_signed_headers(request, signed)
    return Claim(
        access_key_id=match["key"],
        session_token=request.headers.get("x-amz-security-token"),
        scope=f"{match['date']}/{match['region']}/{service}/aws4_request",
        signed_headers=signed,
        signature=match["signature"],
        date=date,
    )


def verify(request: SignedRequest, claim: Claim, secret_access_key: str) -> None:
    """Recompute the signature.

    Raises:
        StsRefusal: SignatureDoesNotMatch.
    """
    canonical = "\n".join(
        (
            request.method,
            request.path or "/",
            _canonical_query(request.query),
            *(f"{name}:{' '.join(request.headers[name].split())}" for name in claim.signed_headers),
            "",
            ";".join(claim.signed_headers),
            hashlib.sha256(request.body).hexdigest(),
        )
    )
    to_sign = "\n".join(
        (_ALGORITHM, claim.date, claim.scope, hashlib.sha256(canonical.encode(errors="surrogateescape")).hexdigest())
    )
    key = f"AWS4{secret_access_key}".encode()
    for part in claim.scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    if not hmac.compare_digest(hmac.digest(key, to_sign.encode(), "sha256").hex(), claim.signature):
        raise _mismatch(
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret "
            "Access Key and signing method. Consult the service documentation for details."
        )


def expired(signed: datetime, now: datetime) -> StsRefusal:
    """AWS's words for a signature from too far in the past."""
    return _mismatch(
        f"Signature expired: {signed:{_AMZ_DATE}} is now earlier than {now - CLOCK_SKEW:{_AMZ_DATE}} "
        f"({now:{_AMZ_DATE}} - 15 min.)"
    )


def _check_date(date: str, scope_date: str, now: datetime) -> None:
    try:
        signed = datetime.strptime(date, _AMZ_DATE).replace(tzinfo=UTC)
    except ValueError:
        raise StsRefusal(
            "IncompleteSignature", "Authorization header requires existence of a valid 'X-Amz-Date' header."
        ) from None
    if signed < now - CLOCK_SKEW:
        raise expired(signed, now)
    if signed > now + CLOCK_SKEW:
        raise _mismatch(
            f"Signature not yet current: {date} is still later than {now + CLOCK_SKEW:{_AMZ_DATE}} "
            f"({now:{_AMZ_DATE}} + 15 min.)"
        )
    if not date.startswith(scope_date):
        raise _mismatch(
            f"Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
            f"'{scope_date}' != '{date[:8]}', from '{date}'."
        )


def _check_signed_headers(request: SignedRequest, signed: tuple[str, ...]) -> None:
    if "host" not in signed:
        raise _mismatch("'Host' must be a 'SignedHeader' in the AWS Authorization.")
    for name in request.headers:
        if name.startswith("x-amz-") and name not in signed:
            raise _mismatch(f"There were headers present in the request which were not signed: {name}")
    if list(signed) != sorted(set(signed)) or not set(signed) <= set(request.headers):
        raise _mismatch("'SignedHeaders' must be sorted, unique, and present in the request.")


def _canonical_query(query: str) -> str:
    pairs = parse_qsl(query, keep_blank_values=True)
    return "&".join(sorted(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in pairs))


def _mismatch(message: str) -> StsRefusal:
    return StsRefusal("SignatureDoesNotMatch", message, status=403)
