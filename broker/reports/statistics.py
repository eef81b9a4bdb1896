"""The log in numbers: one pass over the records, whose size costs time and no memory but for the names in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import orjson

from broker.core.clock import rfc3339
from broker.reports.facts import Given, Log

# What every record has (docs/audit.md); a log that lacks any of it does not say who did what, when, where from and with what end.
_EVERYWHERE = frozenset(
    {"timestamp", "event", "user", "action", "resource", "source_ip", "success", "reason", "instance", "seq", "prev"}
)
_TICK = timedelta(seconds=1)
# What an auditor wants to see one by one, and how many of it.
_NOTABLE = frozenset(
    {
        "access_revoked",
        "access_restored",
        "alert",
        "aws_denied",
        "aws_deny_failed",
        "aws_deny_removed",
        "break_glass",
        "cache_tamper",
        "clock_jump",
        "config_reloaded",
        "config_refused",
        "external_id_not_enforced",
        "key_destroyed",
        "key_rewrapped",
        "key_rotated",
        "key_succeeded",
        "recovery",
        "review_closed",
        "vault_tamper",
    }
)
_NOTABLE_MAX = 500


class Statistics:
    """Give it every record, an instance's in their order; ``log`` is what came of it so far."""

    def __init__(self, *, since: datetime | None, until: datetime | None) -> None:
        self._since = since
        self._until = until
        self._intents: set[str] = set()
        self._last_of: dict[str, datetime] = {}
        self.log = Log()

    def add_all(self, lines: Iterable[bytes]) -> None:
        """Fold lines in."""
        for line in lines:
            try:
                record = orjson.loads(line)
                self.add(record, _moment(record["timestamp"]))
            except (KeyError, TypeError, ValueError):
                self.log.incomplete += 1

    def add(self, record: Mapping[str, Any], moment: datetime) -> None:
        """Fold one in; what is outside of the period counts for nothing but its place."""
        log, instance = self.log, str(record.get("instance"))
        if instance not in self._last_of and record.get("seq") != 1:
            log.begins_late[instance] = int(record.get("seq") or 0)
        before = self._last_of.get(instance, moment)
        self._last_of[instance] = moment
        log.instances = len(self._last_of)
        log.keys.setdefault(str(record.get("kid")), str(record["timestamp"]))
        self._follow(record)
        if (self._since and moment < self._since) or (self._until and moment >= self._until):
            return
        log.records += 1
        text = rfc3339(moment)
        log.first = min(log.first or text, text)
        log.last = max(log.last or text, text)
        log.clock_went_back += before - moment > _TICK
        log.incomplete += not record.keys() >= _EVERYWHERE
        self._count(record)

    def _follow(self, record: Mapping[str, Any]) -> None:
        """Whether what AWS was asked for had been recorded before: an intent and its outcome share a request id."""
        event, request = record.get("event"), str(record.get("request_id"))
        if event == "intent":
            self._intents.add(request)
        elif event in ("issued", "fetched") and record.get("origin") == "sts":
            self.log.without_intent += request not in self._intents
            self._intents.discard(request)
        elif event in ("refused", "secret_access"):
            self._intents.discard(request)

    def _count(self, record: Mapping[str, Any]) -> None:
        log, event = self.log, str(record.get("event"))
        log.events[event] = log.events.get(event, 0) + 1
        if event == "refused" or (event == "secret_access" and not record.get("success")):
            reason = str(record.get("reason"))
            log.refusals[reason] = log.refusals.get(reason, 0) + 1
        if event == "alert":
            name = str(record.get("reason"))
            log.alerts[name] = log.alerts.get(name, 0) + 1
        if event == "access_revoked" and (
            record.get("revocation_not_heard") or not record.get("revocation_told", True)
        ):
            log.revocations_unheard += 1
        if event == "issued":
            self._issued(record)
        if event in _NOTABLE and len(log.notable) < _NOTABLE_MAX:
            members = ("timestamp", "event", "user", "about", "reason")
            shown = {name: str(record[name]) for name in members if record.get(name) is not None}
            log.notable.append(shown | {"timestamp": rfc3339(_moment(shown["timestamp"]))})

    def _issued(self, record: Mapping[str, Any]) -> None:
        user, role = record.get("user"), str(record.get("role"))
        if not isinstance(user, str):
            self.log.without_name += 1
            return
        given = self.log.given.setdefault((user, role), Given())
        given.times += 1
        given.last = max(given.last, rfc3339(_moment(record["timestamp"])))
        if isinstance(record.get("expiration"), str):
            life = _moment(record["expiration"]) - _moment(record["timestamp"])
            self.log.longest_life = max(self.log.longest_life, life)


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time without its zone")
    return moment
