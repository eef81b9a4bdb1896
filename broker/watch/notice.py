"""From a record to what people are told of it: what happened, to whom, why it is thought so, what to do now, and where it stands.

Pure. A notice holds plain text of one line each: what an attacker chose (a principal's name, a role that was asked for) has no
line breaks and nothing that turns text around, and a command has it quoted for the shell. Each medium escapes the rest itself.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from broker.audit.alert import Severity
from broker.audit.event import Event, Kind
from broker.core.clock import rfc3339

# Characters of one sentence, and sentences: a message is read on a telephone.
_SENTENCE_MAX = 500
_SENTENCES_MAX = 10
# A printed principal that may be known here is no longer.
_NAME_MAX = 600

_ORDER = {Severity.LOW: 0, Severity.MEDIUM: 1, Severity.HIGH: 2}


def rank(severity: Severity) -> int:
    """For comparing: the more severe, the greater."""
    return _ORDER[severity]


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing to tell. ``id`` is the same however often it is sent; ``detected`` is when the broker recorded it.

    ``about`` is whose doing or whose access it is, or which role of AWS; ``by`` who did it, where that is somebody else. ``do``
    are commands. ``number`` counts the records that it stands for, the last of them at ``until``. ``elevation`` is the glass
    that was broken: each is a matter of its own, and told at once.
    """

    id: str
    name: str
    severity: Severity
    detected: datetime
    happened: str
    why: tuple[str, ...]
    do: tuple[str, ...] = ()
    about: str | None = None
    by: str | None = None
    role: str | None = None
    source_ip: str | None = None
    request_id: str | None = None
    instance: str | None = None
    seq: int | None = None
    number: int = 1
    until: datetime | None = None
    elevation: str | None = None

    @property
    def matter(self) -> str:
        """The same for what is one matter to whoever is told, at every instance: this kind of thing about this principal.

        What became more severe is another: who is told only of what is severe has not heard of it yet.
        """
        parts = (self.name, self.about, self.severity.value, self.elevation or "")
        return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:32]

    def members(self) -> dict[str, Any]:
        """For JSON; ``notice_of_members`` reads it."""
        found = asdict(self)
        found["severity"] = self.severity.value
        for name in ("detected", "until"):
            found[name] = found[name].isoformat() if found[name] else None
        return found


def notice_of_members(members: Mapping[str, Any]) -> Notice:
    """What ``members`` made.

    Raises:
        ValueError, TypeError, KeyError: Something else.
    """
    found = dict(members)
    found["severity"] = Severity(found["severity"])
    for name in ("detected", "until"):
        found[name] = datetime.fromisoformat(found[name]) if found[name] else None
    for name in ("why", "do"):
        found[name] = tuple(found[name])
    return Notice(**found)


def notice_of(event: Event) -> Notice | None:
    """What to tell of a recorded event; None where there is nothing.

    Told is what says how severe it is (``severity`` in its details, as alarms do), and the kinds in the table below.
    """
    if event.timestamp is None:
        return None
    saying = _SAYINGS.get(event.kind)
    severity = event.details.get("severity")
    if saying is None and severity is None:
        return None
    said = (saying or _alarm)(event)
    about, by, request_id = _about(event), _by(event), event.request_id
    return Notice(
        id=f"{event.instance}-{event.seq}",
        name=said.name,
        severity=Severity(severity) if severity in set(Severity) else said.severity,
        detected=event.timestamp,
        happened=one_line(said.happened),
        why=tuple(one_line(sentence) for sentence in said.why[:_SENTENCES_MAX]),
        do=said.do,
        about=one_line(about, longest=_NAME_MAX) if about else None,
        by=one_line(by, longest=_NAME_MAX) if by else None,
        role=one_line(event.role) if event.role else None,
        source_ip=event.source_ip,
        request_id=request_id,
        instance=event.instance,
        seq=event.seq,
        elevation=_broken_glass(event),
    )


def again(first: Notice, *, number: int, since: datetime, until: datetime) -> Notice:
    """That what was told came back so often in the meantime."""
    times = "once more" if number == 1 else f"{number} more times"
    return Notice(
        id=f"{first.id}-{rfc3339(until)}",
        name=first.name,
        severity=first.severity,
        detected=since,
        happened=f"{first.happened} ({times})",
        why=(f"You were told of this before. It was recorded {times} between {rfc3339(since)} and {rfc3339(until)}.",),
        do=first.do,
        about=first.about,
        by=first.by,
        role=first.role,
        instance=first.instance,
        number=number,
        until=until,
    )


