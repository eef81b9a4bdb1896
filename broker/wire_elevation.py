"""The shapes of elevation: paths, and the bodies of requests for a time box, approvals, and reviews of broken glass.

Apart from ``wire``, whose every line the user's helper pays for at each start. Strict like it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from broker.wire import _encode, _members, _name, _reason, seconds_of

REVIEWS_PATH = "/v1/admin/reviews"
CLOSE_PATH = "/v1/admin/reviews/close"

ID_LENGTH = 32  # 128 bits in hex
_HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class ElevationRequest:
    """The body of ``POST /v1/requests``; ``duration`` is in seconds, None: as long as the rule allows."""

    role: str
    scope: str | None
    reason: str
    duration: int | None
    break_glass: bool


def parse_elevation_request(body: bytes) -> ElevationRequest:
    """Read ``{"role": R, "reason": TEXT, "scope"?: S, "duration"?: "30m", "break_glass"?: true}`` strictly.

    Raises:
        ValueError: Its text is a sentence for the client; it never quotes what was sent.
    """
    members = _members(body, ("role", "scope", "reason", "duration", "break_glass"))
    for name in ("role", "reason"):
        if name not in members:
            raise ValueError(f'The member "{name}" is missing.')
    broken = members.get("break_glass", False)
    if not isinstance(broken, bool):
        raise ValueError('"break_glass" must be true or false.')  # noqa: TRY004  one kind of error for one kind of fault
    return ElevationRequest(
        role=_name(members["role"], "role"),
        scope=_name(members["scope"], "scope") if "scope" in members else None,
        reason=_reason(members["reason"], "reason"),
        duration=seconds_of(members["duration"], "duration") if "duration" in members else None,
        break_glass=broken,
    )


def elevation_request(*, role: str, reason: str, duration: str | None = None, break_glass: bool = False) -> bytes:
    """The body that ``parse_elevation_request`` reads."""
    members: dict[str, object] = {"role": role, "reason": reason}
    members |= {} if duration is None else {"duration": duration}
    return _encode(members | ({"break_glass": True} if break_glass else {}))


def parse_denial(body: bytes) -> str | None:
    """Read ``{"reason"?: TEXT}``, or nothing, strictly. Raises like the others."""
    if not body.strip():
        return None
    members = _members(body, ("reason",))
    return _reason(members["reason"], "reason") if "reason" in members else None


def denial(*, reason: str | None) -> bytes:
    """The body that ``parse_denial`` reads."""
    return _encode({} if reason is None else {"reason": reason})


def parse_closing(body: bytes) -> tuple[str, str]:
    """Read ``{"id": REVIEW, "note": TEXT}`` strictly. Raises like the others."""
    members = _members(body, ("id", "note"))
    identifier = members.get("id")
    if not isinstance(identifier, str) or len(identifier) != ID_LENGTH or not _HEX.issuperset(identifier):
        raise ValueError(f'"id" must be the {ID_LENGTH} hexadecimal digits of a review.')
    return identifier, _reason(members.get("note"), "note")


def closing(*, identifier: str, note: str) -> bytes:
    """The body that ``parse_closing`` reads."""
    return _encode({"id": identifier, "note": note})


def request_body(members: Mapping[str, object]) -> bytes:
    """One request (``issuing.boxes.described``), or one review."""
    return _encode(members)


def requests_body(requests: Iterable[Mapping[str, object]]) -> bytes:
    """``{"requests": [...]}``, the latest first."""
    return _encode({"requests": [dict(request) for request in requests]})


def reviews_body(reviews: Iterable[Mapping[str, object]]) -> bytes:
    """``{"reviews": [...]}``, those that wait first."""
    return _encode({"reviews": [dict(review) for review in reviews]})
