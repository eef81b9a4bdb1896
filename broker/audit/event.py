"""What a record says, before it is chained and signed.

The members and their names are the guide's and those of docs/audit.md. A record never holds a secret, a token or a session
key: an event has no place to put one.
"""

from __future__ import annotations

import enum
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from broker.core.clock import rfc3339, rfc3339_micro
from broker.core.credentials import Credentials
from broker.core.identity import Identity
from broker.core.principal import Principal


class Kind(enum.StrEnum):
    """The ``event`` member."""

    START = "broker_start"
    STOP = "broker_stop"
    RECOVERY = "recovery"
    RECOVERED = "audit_recovered"
    SEGMENT = "segment_begun"
    NEIGHBOUR = "neighbour_checkpoint"
    KEY_SUCCEEDED = "key_succeeded"
    KEY_CHANGED = "key_changed_uncertified"
    KEY_ROTATED = "key_rotated"
    KEY_REWRAPPED = "key_rewrapped"
    KEY_DESTROYED = "key_destroyed"
    RELOAD = "reload"
    CONFIG_RELOADED = "config_reloaded"
    CONFIG_REFUSED = "config_refused"
    CLOCK_JUMP = "clock_jump"
    INTENT = "intent"
    ISSUED = "issued"
    FETCHED = "fetched"
    SHOWN = "shown"
    DELEGATED = "pass_issued"
    RENEWED = "pass_renewed"
    ATTENUATED = "pass_attenuated"
    CANCELLED = "pass_cancelled"
    PROBED = "probed"
    NOT_ENFORCED = "external_id_not_enforced"
    ENDED = "session_ended"
    REVOKED = "access_revoked"
    RESTORED = "access_restored"
    AWS_DENIED = "aws_denied"
    AWS_DENY_REMOVED = "aws_deny_removed"
    AWS_DENY_FAILED = "aws_deny_failed"
    REFUSED = "refused"
    SECRET = "secret_access"  # noqa: S105
    REWRAPPED = "secrets_rewrapped"
    BACKED_UP = "secrets_backed_up"
    BROUGHT_BACK = "secrets_restored"
    BACKUP_GOOD = "secrets_backup_verified"
    BACKUP_BAD = "secrets_backup_bad"
    TAMPER = "cache_tamper"
    VAULT_TAMPER = "vault_tamper"
    ALERT = "alert"
    ELEVATION_REQUESTED = "elevation_requested"
    ELEVATION_APPROVED = "elevation_approved"
    ELEVATION_DENIED = "elevation_denied"
    BREAK_GLASS = "break_glass"
    REVIEW_SEALED = "review_sealed"
    REVIEW_CLOSED = "review_closed"
    NOTIFIED = "notified"
    NOT_NOTIFIED = "notification_failed"
    TESTED = "notification_tested"


class Step(NamedTuple):
    """Something that was done for an attempt: from when to when, by perf_counter."""

    name: str
    began: float
    ended: float


