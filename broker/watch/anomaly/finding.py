"""What a detector says, in words that name the numbers; and that it says so once, until it grows."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import NamedTuple

from broker.audit.alert import Severity

# One alert for each kind and person in so much time, in seconds: whoever looks at it looks at the rest as well.
REPEAT = 24 * 3600
# What has grown so much since the last alert is worth another.
_GROWN = 2

_RANK = {Severity.LOW: 0, Severity.MEDIUM: 1, Severity.HIGH: 2}
_BY_RANK = {rank: severity for severity, rank in _RANK.items()}


class Kind(enum.StrEnum):
    """Every kind of alert, which is the ``reason`` of its record."""

    VOLUME = "unusual_volume"
    HOUR = "unusual_hour"
    NETWORK = "new_network"
    ROLE = "new_role"
    TRAVEL = "impossible_travel"
    DENIALS = "denial_burst"
    SPRAYING = "spraying"
    ENDED = "reuse_of_revoked"
    EXPIRED = "reuse_of_expired"


class Finding(NamedTuple):
    """What was found. ``size`` is what grows where the same goes on; ``role`` where it is about one."""

    kind: Kind
    severity: Severity
    size: float
    why: tuple[str, ...]
    role: str | None = None


class Said(NamedTuple):
    """The last alert of a kind: when (Unix seconds), how large, how severe (a rank)."""

    at: int
    size: float
    rank: int


def worth_saying(said: Mapping[str, Said], finding: Finding, *, at: int) -> tuple[Mapping[str, Said], Finding | None]:
    """The finding, unless the same was said a short while ago; more severe, if it has grown since."""
    last = said.get(finding.kind)
    rank = _RANK[finding.severity]
    if last is not None and at - last.at < REPEAT:
        grown = finding.size >= _GROWN * last.size
        if not grown and rank <= last.rank:
            return said, None
        if grown:
            rank = min(max(rank, last.rank) + 1, _RANK[Severity.HIGH])
            more = f"It has grown since the alert of {(at - last.at) // 60} minutes before: {last.size:g} then."
            finding = finding._replace(severity=_BY_RANK[rank], why=(*finding.why, more))
    return {**said, finding.kind.value: Said(at, finding.size, rank)}, finding
