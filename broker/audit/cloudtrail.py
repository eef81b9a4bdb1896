"""What CloudTrail writes, taken apart: the events of its files, and of each what leads to a record.

Sources: CloudTrail User Guide, "CloudTrail record contents" and "userIdentity element"; IAM User Guide, "Logging IAM and AWS STS
API calls with CloudTrail" (session tags, source identity).
"""

from __future__ import annotations

import gzip
import io
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

_GZIP = b"\x1f\x8b"
# What gzip may unfold to; a file that CloudTrail delivers unfolds to some megabytes.
_UNFOLDED_MAX = 1 << 28
# As in the daemon's X-Request-Id.
_REQUEST_ID = re.compile(r"[0-9a-f]{24}")
_ASSUMING = frozenset({"AssumeRole", "AssumeRoleWithWebIdentity"})


class NoCloudTrail(ValueError):
    """The bytes hold no events of CloudTrail."""


@dataclass(frozen=True, slots=True)
class Happened:
    """What an event of CloudTrail says that leads to a record. ``made`` is the key of the session that an AssumeRole gave."""

    id: str
    time: datetime | None
    name: str
    source: str
    caller: str
    caller_type: str
    key: str | None
    issuer: str | None
    source_identity: str | None
    session_name: str | None
    role: str | None
    made: str | None
    tags: tuple[str, ...]
    error: str | None

    @property
    def assumes(self) -> bool:
        """Whether it makes a session."""
        return self.source == "sts.amazonaws.com" and self.name in _ASSUMING

    @property
    def requests(self) -> set[str]:
        """The requests that its tags may name."""
        return {name for tag in self.tags for name in _REQUEST_ID.findall(tag)}

    @classmethod
    def of(cls, event: Mapping[str, Any]) -> Happened:
        """Take out what matters; what is missing or of another type is None."""
        identity, asked = _mapping(event, "userIdentity"), _mapping(event, "requestParameters")
        context = _mapping(identity, "sessionContext")
        arn = _text(identity, "arn")
        return cls(
            id=_text(event, "eventID") or "-",
            time=moment(_text(event, "eventTime")),
            name=_text(event, "eventName") or "-",
            source=_text(event, "eventSource") or "-",
            caller=arn or _text(identity, "userName") or _text(identity, "principalId") or "-",
            caller_type=_text(identity, "type") or "-",
            key=_text(identity, "accessKeyId"),
            issuer=_text(_mapping(context, "sessionIssuer"), "arn"),
            source_identity=_text(asked, "sourceIdentity") or _text(context, "sourceIdentity"),
            session_name=_text(asked, "roleSessionName") or _session_name(arn),
            role=_text(asked, "roleArn"),
            made=_text(_mapping(_mapping(event, "responseElements"), "credentials"), "accessKeyId"),
            tags=tuple(_tags(asked)),
            error=_text(event, "errorCode"),
        )


def events_in(data: bytes) -> list[Happened]:
    """The events of a CloudTrail file (``Records``), an event, a list or lines of events, or what ``lookup-events`` prints.

    All of these may be packed with gzip.

    Raises:
        NoCloudTrail: None of these.
    """
    if data.startswith(_GZIP):
        data = _unfolded(data)
    try:
        values = [orjson.loads(data)]
    except orjson.JSONDecodeError:
        try:
            values = [orjson.loads(line) for line in data.split(b"\n") if line.strip()]
        except orjson.JSONDecodeError as error:
            raise NoCloudTrail(f"not JSON: {error}") from error
    found = [Happened.of(event) for one in values for event in _events(one)]
    if not found and values != [{"Records": []}]:
        raise NoCloudTrail("no events in it")
    return found


def _events(found: object) -> Iterator[Mapping[str, Any]]:
    """What is in one JSON value, whoever wrapped it."""
    for one in found if isinstance(found, list) else [found]:
        if not isinstance(one, dict):
            continue
        if isinstance(one.get("Records"), list):
            yield from (event for event in one["Records"] if isinstance(event, dict))
        elif isinstance(one.get("Events"), list):  # aws cloudtrail lookup-events
            yield from (event for event in map(_looked_up, one["Events"]) if isinstance(event, dict))
        elif isinstance(one.get("detail"), dict) and "userIdentity" not in one:  # EventBridge
            yield one["detail"]
        elif "eventName" in one:
            yield one


def _looked_up(event: object) -> object:
    try:
        return orjson.loads(_text(event, "CloudTrailEvent") or "null")
    except orjson.JSONDecodeError as error:
        raise NoCloudTrail(f"a CloudTrailEvent is not JSON: {error}") from error


def _tags(asked: Mapping[str, Any]) -> Iterator[str]:
    """The values of the session tags of an AssumeRole, in the three places where CloudTrail writes them."""
    listed = asked.get("tags")
    for tag in listed if isinstance(listed, list) else ():
        yield _text(tag, "value") or ""
    for member in ("incomingTransitiveTags", "principalTags"):
        yield from (text for text in _mapping(asked, member).values() if isinstance(text, str))


def _session_name(arn: str | None) -> str | None:
    before, slash, name = (arn or "").rpartition("/")
    return name if slash and ":assumed-role/" in before else None


def _unfolded(data: bytes) -> bytes:
    try:
        with gzip.open(io.BytesIO(data)) as file:
            found = file.read(_UNFOLDED_MAX + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise NoCloudTrail(f"not gzip: {error}") from error
    if len(found) > _UNFOLDED_MAX:
        raise NoCloudTrail(f"unfolds to more than {_UNFOLDED_MAX} bytes")
    return found


def moment(text: str | None) -> datetime | None:
    """A time with its zone; None where it is none."""
    try:
        found = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return found if found.tzinfo else None


def _mapping(members: object, name: str) -> Mapping[str, Any]:
    found = members.get(name) if isinstance(members, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _text(members: object, name: str) -> str | None:
    found = members.get(name) if isinstance(members, Mapping) else None
    return found if isinstance(found, str) and found else None
