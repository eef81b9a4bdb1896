"""Records as people read them: a line each, on which nobody's name can move the cursor, change a colour or hide what follows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from broker.audit.event import Kind
from broker.core.visible import visible

# Members with a place of their own in the line, or that say nothing to a reader of lines.
_PLACED = frozenset(
    {"timestamp", "instance", "seq", "event", "user", "principal", "action", "role", "resource", "access_key_id"}
    | {"success", "reason", "level", "source_ip", "rule", "request_id"}
    | {"account", "session_name", "source_identity", "prev", "kid", "sig"}
)
_ABSENT: tuple[object, ...] = (None, "", [], False)


def line_of(record: Mapping[str, Any]) -> str:
    """``TIME INSTANCE:SEQ EVENT WHO ROLE KEY: the rest``; of a refusal or an alarm its reason stands first."""
    said = record.get
    place = f"{said('instance')}:{said('seq')}"
    words = [said("timestamp"), place, said("event"), said("user") or "-", _what(record)]
    if said("access_key_id"):
        words.append(said("access_key_id"))
    if said("success") is False:
        # What the broker noticed or failed to do has a reason as well, and nobody was refused anything by it.
        words += ["REFUSED"] * (said("event") in (Kind.REFUSED, Kind.SECRET)) + [said("reason")]
    return visible(f"{' '.join(map(str, words))}{_rest(record)}")


def json_line(value: object) -> str:
    """JSON that a terminal shows as it is: ASCII without control characters."""
    return json.dumps(value, separators=(",", ":"))


def _what(record: Mapping[str, Any]) -> str:
    role, resource = record.get("role"), record.get("resource")
    return f"{record.get('action')} {role or resource}"


def _rest(record: Mapping[str, Any]) -> str:
    said = [("from", record.get("source_ip")), ("rule", record.get("rule")), ("request", record.get("request_id"))]
    said += sorted((name, value) for name, value in record.items() if name not in _PLACED)
    shown = [f"{name}={_short(value)}" for name, value in said if value not in _ABSENT]
    return f"  {' '.join(shown)}" if shown else ""


def _short(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)
