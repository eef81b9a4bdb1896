"""What STS's errors mean to us: each becomes one of the house's, told apart by what can be done about it.

Sources: AWS STS API Reference, AssumeRole (errors) and "Common errors"; botocore's own list of throttling codes.
"""

from __future__ import annotations

from botocore import exceptions

from broker.core.errors import StsDenied, StsError, StsRejected, StsUnavailable

THROTTLED = "sts_throttled"
TIMEOUT = "sts_timeout"
UNREACHABLE = "sts_unreachable"
BROKEN = "sts_broken"
MALFORMED = "malformed_answer"
BASE_EXPIRED = "base_credentials_expired"
BASE_REFUSED = "base_credentials_refused"
NO_BASE = "no_base_credentials"
CLOCK_SKEW = "clock_skew"
ISSUER_UNREACHABLE = "issuer_unreachable"
HSM_AWAY = "hsm_unavailable"
NO_ROOM = "packed_policy_too_large"

# Reasons that speak of one region's endpoint, or of the way there; another region may well answer.
OF_THE_REGION = frozenset({TIMEOUT, UNREACHABLE, BROKEN, MALFORMED})
# Reasons that speak of ourselves, whatever the region.
OUR_OWN = frozenset({BASE_EXPIRED, NO_BASE, CLOCK_SKEW, ISSUER_UNREACHABLE, HSM_AWAY})

# Errors that may pass; AWS names most of them twice.
_PASSING = {
    "Throttling": THROTTLED,
    "ThrottlingException": THROTTLED,
    "RequestLimitExceeded": THROTTLED,
    "TooManyRequestsException": THROTTLED,
    "SlowDown": THROTTLED,
    "ExpiredToken": BASE_EXPIRED,
    "ExpiredTokenException": BASE_EXPIRED,
    "RequestExpired": CLOCK_SKEW,
    "RequestTimeTooSkewed": CLOCK_SKEW,
    # AWS could not fetch what says that our tokens are ours.
    "IDPCommunicationError": ISSUER_UNREACHABLE,
}
# On the wire, and what botocore calls it.
_NO_ROOM_CODES = {"PackedPolicyTooLarge", "PackedPolicyTooLargeException"}
# Of the first hop, which is signed with the broker's own keys: they were changed or taken away.
_BAD_KEYS = {"InvalidClientTokenId", "SignatureDoesNotMatch", "UnrecognizedClientException"}
_SERVER_FAULT = 500
_SAID_MAX_CHARS = 300


def refusal(error: exceptions.ClientError, place: int) -> StsError:
    """An answer of STS that is an error, at hop number ``place``."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    message = str(error.response.get("Error", {}).get("Message", ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    said = f"hop {place}: {code}: {_first_line(message)}"
    if code in _PASSING:
        return StsUnavailable(said, reason=_PASSING[code])
    if "Signature expired" in message or "Signature not yet current" in message:
        return StsUnavailable(said, reason=CLOCK_SKEW)
    if status >= _SERVER_FAULT:
        return StsUnavailable(said, reason=BROKEN)
    if place == 1 and code in _BAD_KEYS:
        return StsRejected(said, reason=BASE_REFUSED)
    if code == "AccessDenied":
        return StsDenied(said, reason=f"hop{place}_access_denied")
    return StsRejected(said, reason=NO_ROOM if code in _NO_ROOM_CODES else f"hop{place}_refused")


def _first_line(message: str) -> str:
    """What may stand in a record. Of a wrong signature AWS goes on with the request as it was, session token and all."""
    line = message.partition("\n")[0][:_SAID_MAX_CHARS]
    return "".join(char if char.isprintable() else "?" for char in line)
