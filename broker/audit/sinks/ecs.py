"""Records as documents of the Elastic Common Schema (https://www.elastic.co/docs/reference/ecs). Pure.

What ECS has no field for is under `zerotrust`: the product's own name, as the guidelines for custom fields advise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from broker.audit.event import Kind
from broker.audit.sinks.parcel import sentence, severity

VERSION = "8.17.0"


@dataclass(frozen=True, slots=True)
class _Meaning:
    """``event.category`` and ``event.type``: pairs that the reference of `event.category` allows."""

    categories: tuple[str, ...]
    types: tuple[str, ...]
    kind: str = "event"


_SESSION = ("authentication", "session")

# Every kind has a line; a test walks them.
_MEANINGS: Mapping[Kind, _Meaning] = {
    Kind.START: _Meaning(("process",), ("start",)),
    Kind.STOP: _Meaning(("process",), ("end",)),
    Kind.RELOAD: _Meaning(("configuration",), ("change",)),
    Kind.CONFIG_RELOADED: _Meaning(("configuration",), ("change",)),
    Kind.CONFIG_REFUSED: _Meaning(("configuration",), ("info",)),
    Kind.NOTIFIED: _Meaning(("process",), ("info",)),
    Kind.NOT_NOTIFIED: _Meaning(("process",), ("info",)),
    Kind.TESTED: _Meaning(("process",), ("info",)),
    Kind.SEGMENT: _Meaning(("process",), ("info",)),
    Kind.NEIGHBOUR: _Meaning(("process",), ("info",)),
    Kind.KEY_SUCCEEDED: _Meaning(("configuration",), ("change",)),
    Kind.KEY_CHANGED: _Meaning(("configuration",), ("change",), kind="alert"),
    Kind.KEY_ROTATED: _Meaning(("configuration",), ("creation",)),
    Kind.KEY_REWRAPPED: _Meaning(("configuration",), ("change",)),
    Kind.KEY_DESTROYED: _Meaning(("configuration",), ("deletion",)),
    Kind.REWRAPPED: _Meaning(("database",), ("change",)),
    Kind.BACKED_UP: _Meaning(("database",), ("access",)),
    Kind.BROUGHT_BACK: _Meaning(("database",), ("change",)),
    Kind.BACKUP_GOOD: _Meaning(("database",), ("info",)),
    Kind.BACKUP_BAD: _Meaning(("database",), ("info",)),
    Kind.RECOVERY: _Meaning(("process",), ("info",)),
    Kind.RECOVERED: _Meaning(("process",), ("info",)),
    Kind.INTENT: _Meaning(("iam",), ("info",)),
    Kind.ISSUED: _Meaning(_SESSION, ("start",)),
    Kind.FETCHED: _Meaning(("iam",), ("info",)),
    Kind.SHOWN: _Meaning(("iam",), ("info",)),
    Kind.PROBED: _Meaning(("iam",), ("info",)),
    Kind.REFUSED: _Meaning(("authentication",), ("info",)),
    Kind.SECRET: _Meaning(("database",), ("access",)),
    Kind.DELEGATED: _Meaning(("iam",), ("creation",)),
    Kind.RENEWED: _Meaning(("iam",), ("change",)),
    Kind.ATTENUATED: _Meaning(("iam",), ("creation",)),
    Kind.CANCELLED: _Meaning(("iam",), ("deletion",)),
    Kind.ELEVATION_REQUESTED: _Meaning(("iam",), ("creation",)),
    Kind.ELEVATION_APPROVED: _Meaning(("iam",), ("change",)),
    Kind.ELEVATION_DENIED: _Meaning(("iam",), ("deletion",)),
    Kind.BREAK_GLASS: _Meaning(("iam",), ("change",), kind="alert"),
    Kind.REVIEW_SEALED: _Meaning(("iam",), ("creation",)),
    Kind.REVIEW_CLOSED: _Meaning(("iam",), ("change",)),
    Kind.ENDED: _Meaning(_SESSION, ("end",)),
    Kind.REVOKED: _Meaning(("iam",), ("change",)),
    Kind.RESTORED: _Meaning(("iam",), ("change",)),
    Kind.AWS_DENIED: _Meaning(("iam",), ("change",)),
    Kind.AWS_DENY_REMOVED: _Meaning(("iam",), ("change",)),
    Kind.AWS_DENY_FAILED: _Meaning(("iam",), ("change",)),
    Kind.NOT_ENFORCED: _Meaning(("configuration",), ("info",), kind="alert"),
    Kind.CLOCK_JUMP: _Meaning(("configuration",), ("change",), kind="alert"),
    Kind.TAMPER: _Meaning(("intrusion_detection",), ("info",), kind="alert"),
    Kind.VAULT_TAMPER: _Meaning(("intrusion_detection",), ("info",), kind="alert"),
    Kind.ALERT: _Meaning(("intrusion_detection",), ("info",), kind="alert"),
}
# Of a newer broker, whose records this one found unsent.
_UNKNOWN = _Meaning(("iam",), ("info",))

_PLACED = frozenset({
    "timestamp", "event", "level", "user", "principal", "action", "source_ip", "success", "request_id", "reason", "account",
    "seq",
})  # fmt: skip


def ecs(members: Mapping[str, Any], line: bytes) -> bytes:  # noqa: ARG001  # a `Format`
    """A record as one ECS document, in JSON."""
    return orjson.dumps(mapped(members))


def mapped(members: Mapping[str, Any]) -> dict[str, Any]:
    """The document's field sets."""
    # A kind is its text.
    meaning = _MEANINGS.get(members["event"], _UNKNOWN)
    own = {name: value for name, value in members.items() if name not in _PLACED and value is not None}
    document = {
        "@timestamp": members["timestamp"],
        "ecs": {"version": VERSION},
        "message": sentence(members),
        "log": {"level": str(members.get("level", "")).lower()},
        "event": _event(members, meaning),
        "service": {"name": "zerotrust-broker", "type": "zerotrust"},
        "host": {"name": str(members["instance"]).rpartition("-")[0]},
        "zerotrust": own,
    }
    if members.get("source_ip"):
        document["source"] = {"ip": members["source_ip"]}
    if members.get("account"):
        document["cloud"] = {"provider": "aws", "account": {"id": members["account"]}}
    if members.get("request_id"):
        document["http"] = {"request": {"id": members["request_id"]}}
    if user := _user(members):
        document["user"] = user
    return document | _related(members)


