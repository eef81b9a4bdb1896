"""What is known when a report is made: the configuration's own words, the log in numbers, and keys by age. No judgement here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class RoleFacts:
    """A role of the configuration. ``unguarded`` are the hops that send no external ID into another account."""

    name: str
    account: str
    duration: timedelta
    unguarded: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RuleFacts:
    """A rule. ``everybody_of`` are the realms all of whose people it names, without asking for a group."""

    name: str
    roles: tuple[str, ...]
    everybody_of: tuple[str, ...]
    indicators: tuple[str, ...]
    networks: bool
    reason: bool = False
    approvals: int = 0
    break_glass: bool = False


@dataclass(frozen=True, slots=True)
class Setup:
    """What the configuration says, as far as any control asks for it."""

    tls_minimum: str | None
    tls_ciphers: tuple[str, ...]
    listeners: tuple[str, ...]
    allowed_networks: bool
    rate_limits: tuple[str, ...]
    replay_guard: str
    channel_binding: str
    roles: tuple[RoleFacts, ...]
    rules: tuple[RuleFacts, ...]
    aws_credentials: str
    allowed_accounts: tuple[str, ...]
    redis: str | None
    operators: tuple[str, ...]
    operators_sign: bool
    operators_indicators: tuple[str, ...]
    session_lifetimes: Mapping[str, timedelta]
    sinks: tuple[str, ...] = ()
    witnesses: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    aws_revocation: bool = False
    audit_kid: str = ""


@dataclass(frozen=True, slots=True)
class KeyAge:
    """A key: since when it is in force (None: not known), until when it may be (None: no such date), and who says so."""

    what: str
    since: datetime | None
    until: datetime | None
    source: str


@dataclass(slots=True)
class Given:
    """How often somebody was given a role in the period, and when last."""

    times: int = 0
    last: str = ""


@dataclass(slots=True)
class Log:
    """The records of the period, in numbers. Timestamps are those of the records."""

    records: int = 0
    first: str | None = None
    last: str | None = None
    events: dict[str, int] = field(default_factory=dict)
    refusals: dict[str, int] = field(default_factory=dict)
    given: dict[tuple[str, str], Given] = field(default_factory=dict)
    # Credentials that AWS made although no intent was on record.
    without_intent: int = 0
    # Credentials that nobody is named for.
    without_name: int = 0
    # Lines that are no record, or lack a member which every record has.
    incomplete: int = 0
    longest_life: timedelta = timedelta(0)
    # Records older by more than a second than the one before them.
    clock_went_back: int = 0
    # Chains whose first record here is not their first, by instance.
    begins_late: dict[str, int] = field(default_factory=dict)
    instances: int = 0
    # When each signing key was seen first; it is derived from the encryption key, so its age is that one's, at least.
    keys: dict[str, str] = field(default_factory=dict)
    revocations_unheard: int = 0
    alerts: dict[str, int] = field(default_factory=dict)
    notable: list[Mapping[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Verified:
    """What ``audit verify`` says of the log, or of a copy of it that was restored from a backup."""

    records: int
    checkpoints: int
    findings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything. ``as_of`` is the moment that ages are counted to; None for what was not looked at."""

    as_of: datetime
    since: datetime | None
    log: Log
    setup: Setup | None = None
    verified: Verified | None = None
    keys: tuple[KeyAge, ...] = ()
    restored: Verified | None = None
