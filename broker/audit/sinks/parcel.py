"""What is handed to a sink, and what a sink can say to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

# The ``event`` members that are alarms whatever else they say.
_ALARMS = frozenset({
    "alert", "cache_tamper", "vault_tamper", "external_id_not_enforced", "key_changed_uncertified", "break_glass", "clock_jump",
})  # fmt: skip
# RFC 5424, section 6.2.1, and journald's PRIORITY are the same eight words.
CRITICAL, WARNING, NOTICE, INFORMATIONAL = 2, 4, 5, 6


class SinkDown(Exception):
    """The sink takes nothing at the moment; what was sent is sent again. ``str()`` says why, and holds no secret.

    ``retry_after``: seconds for which it asked to be left alone.
    """

    def __init__(self, why: str, *, retry_after: float | None = None) -> None:
        super().__init__(why)
        self.retry_after = retry_after


class SinkRefused(Exception):
    """The sink answers, and will never take these records as they are, or not all of them together."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """One record on its way: its place, its members, and the JSON that the sink was configured to get."""

    instance: str
    seq: int
    members: Mapping[str, Any]
    payload: bytes

    @property
    def kind(self) -> str:
        """The record's ``event``."""
        return str(self.members.get("event"))

    @property
    def severity(self) -> int:
        """As syslog and journald count it."""
        return severity(self.members)

    @property
    def sentence(self) -> str:
        """For whoever reads lines: ``refused: alice@EXAMPLE.COM get_credentials developer (no_rule)``."""
        return sentence(self.members)


class Sink(Protocol):
    """Takes records in order. For one caller at a time."""

    # Seconds for which what was sent may still be lost without anybody being told.
    settles_after: float

    async def send(self, parcels: Sequence[Parcel]) -> None:
        """Return when the sink has them.

        Raises:
            SinkDown: Nobody knows how many of them it has.
            SinkRefused: It will not take them.
        """

    async def close(self) -> None:
        """Say goodbye, and return when all that was sent is certain to have been read.

        Raises:
            SinkDown: It is not.
        """


def severity(members: Mapping[str, Any]) -> int:
    """Of a record: 6 for what went well, 4 for what was refused, 5 to 2 for alarms."""
    if members.get("event") in _ALARMS:
        return {"low": NOTICE, "medium": WARNING}.get(str(members.get("severity")), CRITICAL)
    return INFORMATIONAL if members.get("success") else WARNING


def sentence(members: Mapping[str, Any]) -> str:
    """Of a record, in one line."""
    words = [str(members[name]) for name in ("user", "action", "resource") if members.get(name)]
    reason = f" ({members['reason']})" if members.get("reason") else ""
    return f"{members.get('event')}: {' '.join(words)}{reason}"