@dataclass(slots=True)
class Event:
    """One thing that happened. It begins as a refusal; only an explicit word makes it a success.

    ``failing`` is what its record is called where it is refused: the same as where it succeeds, for access to secrets.
    ``is_irrevocable``: something was changed by now that no later refusal undoes.
    ``measures`` (seconds by name, and ``packed``, a ratio) are for the folds that make metrics and do not enter the record.
    ``steps`` are what it went through, for traces; ``traceparent`` is what the asker sent of theirs, unverified. Neither enters
    the record.
    ``instance`` and ``seq`` say where its record is, once there is one.
    """

    action: str
    resource: str
    request_id: str | None = None
    source_ip: str | None = None
    kind: Kind = Kind.REFUSED
    success: bool = False
    reason: str | None = "internal_error"
    timestamp: datetime | None = None
    principal: Principal | None = None
    role: str | None = None
    account: str | None = None
    access_key_id: str | None = None
    expiration: datetime | None = None
    source_identity: str | None = None
    channel_bound: bool | None = None
    indicators: frozenset[str] = frozenset()
    origin: str | None = None
    details: dict[str, Any] = field(default_factory=dict)
    measures: dict[str, float] = field(default_factory=dict)
    failing: Kind = Kind.REFUSED
    is_irrevocable: bool = False
    instance: str | None = None
    seq: int | None = None
    steps: list[Step] = field(default_factory=list)
    traceparent: str | None = None

    def took(self, name: str, began: float) -> float:
        """A step ends that began at ``began`` (perf_counter); how many seconds it took."""
        ended = time.perf_counter()
        self.steps.append(Step(name, began, ended))
        return ended - began

    @classmethod
    def of_secret(cls, *, action: str, path: str, request_id: str | None, source_ip: str | None) -> Event:
        """Somebody's access to a secret, or their try."""
        kind = Kind.SECRET
        return cls(action=action, resource=path, request_id=request_id, source_ip=source_ip, kind=kind, failing=kind)

    def asked_by(self, identity: Identity) -> None:
        """Say who asks, and how they were authenticated."""
        self.named(identity.principal, impersonated_by=identity.impersonated_by)
        self.channel_bound = identity.channel_bound
        self.indicators = identity.indicators

    def named(self, principal: Principal, *, impersonated_by: tuple[str, ...] | None) -> None:
        """Say whom a verified ticket names, whether it counts or not, and which services came in his name."""
        self.principal = principal
        self.source_identity = principal.session_name()
        if impersonated_by is not None:
            self.details["impersonated_by"] = list(impersonated_by)

    def intent(self, *, rule: str | None = None, account: str | None = None) -> Event:
        """What is about to be done for this event's asker, or asked of AWS in an account; by which rule, where one is asked."""
        return Event(
            action=self.action,
            resource=self.resource,
            request_id=self.request_id,
            source_ip=self.source_ip,
            kind=Kind.INTENT,
            success=True,
            reason=None,
            principal=self.principal,
            role=self.role,
            account=account,
            source_identity=self.source_identity,
            channel_bound=self.channel_bound,
            indicators=self.indicators,
            details={**self.details, **({"rule": rule} if rule is not None else {})},
        )

    def renewal(self) -> Event:
        """The attempt to get new credentials before the old ones end: caused by this event's asker, who does not wait for it."""
        return Event(
            action="renew_credentials",
            resource=self.resource,
            request_id=self.request_id,
            source_ip=self.source_ip,
            principal=self.principal,
            role=self.role,
            source_identity=self.source_identity,
            channel_bound=self.channel_bound,
            indicators=self.indicators,
            details=dict(self.details),
        )

    def issued(self, credentials: Credentials, *, origin: str) -> None:
        """Say that these credentials are handed out. ``origin`` is ``sts`` or ``cache``."""
        self._has(Kind.ISSUED, credentials, origin)

    def fetched(self, credentials: Credentials, *, origin: str) -> None:
        """Say that these credentials are there for whoever comes, and handed to nobody yet."""
        self._has(Kind.FETCHED, credentials, origin)

    def _has(self, kind: Kind, credentials: Credentials, origin: str) -> None:
        self.done(kind)
        if credentials.shed:
            self.details["tags_shed"] = list(credentials.shed)
        if credentials.minted_by is not None:
            self.details["minted_by"] = credentials.minted_by
        self.account = credentials.account
        self.access_key_id = credentials.access_key_id
        self.expiration = credentials.expiration
        self.origin = origin

    def shown(self) -> None:
        """Say that the caller was told something about itself."""
        self.done(Kind.SHOWN)

    def done(self, kind: Kind) -> None:
        """Say that it was done."""
        self.kind, self.success, self.reason = kind, True, None

    def refused(self, reason: str) -> None:
        """Say that nothing is handed out, whatever was said before."""
        self.kind, self.success, self.reason = self.failing, False, reason
        self.access_key_id = self.expiration = self.origin = None

    def members(self) -> dict[str, Any]:
        """The record's members as they are now, less those of the chain: ``instance, seq, prev, kid, sig``."""
        assert self.timestamp is not None  # noqa: S101  # set by the log when it takes the event
        return {
            **self.details,
            "timestamp": rfc3339_micro(self.timestamp),
            "level": "INFO" if self.success else "WARNING",
            "event": self.kind.value,
            "user": str(self.principal) if self.principal else None,
            "action": self.action,
            "resource": self.resource,
            "source_ip": self.source_ip,
            "success": self.success,
            "request_id": self.request_id,
            "reason": self.reason,
            "principal": _principal(self.principal),
            "role": self.role,
            "account": self.account,
            "access_key_id": self.access_key_id,
            "expiration": rfc3339(self.expiration) if self.expiration else None,
            "source_identity": self.source_identity,
            "session_name": self.source_identity,
            "channel_bound": self.channel_bound,
            "indicators": sorted(self.indicators),
            "origin": self.origin,
        }


def _principal(principal: Principal | None) -> dict[str, Any] | None:
    if principal is None:
        return None
    return {
        "name": str(principal).rpartition("@")[0],
        "realm": principal.realm,
        "type": int(principal.name_type),
    }
