"""Members of records as the broker writes them, one or more of every kind: what a mapping or a sink is given in tests."""

from __future__ import annotations

from typing import Any

from broker.audit.event import Kind
from broker.audit.sinks.parcel import Parcel
from tests.fakes.audit import an_event

# What a kind's record has beside what all have.
_OWN: dict[Kind, list[dict[str, Any]]] = {
    Kind.REFUSED: [
        {"success": False, "reason": "no_rule", "access_key_id": None},
        {"success": False, "reason": "auth_failed", "principal": None, "source_identity": None, "access_key_id": None},
        {
            "success": False,
            "reason": "auth_failed",
            "principal": None,
            "source_ip": None,
            "role": None,
            "account": None,
        },
    ],
    Kind.ALERT: [
        {"success": False, "reason": name, "principal": None, "details": details}
        for name, details in (
            ("impossible_travel", {"severity": "high", "why": ["Two places.", "An hour apart."], "cause": "watch"}),
            ("sink_records_refused", {"severity": "medium", "why": ["Refused."], "cause": "sinks", "sink": "siem"}),
            ("unusual_hour", {"severity": "low", "why": []}),
        )
    ],
    Kind.TAMPER: [{"success": False, "reason": "bad_seal", "details": {"unrecorded": 3}}],
    Kind.VAULT_TAMPER: [{"success": False, "reason": "row_altered", "details": {"found": "it", "unrecorded": 3}}],
    Kind.NOT_ENFORCED: [{"success": False, "reason": "not_enforced", "details": {"hop": 2, "try": "none"}}],
    Kind.CONFIG_REFUSED: [{"success": False, "reason": "unusable", "principal": None}],
    Kind.REVOKED: [{"details": {"about": about}} for about in ("mallory@EXAMPLE.COM", "*")],
    Kind.RESTORED: [{"details": {"about": "mallory@EXAMPLE.COM"}}],
    Kind.START: [{"principal": None, "source_ip": None, "request_id": None, "role": None, "account": None}],
    Kind.DELEGATED: [{"details": {"via": "ticket", "pass_id": "p-1"}}],
    Kind.RECOVERY: [{"principal": None, "details": {"torn_bytes": 7, "torn_sha256": "ab", "torn": "eyI="}}],
}


def members(kind: Kind, *, seq: int = 7, **own: Any) -> dict[str, Any]:
    """A record's members, those of the chain included."""
    made = an_event(kind=kind, **own).members()
    return {**made, "instance": "db-1.example.com-1", "seq": seq, "prev": "0" * 64, "kid": "kid", "sig": "e30..c2ln"}


def of_kind(kind: Kind) -> list[dict[str, Any]]:
    """With and without what its records may lack."""
    return [members(kind, **own) for own in _OWN.get(kind, [{}])]


def parcel(seq: int = 7, *, kind: Kind = Kind.ISSUED, payload: bytes = b'{"a":1}', **own: Any) -> Parcel:
    return Parcel(instance="db-1.example.com-1", seq=seq, members=members(kind, seq=seq, **own), payload=payload)
