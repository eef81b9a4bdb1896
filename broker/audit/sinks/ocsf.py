"""Records as OCSF events (Open Cybersecurity Schema Framework, https://schema.ocsf.io). Pure.

Each kind of record has a class; what OCSF has no place for is under `unmapped`, signature and place in the chain included,
so that nothing is lost on the way. The profile `cloud` says which AWS account a record is about.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from broker.audit.event import Kind
from broker.audit.sinks.parcel import sentence

VERSION = "1.8.0"

_PRODUCT = {"name": "ZeroTrustKerberosLink", "vendor_name": "ZeroTrustKerberosLink", "uid": "zerotrust-broker"}
_SERVICE = {"name": "zerotrust-broker"}
_USER, _SERVICE_USER = 1, 4
_AWS_ACCOUNT = 10
_SUCCESS, _FAILURE = (1, "Success"), (2, "Failure")
_INFORMATIONAL, _LOW, _MEDIUM, _HIGH = (1, "Informational"), (2, "Low"), (3, "Medium"), (4, "High")
_ALARM_SEVERITIES = {"low": _LOW, "medium": _MEDIUM, "high": _HIGH}
_OTHER = 99


class _Class(enum.IntEnum):
    """`class_uid`; the thousands are `category_uid`."""

    EVENT_LOG_ACTIVITY = 1008
    DETECTION_FINDING = 2004
    ACCOUNT_CHANGE = 3001
    AUTHENTICATION = 3002
    ENTITY_MANAGEMENT = 3004
    APPLICATION_LIFECYCLE = 6002
    API_ACTIVITY = 6003


@dataclass(frozen=True, slots=True)
class _Meaning:
    """A class and its activity; ``severity`` of what failed or is an alarm."""

    of: _Class
    activity_id: int
    activity: str
    severity: tuple[int, str] = _MEDIUM


_CREATE, _READ, _UPDATE, _DELETE = (1, "Create"), (2, "Read"), (3, "Update"), (4, "Delete")

# Every kind has a line; a test walks them.
_MEANINGS: Mapping[Kind, _Meaning] = {
    Kind.START: _Meaning(_Class.APPLICATION_LIFECYCLE, 3, "Start"),
    Kind.STOP: _Meaning(_Class.APPLICATION_LIFECYCLE, 4, "Stop"),
    Kind.RELOAD: _Meaning(_Class.APPLICATION_LIFECYCLE, 8, "Update"),
    Kind.CONFIG_RELOADED: _Meaning(_Class.APPLICATION_LIFECYCLE, 8, "Update"),
    Kind.CONFIG_REFUSED: _Meaning(_Class.APPLICATION_LIFECYCLE, 8, "Update"),
    Kind.CLOCK_JUMP: _Meaning(_Class.DETECTION_FINDING, *_CREATE, _HIGH),
    Kind.NOTIFIED: _Meaning(_Class.APPLICATION_LIFECYCLE, _OTHER, "Notify"),
    Kind.NOT_NOTIFIED: _Meaning(_Class.APPLICATION_LIFECYCLE, _OTHER, "Notify"),
    Kind.TESTED: _Meaning(_Class.APPLICATION_LIFECYCLE, _OTHER, "Notify"),
    Kind.SEGMENT: _Meaning(_Class.EVENT_LOG_ACTIVITY, 5, "Rotate"),
    Kind.NEIGHBOUR: _Meaning(_Class.EVENT_LOG_ACTIVITY, _OTHER, "Witness"),
    Kind.KEY_SUCCEEDED: _Meaning(_Class.EVENT_LOG_ACTIVITY, _OTHER, "Change key"),
    Kind.KEY_CHANGED: _Meaning(_Class.DETECTION_FINDING, *_CREATE, _HIGH),
    Kind.KEY_ROTATED: _Meaning(_Class.APPLICATION_LIFECYCLE, 8, "Update"),
    Kind.KEY_REWRAPPED: _Meaning(_Class.APPLICATION_LIFECYCLE, 8, "Update"),
    Kind.KEY_DESTROYED: _Meaning(_Class.APPLICATION_LIFECYCLE, 8, "Update"),
    Kind.REWRAPPED: _Meaning(_Class.APPLICATION_LIFECYCLE, 8, "Update"),
    Kind.BACKED_UP: _Meaning(_Class.APPLICATION_LIFECYCLE, _OTHER, "Back up"),
    Kind.BROUGHT_BACK: _Meaning(_Class.APPLICATION_LIFECYCLE, _OTHER, "Restore"),
    Kind.BACKUP_GOOD: _Meaning(_Class.APPLICATION_LIFECYCLE, _OTHER, "Test"),
    Kind.BACKUP_BAD: _Meaning(_Class.APPLICATION_LIFECYCLE, _OTHER, "Test"),
    Kind.RECOVERY: _Meaning(_Class.EVENT_LOG_ACTIVITY, _OTHER, "Recover"),
    Kind.RECOVERED: _Meaning(_Class.EVENT_LOG_ACTIVITY, 6, "Start"),
    Kind.INTENT: _Meaning(_Class.API_ACTIVITY, _OTHER, "Intent"),
    Kind.ISSUED: _Meaning(_Class.API_ACTIVITY, *_CREATE),
    Kind.FETCHED: _Meaning(_Class.API_ACTIVITY, *_CREATE),
    Kind.SHOWN: _Meaning(_Class.API_ACTIVITY, *_READ),
    Kind.PROBED: _Meaning(_Class.API_ACTIVITY, *_READ),
    Kind.REFUSED: _Meaning(_Class.API_ACTIVITY, *_CREATE, _LOW),
    Kind.SECRET: _Meaning(_Class.API_ACTIVITY, *_READ, _LOW),
    Kind.DELEGATED: _Meaning(_Class.ENTITY_MANAGEMENT, *_CREATE),
    Kind.RENEWED: _Meaning(_Class.ENTITY_MANAGEMENT, *_UPDATE),
    Kind.ATTENUATED: _Meaning(_Class.ENTITY_MANAGEMENT, *_CREATE),
    Kind.CANCELLED: _Meaning(_Class.ENTITY_MANAGEMENT, *_DELETE),
    Kind.ELEVATION_REQUESTED: _Meaning(_Class.ENTITY_MANAGEMENT, *_CREATE),
    Kind.ELEVATION_APPROVED: _Meaning(_Class.ENTITY_MANAGEMENT, 10, "Activate"),
    Kind.ELEVATION_DENIED: _Meaning(_Class.ENTITY_MANAGEMENT, *_DELETE),
    Kind.REVIEW_SEALED: _Meaning(_Class.ENTITY_MANAGEMENT, *_CREATE),
    Kind.REVIEW_CLOSED: _Meaning(_Class.ENTITY_MANAGEMENT, *_UPDATE),
    Kind.ENDED: _Meaning(_Class.AUTHENTICATION, 2, "Logoff"),
    Kind.REVOKED: _Meaning(_Class.ACCOUNT_CHANGE, 5, "Disable"),
    Kind.RESTORED: _Meaning(_Class.ACCOUNT_CHANGE, 2, "Enable"),
    Kind.AWS_DENIED: _Meaning(_Class.ACCOUNT_CHANGE, 7, "Attach Policy"),
    Kind.AWS_DENY_REMOVED: _Meaning(_Class.ACCOUNT_CHANGE, 8, "Detach Policy"),
    Kind.AWS_DENY_FAILED: _Meaning(_Class.ACCOUNT_CHANGE, _OTHER, "Deny", _HIGH),
    Kind.BREAK_GLASS: _Meaning(_Class.DETECTION_FINDING, *_CREATE, _HIGH),
    Kind.NOT_ENFORCED: _Meaning(_Class.DETECTION_FINDING, *_CREATE, _HIGH),
    Kind.TAMPER: _Meaning(_Class.DETECTION_FINDING, *_CREATE, _HIGH),
    Kind.VAULT_TAMPER: _Meaning(_Class.DETECTION_FINDING, *_CREATE, _HIGH),
    Kind.ALERT: _Meaning(_Class.DETECTION_FINDING, *_CREATE),
}
# What was done with a secret, where it was not read; undeleting and the like are updates.
_OF_SECRETS = {"write": _UPDATE, "delete": _DELETE, "destroy": _DELETE, "purge": _DELETE, "undelete": _UPDATE,
               "describe": _UPDATE, "archive": _UPDATE, "unarchive": _UPDATE}  # fmt: skip
# Whoever was refused without having been named failed to log on.
_NOBODY = _Meaning(_Class.AUTHENTICATION, 1, "Logon", _LOW)
# What is managed, by the first word of the kind.
_ENTITIES = {"pass": "job pass", "elevation": "request for elevation", "review": "review"}
# Of a newer broker, whose records this one found unsent.
_UNKNOWN = _Meaning(_Class.API_ACTIVITY, _OTHER, "Other")

# What has a place in events of every class; whatever else a record holds is in `unmapped` too.
_PLACED = frozenset({"timestamp", "event", "request_id", "account", "instance", "seq"})


def ocsf(members: Mapping[str, Any], line: bytes) -> bytes:  # noqa: ARG001  # a `Format`
    """A record as one OCSF event, in JSON."""
    return orjson.dumps(mapped(members))


def mapped(members: Mapping[str, Any]) -> dict[str, Any]:
    """The event's attributes."""
    meaning = _meaning(members)
    status_id, status = _SUCCESS if members.get("success") else _FAILURE
    severity_id, severity = _severity(members, meaning)
    event = {
        "activity_id": meaning.activity_id,
        "activity_name": meaning.activity,
        "category_uid": int(meaning.of) // 1000,
        "class_uid": int(meaning.of),
        "type_uid": int(meaning.of) * 100 + meaning.activity_id,
        "time": _milliseconds(str(members["timestamp"])),
        "severity_id": severity_id,
        "severity": severity,
        "message": sentence(members),
        "metadata": _metadata(members),
        "cloud": _cloud(members),
        **_OF_CLASS[meaning.of](members),
        "unmapped": {name: value for name, value in members.items() if name not in _PLACED and value is not None},
    }
    if meaning.of is not _Class.DETECTION_FINDING:
        event |= {"status_id": status_id, "status": status} | _some(status_detail=members.get("reason"))
    return event


