"""The one table from errors to answers. Total: every error of the house stands in it (tests/architecture).

Bodies are RFC 9457. What was wrong with a ticket, a rule or AWS's answer is in the audit record; the body tells its reader what
to do, and nothing more.
"""

from __future__ import annotations

from typing import NamedTuple

from broker import wire
from broker.core import errors


class Answer(NamedTuple):
    """A status, what it means in a few words, and what the caller can do."""

    status: int
    title: str
    hint: str


TABLE: dict[type[errors.BrokerError], Answer] = {
    errors.BadRequest: Answer(400, "The request is malformed", "send one JSON object with the member `role`"),
    errors.AuthRequired: Answer(401, "A Kerberos ticket is needed", "run zerotrust login or kinit, then try again"),
    errors.AuthFailed: Answer(
        401, "The ticket was not accepted", "run zerotrust login or kinit for a new ticket, then try again"
    ),
    errors.SignatureRefused: Answer(
        401,
        "The request's signature was not accepted",
        "sign it with a key that is registered for you, by a clock that is right to a minute",
    ),
    errors.PassRefused: Answer(401, "The job pass was not accepted", "make a new one with a ticket: POST /v1/passes"),
    errors.AccessDenied: Answer(403, "Not allowed", "see `zerotrust roles` for what you may have"),
    errors.StepUpRequired: Answer(
        403, "A stronger or fresher ticket is needed", "run zerotrust login, in the way the role needs"
    ),
    errors.ApprovalRequired: Answer(
        403, "A reason or an approval is needed", "see `zerotrust roles` for what the role needs"
    ),
    errors.Revoked: Answer(403, "Access is revoked", "ask the broker's administrator, who can restore it"),
    errors.CrossSiteBlocked: Answer(
        403, "Asked by another web page", f"send the header {wire.REQUEST_HEADER}: {wire.REQUEST_HEADER_VALUE}"
    ),
    errors.NotFound: Answer(404, "No such address", "see the broker's documentation for its routes"),
    errors.MethodNotAllowed: Answer(405, "Not with this method", "use a method of the Allow header"),
    errors.SecretNotFound: Answer(404, "No such secret", "see `zerotrust-admin secrets list` for what is there"),
    errors.VersionConflict: Answer(409, "The secret was changed meanwhile", "read it again, then try again"),
    errors.TooLarge: Answer(413, "The body is too large", f"send at most {wire.REQUEST_BODY_MAX} bytes"),
    errors.UnsupportedMediaType: Answer(415, "The body is not JSON", f"send Content-Type: {wire.JSON}"),
    errors.HostNotAllowed: Answer(421, "Not a name of this broker", "use the host name in server.hostnames"),
    errors.RateLimited: Answer(429, "Too many requests", "wait as long as Retry-After says, then try again"),
    errors.HeadersTooLarge: Answer(431, "The headers are too large", "send a smaller ticket, without other headers"),
    errors.InternalError: Answer(500, "The broker failed", "tell its administrator the request id"),
    errors.StsRejected: Answer(502, "AWS refused", "tell the broker's administrator the request id"),
    errors.StsDenied: Answer(502, "AWS refused", "tell the broker's administrator the request id"),
    errors.SecretsRejected: Answer(502, "The vault refused", "tell the broker's administrator the request id"),
    errors.SecretsUnavailable: Answer(503, "The vault is not available", "try again in a moment"),
    errors.KeysUnavailable: Answer(503, "The keys are not available", "tell the broker's administrator"),
    errors.StsUnavailable: Answer(503, "AWS is not available", "try again in a moment"),
    errors.AuditUnavailable: Answer(503, "The audit log is not available", "tell the broker's administrator"),
    errors.ReplayGuardUnavailable: Answer(503, "The replay guard is not available", "try again in a moment"),
    errors.PassesUnavailable: Answer(503, "Job passes cannot be checked", "try again in a moment"),
    errors.RevocationsUnavailable: Answer(
        503, "The revocation is not on disk", "try again in a moment; until it succeeds, do not rely on it"
    ),
    errors.ApprovalsUnavailable: Answer(503, "Approvals cannot be checked", "try again in a moment"),
    errors.DirectoryUnavailable: Answer(503, "The directory is not available", "try again in a moment"),
    errors.Overloaded: Answer(503, "The broker has too much to do", "try again in a moment"),
    errors.Draining: Answer(503, "The broker is going down", "try again in a moment"),
    errors.StsTimeout: Answer(504, "AWS did not answer in time", "try again in a moment"),
}

# Seconds. Long enough that a herd does not come back at once, short enough for somebody at a prompt.
RETRY_AFTER = 5


def body(error: errors.BrokerError, *, request_id: str) -> bytes:
    """The problem document of an error."""
    answer = TABLE[type(error)]
    return wire.problem_body(
        code=error.code,
        status=answer.status,
        title=answer.title,
        hint=error.hint or answer.hint,
        request_id=request_id,
    )


def headers(error: errors.BrokerError) -> dict[str, str]:
    """The headers that an error's status asks for."""
    status = TABLE[type(error)].status
    if status == 401:  # noqa: PLR2004
        # RFC 9110 section 11.6.1 wants a challenge with every 401; no browser answers this one (RFC 6750 section 3).
        return {"WWW-Authenticate": "Bearer" if isinstance(error, errors.PassRefused) else "Negotiate"}
    if isinstance(error, errors.MethodNotAllowed):
        return {"Allow": ", ".join(error.allowed)}
    if isinstance(error, errors.RateLimited):
        return {"Retry-After": str(error.retry_after)}
    if status == 503:  # noqa: PLR2004
        return {"Retry-After": str(RETRY_AFTER)}
    return {}
