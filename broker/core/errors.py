"""Every way a request can fail, as one family.

A branch says what the caller may do about it; ``code`` is the public name (``docs/failures/``), ``reason`` is the precise
cause and goes to the audit record only, never into a body. Exceptions of libraries end at the adapter that called them and
are re-raised as one of these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from broker.core.principal import Principal
from broker.core.step_up import StepUp


@dataclass(frozen=True, slots=True)
class Bearer:
    """Whom a ticket names that Kerberos has verified, or a session that opened, and that does not count all the same.

    ``impersonated_by`` as in Identity.
    """

    principal: Principal
    impersonated_by: tuple[str, ...] | None


class BrokerError(Exception):
    """The root.

    ``reason`` is a short snake_case word for the audit record, ``str(error)`` a sentence for the operator's log. ``hint``
    alone is public: what the caller can do, where that is not the same for every error of the class. ``bearer`` is for the
    record, where a ticket or session had named somebody before it failed.
    """

    code: ClassVar[str]
    bearer: Bearer | None = None

    def __init__(self, message: str = "", *, reason: str | None = None, hint: str | None = None) -> None:
        super().__init__(message or reason or type(self).code)
        self.reason = reason or type(self).code
        self.hint = hint


class BadRequest(BrokerError):
    """The request is not one this broker understands."""

    code = "bad_request"


class NotFound(BrokerError):
    """No such route."""

    code = "not_found"


class MethodNotAllowed(BrokerError):
    """The route exists, the method does not. ``allowed`` are the methods that do."""

    code = "method_not_allowed"

    def __init__(self, message: str = "", *, allowed: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.allowed = allowed


class TooLarge(BrokerError):
    """The body is longer than any request of ours."""

    code = "too_large"


class HeadersTooLarge(BrokerError):
    """More header than any ticket needs."""

    code = "headers_too_large"


class UnsupportedMediaType(BrokerError):
    """The body is not JSON."""

    code = "unsupported_media_type"


class AuthRequired(BrokerError):
    """Nobody has been named yet: the client is asked for a ticket."""

    code = "auth_required"


class AuthFailed(BrokerError):
    """A ticket was shown and does not count."""

    code = "auth_failed"


class PassRefused(AuthFailed):
    """A job pass was shown and does not count. No challenge: no browser has one to answer with."""

    code = "auth_failed"


class SignatureRefused(AuthFailed):
    """A request that must be signed is not, or not by a key of its sender."""

    code = "signature_refused"


class PassesUnavailable(BrokerError):
    """Nobody can say whether a job pass was cancelled, therefore it does not count."""

    code = "passes_unavailable"


class AccessDenied(BrokerError):
    """Known, and not allowed. An unknown role and a forbidden one look alike."""

    code = "access_denied"


class Revoked(BrokerError):
    """Somebody's access was revoked, and is until an operator restores it."""

    code = "revoked"


class CrossSiteBlocked(BrokerError):
    """Another web page is asking. It never sees a challenge, so no browser ever sends it a ticket."""

    code = "cross_site_blocked"


class HostNotAllowed(BrokerError):
    """The Host is none of ours (DNS rebinding, or a missing entry in ``server.hostnames``)."""

    code = "host_not_allowed"


class RateLimited(BrokerError):
    """Asked more often than ``server.rate_limit`` allows. ``retry_after``: whole seconds until one more request may pass."""

    code = "rate_limited"

    def __init__(self, message: str = "", *, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class StsError(BrokerError):
    """AWS did not give what was asked for."""


class StsRejected(StsError):
    """STS refused, or answered something that must not be used."""

    code = "sts_rejected"


class StsDenied(StsRejected):
    """A policy in AWS does not let us have a role. Asking again brings the same answer."""

    code = "sts_rejected"


class StsUnavailable(StsError):
    """STS throttles or is out of reach; trying later helps."""

    code = "sts_unavailable"


class StsTimeout(StsError):
    """STS did not answer in time."""

    code = "sts_timeout"


class Overloaded(BrokerError):
    """More is asked of AWS than ``aws.sts_rate`` allows in the time that a client waits."""

    code = "overloaded"


class AuditUnavailable(BrokerError):
    """The record cannot be written, therefore nothing is handed out."""

    code = "audit_unavailable"


class ReplayGuardUnavailable(BrokerError):
    """Nobody can say whether the ticket was used before, therefore it does not count."""

    code = "replay_guard_unavailable"


class RevocationsUnavailable(BrokerError):
    """A revocation cannot be made durable, therefore nobody may rely on it."""

    code = "revocations_unavailable"


class DirectoryUnavailable(BrokerError):
    """Nobody can say which groups somebody is in, and no rule allows it without."""

    code = "directory_unavailable"


class StepUpRequired(BrokerError):
    """Allowed, with a stronger or fresher ticket. The hint says which, and so does ``step_up``; a new one where that is None."""

    code = "step_up_required"
    step_up: StepUp | None = None


class ApprovalRequired(BrokerError):
    """Allowed, with a reason, or once others have approved. The hint says which."""

    code = "approval_required"


class ApprovalsUnavailable(BrokerError):
    """Nobody can say what was approved, therefore nothing was."""

    code = "approvals_unavailable"


class SecretNotFound(BrokerError):
    """Somebody who may read there asked for a secret, or a version of it, that is not there."""

    code = "secret_not_found"


class VersionConflict(BrokerError):
    """The secret is not, or no longer, at the version that the caller took for the newest."""

    code = "version_conflict"


class SecretsUnavailable(BrokerError):
    """The vault does not answer, is sealed or is not what it should be; trying later may help."""

    code = "secrets_unavailable"


class SecretsRejected(BrokerError):
    """The vault refuses the broker, or cannot do what was asked. Asking again brings the same answer."""

    code = "secrets_rejected"


class KeysUnavailable(BrokerError):
    """The master key was out of reach for longer than ``encryption`` allows: nothing is sealed or opened."""

    code = "keys_unavailable"


class Draining(BrokerError):
    """The broker is going down; another instance or a retry will answer."""

    code = "draining"


class InternalError(BrokerError):
    """A defect of ours. Never an allow."""

    code = "internal_error"


class ConfigurationError(Exception):
    """The configuration must not start (exit 78). ``problems`` are whole lines: place, fault, fix."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class ConfigurationUnavailable(ConfigurationError):
    """A part of the configuration stands in a vault that does not answer: the same start may succeed later (exit 75)."""