def _meaning(members: Mapping[str, Any]) -> _Meaning:
    try:
        kind = Kind(members["event"])
    except ValueError:
        return _UNKNOWN
    if not members.get("success") and not members.get("user") and kind in (Kind.REFUSED, Kind.SECRET):
        return _NOBODY
    if kind is Kind.SECRET:
        return _Meaning(_Class.API_ACTIVITY, *_OF_SECRETS.get(str(members.get("action")), _READ), _LOW)
    return _MEANINGS.get(kind, _UNKNOWN)


def _severity(members: Mapping[str, Any], meaning: _Meaning) -> tuple[int, str]:
    if meaning.of is _Class.DETECTION_FINDING:
        return _ALARM_SEVERITIES.get(str(members.get("severity")), meaning.severity)
    return _INFORMATIONAL if members.get("success") else meaning.severity


def _metadata(members: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "version": VERSION,
        "product": _PRODUCT,
        "profiles": ["cloud"],
        # What a receiver knows a record by that comes twice.
        "uid": f"{members['instance']}:{members['seq']}",
        "sequence": members["seq"],
        "event_code": str(members["event"]),
        "log_name": "audit",
        "log_provider": str(members["instance"]),
    } | _some(correlation_uid=members.get("request_id"))


def _cloud(members: Mapping[str, Any]) -> dict[str, Any]:
    account = members.get("account")
    return {"provider": "AWS"} | ({"account": {"uid": account, "type_id": _AWS_ACCOUNT}} if account else {})


