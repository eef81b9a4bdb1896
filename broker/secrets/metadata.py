"""What the vault knows of a secret beside its values: who did what to it, and what people should know of it.

All of it is sealed where it lies, as the values are: whose password it is helps who wants it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from broker.secrets.unfit import Unfit

# Versions kept, when nobody says otherwise, and at the most. The first is KV version 2's.
VERSIONS_KEPT = 10
VERSIONS_MAX = 100
LABELS_MAX = 32
# Characters of one line for people, and of a name.
TEXT_MAX = 1024
NAME_MAX = 256
# Nobody rotates by hand more often, and what is due in eleven years is due never.
ROTATION_MIN = timedelta(minutes=1)
ROTATION_MAX = timedelta(days=3660)
# RFC 3339 writes years with four digits, and strftime(3) does not.
_YEAR_MIN = 1000

_LABEL = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def _check_text(what: str, text: str) -> None:
    if len(text) > TEXT_MAX or not (text.isprintable() or text == ""):
        raise _unfit(what, "is not a line", f"at most {TEXT_MAX} printable characters")


def _unfit(what: str, fault: str, fix: str) -> Unfit:
    return Unfit(f"{what} {fault} — fix: give {fix}", reason="unfit_metadata")


def _is_shown(moment: datetime) -> bool:
    """Whether it is a date in UTC too: at both ends of the calendar some hours are not, and could be kept and never be told."""
    try:
        return moment.astimezone(UTC).year >= _YEAR_MIN
    except OverflowError:
        return False


@dataclass(frozen=True, slots=True)
class Actor:
    """Who, as a principal's text, and what, as the program or door: ``alice@EXAMPLE.COM`` by ``zerotrust-admin``."""

    who: str
    what: str


# Whatever the broker does by itself, and what providers' callers do that name nobody.
THE_BROKER = Actor("broker", "broker")


@dataclass(frozen=True, slots=True)
class Stamp:
    """Who did something, and when (UTC)."""

    at: datetime
    by: Actor


@dataclass(frozen=True, slots=True)
class Details:
    """What people set.

    ``contact``: whom to ask. ``purpose``: what it is for. ``kind``: what it is (``password``, ``api-key``, ...).
    ``rotate_every``: a new version is due so long after the last one. ``expires``: readers are refused from then on.
    ``versions_kept``: older ones are destroyed by the next write. ``labels``: anything else, by name.
    """

    contact: str = ""
    purpose: str = ""
    kind: str = ""
    rotate_every: timedelta | None = None
    expires: datetime | None = None
    versions_kept: int = VERSIONS_KEPT
    labels: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises Unfit."""
        for what, text in (("contact", self.contact), ("purpose", self.purpose), ("type", self.kind)):
            _check_text(what, text)
        if self.rotate_every is not None and not ROTATION_MIN <= self.rotate_every <= ROTATION_MAX:
            raise _unfit("the rotation interval", "is too short or too long", "a minute to ten years")
        if self.expires is not None and self.expires.tzinfo is None:
            raise _unfit("the expiry date", "has no time zone", "a time in UTC, as 2026-01-31T12:00:00Z")
        if self.expires is not None and not _is_shown(self.expires):
            raise _unfit("the expiry date", "is none in UTC", "a time in UTC, as 2026-01-31T12:00:00Z")
        if not 1 <= self.versions_kept <= VERSIONS_MAX:
            raise _unfit("the number of versions kept", "is out of range", f"1 to {VERSIONS_MAX}")
        if len(self.labels) > LABELS_MAX:
            raise _unfit("the labels", f"are more than {LABELS_MAX}", "fewer")
        for name, text in self.labels.items():
            if not _LABEL.fullmatch(name):
                raise _unfit("the name of a label", "is none", "1 to 64 of A-Z a-z 0-9 _ . -")
            _check_text(f"the label {name}", text)


@dataclass(frozen=True, slots=True)
class VersionInfo:
    """One version without its values. ``deleted``: it can come back. ``destroyed``: it cannot."""

    number: int
    made: Stamp
    deleted: Stamp | None = None
    destroyed: Stamp | None = None

    @property
    def is_readable(self) -> bool:
        """Whether its values can be had."""
        return self.deleted is None and self.destroyed is None


@dataclass(frozen=True, slots=True)
class Metadata:
    """A secret without its values.

    ``newest`` is the highest number that was ever given, also to versions that are gone; 0 never. ``used``: last read, as far
    as it was written down (uses are noted in batches). ``deleted``: when a version was, the last time. ``revision`` counts
    changes, ``born`` tells this secret from another that had the path before. ``purged``: nothing is left but this fact.
    """

    path: str
    born: str
    revision: int
    created: Stamp
    newest: int
    versions: tuple[VersionInfo, ...]
    details: Details = Details()
    rotated: Stamp | None = None
    annotated: Stamp | None = None
    deleted: Stamp | None = None
    archived: Stamp | None = None
    purged: Stamp | None = None
    used: Stamp | None = None

    def version(self, number: int) -> VersionInfo | None:
        """The one of this number, where anything is known of it."""
        return next((one for one in self.versions if one.number == number), None)

    @property
    def rotation_due(self) -> datetime | None:
        """When a new version is due: so long after the newest one; None where nobody wants one."""
        since = self.rotated or self.created
        every = self.details.rotate_every
        return None if every is None or self.archived is not None else since.at + every

    def is_expired(self, now: datetime) -> bool:
        """Whether readers are refused by its date."""
        return self.details.expires is not None and self.details.expires <= now


@dataclass(frozen=True, slots=True)
class Due:
    """A secret whose rotation is overdue: since when, and whom to tell."""

    path: str
    since: datetime
    contact: str


@dataclass(frozen=True, slots=True)
class Tally:
    """How many secrets there are in each state, of which a secret has one; and how many are overdue for rotation."""

    live: int = 0
    archived: int = 0
    expired: int = 0
    damaged: int = 0
    overdue: int = 0

    @property
    def secrets(self) -> int:
        """All of them."""
        return self.live + self.archived + self.expired + self.damaged

    def and_(self, one: Metadata, *, now: datetime) -> Tally:
        """With one more."""
        is_archived = one.archived is not None
        is_expired = one.is_expired(now) and not is_archived
        return Tally(
            live=self.live + (not is_archived and not is_expired),
            archived=self.archived + is_archived,
            expired=self.expired + is_expired,
            damaged=self.damaged,
            overdue=self.overdue + (overdue(one, now=now) is not None),
        )

    def beside(self, damaged: int) -> Tally:
        """With so many besides that do not open."""
        return Tally(self.live, self.archived, self.expired, self.damaged + damaged, self.overdue)


def overdue(one: Metadata, *, now: datetime) -> Due | None:
    """Whether a new version is due."""
    since = one.rotation_due
    return None if since is None or since > now else Due(one.path, since, one.details.contact)


def check_actor(actor: Actor) -> None:
    """Raises Unfit: what stands in metadata for ever is a line."""
    for what, text in (("who", actor.who), ("what", actor.what)):
        if not text:
            raise _unfit(what, "is empty", "a name")
        _check_text(what, text)