def digest(
    left_out: Mapping[str, int], *, severity: Severity, since: datetime, until: datetime, instance: str | None
) -> Notice:
    """What was too much to be told one by one: names to numbers, the most frequent first."""
    total = sum(left_out.values())
    named = sorted(left_out.items(), key=lambda pair: (-pair[1], pair[0]))
    counts = ", ".join(f"{number} {name}" for name, number in named[:_SENTENCES_MAX])
    return Notice(
        id=f"digest-{instance}-{severity}-{rfc3339(until)}",
        name="digest",
        severity=severity,
        detected=since,
        happened=f"And {total} more of severity {severity}: {counts}"[:_SENTENCE_MAX],
        why=(
            f"Between {rfc3339(since)} and {rfc3339(until)} there was more than is told one by one: {counts}.",
            "Each has its record: look for the names above in the record files.",
        ),
        do=("zerotrust-admin audit verify",),
        instance=instance,
        number=total,
        until=until,
    )


def a_test(*, by: str | None, now: datetime, id_: str) -> Notice:
    """What a channel is tried with. Nothing has happened."""
    return Notice(
        id=id_,
        name="test",
        severity=Severity.LOW,
        detected=now,
        happened="Test: nothing has happened",
        why=("An operator asked the broker to try this channel. If you read this, it works.",),
        by=one_line(by, longest=_NAME_MAX) if by else None,
    )


def one_line(text: str, *, longest: int = _SENTENCE_MAX) -> str:
    """Without line breaks and other signs that are not printed (those that turn the direction of text among them); bounded."""
    clean = "".join(char if char.isprintable() else "?" for char in text[: longest + 1])
    return clean if len(clean) <= longest else clean[: longest - 1] + "\N{HORIZONTAL ELLIPSIS}"


# ---- what is said of each kind ----


@dataclass(frozen=True, slots=True)
class _Said:
    name: str
    severity: Severity
    happened: str
    why: tuple[str, ...]
    do: tuple[str, ...]


def _alarm(event: Event) -> _Said:
    name = event.reason or event.kind.value
    about = _about(event)
    words = name.replace("_", " ").capitalize()
    why = event.details.get("why")
    sentences = tuple(map(str, why)) if isinstance(why, list | tuple) else ()
    return _Said(
        name=name,
        severity=Severity.MEDIUM,
        happened=f"{words}: {about}" if about else words,
        why=(
            *(sentences or (f"The broker recorded {event.kind.value} ({event.action} of {event.resource}).",)),
            *_TAKEN.get(event.details.get("response", ""), ()),
        ),
        do=(
            *_trace(event),
            *_with_user("revoke-credentials", about),
            *_afterwards(event, about),
            *(() if event.request_id or about else ("zerotrust-admin audit verify",)),
        ),
    )


# What the watch took from somebody (``revocation.holds.Response``).
_TAKEN: Mapping[str, tuple[str, ...]] = {
    "hold": (
        "Nothing is handed out to them until an operator clears it. What AWS has handed out runs on until it expires.",
    ),
    "step_up": (
        "Nothing is handed out to them until they show a newer ticket. What AWS has handed out runs on until it expires.",
    ),
}


def _afterwards(event: Event, about: str | None) -> tuple[str, ...]:
    """How it is closed, once somebody has looked at it."""
    glass = _broken_glass(event)
    if glass is not None:
        return (f"zerotrust-admin reviews close {shlex.quote(glass)} --note 'what you found'",)
    return _with_user("alerts clear", about) if event.details.get("response") in _TAKEN else ()


def _broken_glass(event: Event) -> str | None:
    glass = event.details.get("elevation")
    return glass if event.kind is Kind.ALERT and isinstance(glass, str) else None


def _tampered(event: Event) -> _Said:
    unrecorded = event.details.get("unrecorded", 0)
    why = (
        f"What lies in Redis under a name of ours is not what was put there ({event.reason}).",
        "Somebody writes to Redis who should not, or an old dump was restored. Nothing was handed out of that entry.",
    )
    more = (f"{unrecorded} more since the last record of this kind are in no record.",) if unrecorded else ()
    return _Said(
        name="cache_tamper",
        severity=Severity.HIGH,
        happened=f"The cache was tampered with: an entry of {_about(event)}",
        why=(*why, *more),
        do=("redis-cli CLIENT LIST", "redis-cli ACL LOG"),
    )


def _vault_tampered(event: Event) -> _Said:
    unrecorded = event.details.get("unrecorded", 0)
    why = (
        f"The vault's store does not hold what was put there: {event.details.get('found')}.",
        "Somebody writes to it who should not, or an old copy was put in its place. Nothing was handed out of that row.",
    )
    more = (f"{unrecorded} more findings before this one are in no record.",) if unrecorded else ()
    return _Said(
        name="vault_tamper",
        severity=Severity.HIGH,
        happened=f"The vault was tampered with: {event.resource}",
        why=(*why, *more),
        do=("zerotrust-admin secrets verify-backup FILE", "zerotrust-admin secrets restore --help"),
    )