def _user(members: Mapping[str, Any]) -> dict[str, Any]:
    name = members.get("user")
    if not name:
        return {"name": "unknown", "type_id": 0}
    # RFC 4120, section 6.2: 2 and 3 are services and their hosts.
    principal = members.get("principal") or {}
    is_service = principal.get("type") in (2, 3)
    return {"name": name, "type_id": _SERVICE_USER if is_service else _USER} | _some(domain=principal.get("realm"))


def _actor(members: Mapping[str, Any]) -> dict[str, Any]:
    session = _some(uid=members.get("session_name"), credential_uid=members.get("access_key_id"))
    return {"user": _user(members)} | _some(session=session)


def _source(members: Mapping[str, Any]) -> dict[str, Any]:
    address = members.get("source_ip")
    # A local socket has no address.
    return {"ip": address} if address else {"name": "localhost"}


def _api_activity(members: Mapping[str, Any]) -> dict[str, Any]:
    request = _some(uid=members.get("request_id"))
    return {
        "actor": _actor(members),
        "api": {"operation": str(members.get("action")), "service": _SERVICE} | _some(request=request),
        "src_endpoint": _source(members),
        "resources": [{"name": str(members.get("resource")), "type": _type_of(members)}],
    }


def _type_of(members: Mapping[str, Any]) -> str:
    if members.get("event") == Kind.SECRET:
        return "secret"
    return "role" if members.get("role") else "other"