def _event(members: Mapping[str, Any], meaning: _Meaning) -> dict[str, Any]:
    event = {
        "kind": meaning.kind,
        "category": list(meaning.categories),
        "type": list(meaning.types),
        "outcome": "success" if members.get("success") else "failure",
        "action": f"{members['event']}" if meaning.kind == "alert" else f"{members.get('action')}",
        "code": str(members["event"]),
        # What a receiver knows a record by that comes twice.
        "id": f"{members['instance']}:{members['seq']}",
        "sequence": members["seq"],
        "severity": severity(members),
        "module": "zerotrust",
        "dataset": "zerotrust.audit",
        "provider": str(members["instance"]),
    }
    return event | ({"reason": members["reason"]} if members.get("reason") else {})


def _user(members: Mapping[str, Any]) -> dict[str, Any]:
    user: dict[str, Any] = {}
    if members.get("user"):
        principal = members.get("principal") or {}
        user = {"name": members["user"]} | ({"domain": principal["realm"]} if principal.get("realm") else {})
    about = members.get("about")
    # `user.target`: whom an action of a user is about.
    return user | ({"target": {"name": str(about)}} if about and about != "*" else {})


def _related(members: Mapping[str, Any]) -> dict[str, Any]:
    users = [str(members[name]) for name in ("user", "about") if members.get(name) and members[name] != "*"]
    found = ({"user": list(dict.fromkeys(users))} if users else {}) | (
        {"ip": [members["source_ip"]]} if members.get("source_ip") else {}
    )
    return {"related": found} if found else {}