def _clock_jumped(event: Event) -> _Said:
    by = event.details.get("seconds", 0)
    return _Said(
        name="clock_jump",
        severity=Severity.MEDIUM,
        happened=f"The wall clock was set {'ahead' if by > 0 else 'back'} by {abs(by)} s",
        why=(
            "Somebody set it, a time service stepped it, or the host was moved or put to sleep.",
            "What this host made ends in time all the same. Tickets and AWS go by the clock: while it is wrong, both refuse.",
        ),
        do=("timedatectl status", "zerotrust-admin audit tail"),
    )


def _not_enforced(event: Event) -> _Said:
    tried = str(event.details.get("try", "")).replace("_", " ")
    return _Said(
        name="external_id_not_enforced",
        severity=Severity.HIGH,
        happened=f"A role does not demand its external ID: {event.resource}",
        why=(
            f"AWS let the broker into {event.resource} in the try: {tried}.",
            "So it lets in others who know its name.",
        ),
        do=("zerotrust-admin trust-policy --help", "zerotrust-admin doctor --probe"),
    )


def _at_aws(event: Event) -> str:
    """What becomes of the sessions that AWS has made."""
    denying = event.details.get("aws_roles")
    if not denying:
        return "What AWS has handed out runs on until it expires."
    pending = event.details.get("aws_pending") or ()
    still = f"; {len(pending)} of {len(denying)} roles do not deny yet: see the revocations" if pending else ""
    return f"What AWS has handed out is denied there, within minutes{still}."


def _revoked(event: Event) -> _Said:
    about, what = _about(event), event.action.removeprefix("revoke_")
    lift = _with_user("restore", about) if what == "credentials" else ()
    return _Said(
        name="access_revoked",
        severity=Severity.MEDIUM,
        happened=f"Access was revoked: {what} of {about}, by {_by(event)}",
        why=(
            f"An operator took {what} from {about}. If that was not you or a colleague, an operator's account is in wrong hands.",
            _at_aws(event),
        ),
        do=(*_trace(event), "zerotrust-admin revocations", *lift),
    )


def _not_denied(event: Event) -> _Said:
    """Only of a deny that is wanted: one that is not taken away yet harms nobody who comes with new credentials."""
    about, removing = _about(event), event.action == "remove_aws_deny"
    return _Said(
        name="aws_deny_failed",
        severity=Severity.LOW if removing else Severity.HIGH,
        happened=f"AWS does not {'take back' if removing else 'have'} the deny: {about} at {event.resource}",
        why=(
            f"IAM refused or did not answer ({event.reason}). It is tried again.",
            "The role denies longer than it has to."
            if removing
            else "Until then credentials in wrong hands go on there.",
        ),
        do=("zerotrust-admin revocations", *(() if removing else _with_user("revoke-credentials --aws", about))),
    )


_SAYINGS: Mapping[Kind, Callable[[Event], _Said]] = {
    Kind.ALERT: _alarm,
    Kind.TAMPER: _tampered,
    Kind.VAULT_TAMPER: _vault_tampered,
    Kind.CLOCK_JUMP: _clock_jumped,
    Kind.NOT_ENFORCED: _not_enforced,
    Kind.REVOKED: _revoked,
    Kind.AWS_DENY_FAILED: _not_denied,
}

_EVERYBODY = "everybody"


def _about(event: Event) -> str | None:
    about = event.details.get("about")
    if isinstance(about, str):
        return _EVERYBODY if about == "*" else about
    if event.kind is Kind.NOT_ENFORCED:
        return event.resource
    return str(event.principal) if event.principal else None


def _by(event: Event) -> str | None:
    """Who did it, where that is not whom it is about."""
    who = str(event.principal) if event.principal else None
    return None if who == _about(event) else who


def _trace(event: Event) -> tuple[str, ...]:
    """The whole story: of broken glass what was got by it, too, which other requests did."""
    story = _broken_glass(event) or event.request_id
    return (f"zerotrust-admin audit trace {shlex.quote(story)}",) if story else ()


def _with_user(command: str, user: str | None) -> tuple[str, ...]:
    """None where what could be printed of the name would be another name."""
    if user is None or user == _EVERYBODY or not user.isprintable() or len(user) > _NAME_MAX:
        return ()
    return (f"zerotrust-admin {command} --user {shlex.quote(user)}",)