def _authentication(members: Mapping[str, Any]) -> dict[str, Any]:
    # 2 is Kerberos.
    return {
        "user": _user(members),
        "service": _SERVICE,
        "auth_protocol_id": 2,
        "auth_protocol": "Kerberos",
        "src_endpoint": _source(members),
    }


def _account_change(members: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "actor": _actor(members),
        "user": {"name": str(members.get("about") or members.get("resource")), "type_id": 0},
        "src_endpoint": _source(members),
    }


def _entity_management(members: Mapping[str, Any]) -> dict[str, Any]:
    entity = {"name": str(members.get("resource")), "type": _ENTITIES[str(members["event"]).partition("_")[0]]}
    return {
        "actor": _actor(members),
        "entity": entity | _some(uid=members.get("pass_id")),
        "src_endpoint": _source(members),
    }


def _application_lifecycle(_: Mapping[str, Any]) -> dict[str, Any]:
    return {"app": _PRODUCT}


def _event_log_activity(members: Mapping[str, Any]) -> dict[str, Any]:
    return {"log_name": "audit", "actor": {"app_name": "zerotrust-broker"}, "log_provider": str(members["instance"])}


def _detection_finding(members: Mapping[str, Any]) -> dict[str, Any]:
    why = members.get("why") or []
    title = str(members.get("reason") or members["event"])
    found = {
        "finding_info": {
            "uid": f"{members['instance']}:{members['seq']}",
            "title": title.replace("_", " "),
            "types": [title],
            "created_time": _milliseconds(str(members["timestamp"])),
        }
        | _some(desc=" ".join(map(str, why))),
        "is_alert": True,
        "status_id": 1,
        "status": "New",
    }
    evidence = _some(
        user=members.get("user") and _user(members), src_endpoint=members.get("source_ip") and _source(members)
    )
    return found | _some(evidences=[evidence] if evidence else None)


_OF_CLASS: Mapping[_Class, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    _Class.API_ACTIVITY: _api_activity,
    _Class.AUTHENTICATION: _authentication,
    _Class.ACCOUNT_CHANGE: _account_change,
    _Class.ENTITY_MANAGEMENT: _entity_management,
    _Class.APPLICATION_LIFECYCLE: _application_lifecycle,
    _Class.EVENT_LOG_ACTIVITY: _event_log_activity,
    _Class.DETECTION_FINDING: _detection_finding,
}


def _some(**attributes: Any) -> dict[str, Any]:
    """Those that have a value: OCSF knows no null."""
    return {name: value for name, value in attributes.items() if value not in (None, "", {}, [])}


def _milliseconds(timestamp: str) -> int:
    return int(datetime.fromisoformat(timestamp).timestamp() * 1000)
